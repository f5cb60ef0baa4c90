"""
What the README says is tried as a reader would: its commands, its snippets, its project.
"""

import ast
import dataclasses
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from langchain_core.runnables import RunnablePassthrough

from runnables.registry import Options, Registry
from tests.contract.test_js_client import JS
from tests.live import (
    FOREIGN,
    OURS,
    ROOT,
    answers,
    free_port,
    signal_group,
    stop_group,
    wait_for_port,
    wait_until,
)
from tests.needs import give_up, require
from tests.node import install_packages

README = (ROOT / "README.md").read_text()
CALLING = (ROOT / "docs" / "calling.md").read_text()
FENCE = re.compile(r"^```(?P<language>\w+)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)
SHOWN = re.compile(r"^(?:print\(.*\)\n#|console\.log\(.*\);\n//) (?P<output>.+)$", re.MULTILINE)
ANSWER = "Why did the cat sit on the keyboard? It wanted to keep a paw on the mouse."
SECONDS = 60

# The official client without the server half of its package, which would need FastAPI.
CLIENT_ONLY = """
import importlib.util, sys, types
package = types.ModuleType("langserve")
package.__path__ = list(importlib.util.find_spec("langserve").submodule_search_locations)
sys.modules["langserve"] = package
from langserve.client import RemoteRunnable
package.RemoteRunnable = RemoteRunnable
"""


@dataclass(frozen=True)
class Demo:
    """
    `make demo`, running.
    """

    port: int
    output: Path
    process: "subprocess.Popen[bytes]"

    @property
    def token(self) -> str:
        found = re.search(r"^  token +(\w+)$", self.output.read_text(), re.MULTILINE)
        assert found, self.output.read_text()
        return found[1]

    def run(self, command: list[str], cwd: Path) -> str:
        env = {**clean_environment(), "TOKEN": self.token}
        return run(command, cwd, env)


def fences(language: str, containing: str = "") -> list[str]:
    code = [match["code"] for match in FENCE.finditer(README) if match["language"] == language]
    return [text for text in code if containing in text]


def fence(language: str, containing: str) -> str:
    [code] = fences(language, containing)
    return code


def fence_headed(heading: str) -> str:
    """
    The Python code whose first line is a comment that begins so.
    """
    [code] = [code for code in fences("python") if code.startswith(f"# {heading}")]
    return code


def commands_in(page: str) -> list[str]:
    code = [match["code"] for match in FENCE.finditer(page) if match["language"] == "bash"]
    return [line for text in code for line in text.splitlines()]


def run(command: list[str], cwd: Path, env: Mapping[str, str]) -> str:
    done = subprocess.run(
        command,
        cwd=cwd,
        env=dict(env),
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def clean_environment() -> dict[str, str]:
    ours = {k: v for k, v in os.environ.items() if k not in OURS and not k.startswith(FOREIGN)}
    # A make that runs these tests would tell the demo's make what it was told itself.
    for name in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS"):
        ours.pop(name, None)
    # Checkout or installed: the packages are found either way.
    return {**ours, "PYTHONPATH": str(ROOT), "EXAMPLES_TOKEN_DELAY": "0", "PYTHONUNBUFFERED": "1"}


@contextmanager
def make_demo(folder: Path, port: int) -> Iterator[Demo]:
    """
    The README's second command with this Python's environment instead of one more.
    """
    if shutil.which("make") is None:
        give_up("make is not on the PATH")
    command = fence("bash", "make demo").splitlines()[-1].split()
    installed = f"{sys.prefix}/.installed"
    ours = ["-o", installed, f"VENV={sys.prefix}", f"PORT={port}", f"ARGS=--state {folder}/state"]
    output = folder / "output.txt"
    with output.open("wb") as file:
        process = subprocess.Popen(
            [*command, *ours],
            cwd=ROOT,
            env=clean_environment(),
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        wait_for_port(port, process, output)
        wait_until(lambda: "startup complete" in output.read_text(), SECONDS)
        yield Demo(port, output, process)
    finally:
        stop_group(process)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    with make_demo(tmp_path_factory.mktemp("demo"), free_port()) as running:
        yield running


@pytest.fixture(scope="module")
def node_modules() -> Path:
    install_packages(JS)
    return JS / "node_modules"


def at(demo: Demo, code: str) -> str:
    # Not "localhost": where that is ::1 first, a client may ask there.
    return code.replace("localhost:8000", f"127.0.0.1:{demo.port}")


def printed(code: str) -> list[str]:
    return [match["output"] for match in SHOWN.finditer(code)]


def test_demo_says_what_to_open_and_shows_its_login_once(demo: Demo, tmp_path: Path) -> None:
    output = demo.output.read_text()

    assert f"http://localhost:{demo.port}/deployments/" in output
    assert f"http://localhost:{demo.port}/admin/" in output
    assert re.search(r"^  password +\S{12,}$", output, re.MULTILINE)
    assert demo.token


def test_curl_of_the_quickstart_gives_the_reply_that_is_shown(demo: Demo, tmp_path: Path) -> None:
    first = fences("bash", "curl localhost:8000/joke/invoke")[0]

    reply = json.loads(demo.run(["bash", "-c", at(demo, first)], tmp_path))

    assert without_ids(reply) == without_ids(json.loads(fence("json", '"output"')))


def test_curl_streams_the_events_that_are_shown(demo: Demo, tmp_path: Path) -> None:
    reply = demo.run(["bash", "-c", at(demo, fence("bash", "curl -N"))], tmp_path)

    shown = ".*".join(map(re.escape, fence("text", "event: metadata").strip().split("…")))
    assert re.fullmatch(shown, reply.replace("\r", "").strip(), re.DOTALL)


def test_curl_with_a_token_is_let_in(demo: Demo, tmp_path: Path) -> None:
    command = at(demo, fence("bash", "Authorization"))

    reply = json.loads(demo.run(["bash", "-c", command], tmp_path))

    assert reply["output"]["content"] == ANSWER


def test_curl_with_a_wrong_token_is_not(demo: Demo, tmp_path: Path) -> None:
    command = at(demo, fence("bash", "Authorization")).replace("$TOKEN", "wrong")

    reply = json.loads(demo.run(["bash", "-c", command], tmp_path))

    assert reply["code"] == "not_authenticated"


@pytest.mark.parametrize("number", range(2))
def test_python_client_prints_what_is_shown(demo: Demo, tmp_path: Path, number: int) -> None:
    require("langserve")
    code = fences("python", "import RemoteRunnable")[number]

    output = demo.run([sys.executable, "-c", CLIENT_ONLY + at(demo, code)], tmp_path)

    assert output.splitlines()[:1] == printed(code) == [ANSWER]
    if ".stream(" in code:
        assert output.splitlines()[1:] == [ANSWER]


def test_requests_prints_what_is_shown(demo: Demo, tmp_path: Path) -> None:
    code = fence("python", "import requests")

    output = demo.run([sys.executable, "-c", at(demo, code)], tmp_path)

    assert output.splitlines() == printed(code) == [ANSWER]


def test_typescript_client_prints_what_is_shown(
    demo: Demo, tmp_path: Path, node_modules: Path
) -> None:
    code = fence("typescript", "RemoteRunnable")
    (tmp_path / "snippet.mjs").write_text(at(demo, code))
    (tmp_path / "node_modules").symlink_to(node_modules)

    output = demo.run(["node", "snippet.mjs"], tmp_path)

    assert output.splitlines() == [*printed(code), ANSWER]


@pytest.mark.parametrize("command", commands_in(CALLING))
def test_command_of_the_calling_page_works(demo: Demo, tmp_path: Path, command: str) -> None:
    reply = demo.run(["bash", "-c", at(demo, command)], tmp_path)

    if "-N" in command:
        assert reply.rstrip().endswith("event: end")
    elif "/cancel" in command:
        assert json.loads(reply)["code"] == "unknown_run"  # none is going on
    else:
        assert json.loads(reply)["metadata"]


def test_add_routes_call_moves_over_as_shown() -> None:
    ours, theirs = (fence_headed(name) for name in ("django-langserve", "LangServe"))
    taken = {keyword.arg for keyword in call_in(theirs).keywords}
    registry = Registry()

    exec(ours, {"register": registry.register, "chain": RunnablePassthrough()})

    assert taken - {"path"} <= {option.name for option in dataclasses.fields(Options)}
    assert {keyword.arg for keyword in call_in(ours).keywords} == taken | {"access"}
    assert [one.path for one in registry] == ["support"]


def test_project_of_the_readme_serves_its_runnable(tmp_path: Path) -> None:
    env = {**clean_environment(), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    run(["django-admin", "startproject", "mysite", "."], tmp_path, env)
    run([sys.executable, "manage.py", "startapp", "myapp"], tmp_path, env)
    with (tmp_path / "mysite/settings.py").open("a") as settings:
        settings.write(fence_headed("mysite/settings.py"))
    for path in ("mysite/urls.py", "mysite/asgi.py", "myapp/runnables.py"):
        (tmp_path / path).write_text(fence_headed(path))
    *commands, serve = fence("bash", "langserve sync").splitlines()
    port = free_port()

    for command in commands:
        run(command.split(), tmp_path, env)
    with serving([*serve.split(), "--port", str(port)], tmp_path, env, port):
        curl = fence("bash", "/ai/shout").replace("localhost:8000", f"127.0.0.1:{port}")
        reply = json.loads(run(["bash", "-c", curl], tmp_path, env))

    assert reply["output"] == "HELLO!"


def test_demo_keeps_its_login_and_stops_quietly_on_ctrl_c(tmp_path: Path) -> None:
    port = free_port()
    with make_demo(tmp_path, port) as first:
        password = re.search(r"password +(\S+)", first.output.read_text())
        stop_by_ctrl_c(first)
    assert password
    assert "Traceback" not in first.output.read_text()
    assert (tmp_path / "state" / "secret_key").stat().st_mode & 0o077 == 0

    with make_demo(tmp_path, port) as second:
        output = second.output.read_text()

    assert "password " not in output
    assert "make demo-login" in output


def test_taken_port_is_named(demo: Demo, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "examples.demo", "--port", str(demo.port)]

    refused = subprocess.run(
        [*command, "--state", str(tmp_path)],
        cwd=ROOT,
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=False,
    )

    assert refused.returncode == 1
    assert f"Port {demo.port} cannot be had: another program uses it." in refused.stderr
    assert "Traceback" not in refused.stderr


def test_links_lead_somewhere() -> None:
    for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *ROOT.glob("[CS]*.md")):
        for link in re.findall(r"\]\((?!https?:)([^)#\s]+)[^)]*\)", page.read_text()):
            assert (page.parent / link).exists(), f"{page.name}: {link}"


def call_in(code: str) -> ast.Call:
    [statement] = ast.parse(code).body
    assert isinstance(statement, ast.Expr)
    assert isinstance(statement.value, ast.Call)
    return statement.value


def without_ids(reply: Any) -> Any:
    return {
        "output": {**reply["output"], "id": ""},
        "metadata": {**reply["metadata"], "run_id": ""},
    }


def stop_by_ctrl_c(demo: Demo) -> None:
    signal_group(demo.process, signal.SIGINT)
    wait_until(lambda: not answers(demo.port), SECONDS)
    demo.process.wait(SECONDS)


@contextmanager
def serving(command: list[str], cwd: Path, env: Mapping[str, str], port: int) -> Iterator[None]:
    log = cwd / "server.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=cwd,
            env=dict(env),
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        wait_for_port(port, process, log)
        yield
    finally:
        stop_group(process)
