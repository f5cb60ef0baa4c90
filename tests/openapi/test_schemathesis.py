"""
A fuzzer reads the document and calls a live server: what is answered is what is documented.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live import LiveSite, live_site

# `negative_data_rejection` is off: like LangServe we take more than is documented, unknown
# keys and spellings of messages among it. And what a schema cannot say need not succeed: a
# text that looks like a config hash, as many configs as inputs, a field that is filled by a
# file if not by the text, a plain call of a WebSocket.
CONFIG = """
[generation]
max-examples = 5
deterministic = true
# Refused wherever it stands: neither a log nor a database can hold it.
allow-x00 = false

[checks]
negative_data_rejection.enabled = false

[[operations]]
include-path-regex = "/c/|/batch$|/ws$|^/upload/"
checks.positive_data_acceptance.enabled = false
"""
MAKE_TOKEN = """
from django.contrib.auth import get_user_model
from runnables.models import ApiToken
user = get_user_model().objects.create_user("alice")
print("token:" + ApiToken.objects.create(user)[1])
"""


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveSite]:
    env = {"RUNNABLES_MODULES": "tests.openapi.served"}
    with live_site(tmp_path_factory.mktemp("site"), env=env) as site:
        yield site


def fuzz(site: LiveSite, folder: Path, *arguments: str) -> str:
    """
    What schemathesis printed; the test ends here if it found anything.
    """
    (folder / "schemathesis.toml").write_text(CONFIG)
    command = [sys.executable, "-m", "schemathesis.cli", "run", f"{site.url}/openapi.json"]
    done = subprocess.run(
        [*command, "--phases", "examples,coverage,fuzzing", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    return done.stdout


def operations_called(printed: str) -> int:
    """
    How many operations were called.
    """
    return int(printed.split("Tested: ")[1].split()[0])


def test_anonymous_callers_meet_what_is_documented(live: LiveSite, tmp_path: Path) -> None:
    # What cannot be built answers 503, as it should; to the fuzzer that is a failure.
    found = fuzz(live, tmp_path, "--exclude-path-regex", "^/broken/|/cancel$")

    assert operations_called(found) > 50


def test_callers_with_a_token_meet_what_is_documented(live: LiveSite, tmp_path: Path) -> None:
    printed = live.manage("shell", "-c", MAKE_TOKEN)
    token = printed.split("token:")[1].split()[0]

    found = fuzz(
        live,
        tmp_path,
        *("--header", f"Authorization: Bearer {token}"),
        *("--include-path-regex", "^/(private|deployments)/"),
        # Each unknown run is looked for in the other processes, which takes its time.
        *("--exclude-path-regex", "/cancel$"),
    )

    assert operations_called(found) == 11


def test_cancelling_is_as_documented(live: LiveSite, tmp_path: Path) -> None:
    arguments = ("--include-path-regex", "^/joke/runs/.*/cancel$", "--max-examples", "2")

    assert operations_called(fuzz(live, tmp_path, *arguments)) == 1
