"""
The client is used where there is no Django, and no server either.
"""

from __future__ import annotations

import subprocess
import sys

from tests.live import ROOT

WITHOUT = """
import sys

for name in {absent!r}:
    sys.modules[name] = None
{code}
"""

USE = """
import httpx
from runnables.client import RemoteRunnable

answer = lambda request: httpx.Response(200, json={"output": {"type": "ai", "content": "hi"}})
client = RemoteRunnable("http://u.test", client_kwargs={"transport": httpx.MockTransport(answer)})
print(type(client.invoke(1)).__name__)
"""

SERVER_SIDE = [
    "django",
    "channels",
    "rest_framework",
    "knox",
    "corsheaders",
    "uvicorn",
    "langserve",
]


def run(code: str, *, absent: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", WITHOUT.format(absent=absent, code=code)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_it_works_without_django() -> None:
    done = run(USE, absent=SERVER_SIDE)

    assert (done.stdout, done.stderr) == ("AIMessage\n", "")


def test_without_httpx_it_names_the_extra() -> None:
    done = run("import runnables.client", absent=["httpx"])

    assert "pip install 'django-langserve[client]'" in done.stderr


def test_the_server_side_needs_no_httpx() -> None:
    done = run("import runnables.codec, runnables.registry, runnables", absent=["httpx"])

    assert (done.returncode, done.stderr) == (0, "")
