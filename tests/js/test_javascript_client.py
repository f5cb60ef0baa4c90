"""
The JavaScript client: `*.test.mjs`, run once by Node against a live server, each test reported here.
"""

import fcntl
import os
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.live import LiveSite
from tests.needs import give_up, require

pytestmark = pytest.mark.xdist_group("javascript-client")

JS = Path(__file__).parent
RUN_SECONDS = 180
INSTALL_SECONDS = 300

DECLARED = re.compile(r'^(test|both)\("([^"]+)"', re.MULTILINE)
REPORTED = re.compile(r"^\s*(not ok|ok) \d+ - (.+?)(?: # .*)?$")


def declared_tests() -> list[str]:
    """
    The name of each `test("name", …)`, and both names of each `both("name", …)`.
    """
    names: list[str] = []
    for file in sorted(JS.glob("*.test.mjs")):
        for kind, name in DECLARED.findall(file.read_text()):
            names += [name, f"{name} (websocket)"] if kind == "both" else [name]
    return names


@pytest.fixture(scope="module")
def packages() -> None:
    """
    The npm packages of the lock file.
    """
    require("node")
    with (JS / "package.json").open() as lock:
        # Two workers that install into one folder would undo each other's work.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not packages_are_there():
            install_packages()


def packages_are_there() -> bool:
    installed, locked = JS / "node_modules" / ".package-lock.json", JS / "package-lock.json"
    return installed.exists() and installed.stat().st_mtime >= locked.stat().st_mtime


def install_packages() -> None:
    done = subprocess.run(
        ["npm", "ci"],
        cwd=JS,
        capture_output=True,
        text=True,
        timeout=INSTALL_SECONDS,
        check=False,
    )
    if done.returncode:
        give_up(f"npm could not install typescript and ws:\n{done.stderr}")


@pytest.fixture(scope="module")
def reports(packages: None, site: LiveSite, token: str, cookies: str) -> dict[str, str]:
    """
    What Node said of each test: nothing if it passed, why if it failed.
    """
    env = {
        **os.environ,
        "LANGSERVE_URL": site.url,
        "LANGSERVE_TOKEN": token,
        "LANGSERVE_COOKIES": cookies,
        "LEDGER_DIR": str(site.ledger),
    }
    return parse_tap(run_node(env))


def run_node(env: Mapping[str, str]) -> str:
    files = (file.name for file in sorted(JS.glob("*.test.mjs")))
    done = subprocess.run(
        ["node", "--test", "--test-reporter=tap", *files],
        cwd=JS,
        env=dict(env),
        capture_output=True,
        text=True,
        timeout=RUN_SECONDS,
        check=False,
    )
    return done.stdout + done.stderr


def parse_tap(output: str) -> dict[str, str]:
    reports: dict[str, str] = {}
    name = ""
    for line in output.splitlines():
        if found := REPORTED.match(line):
            name = found[2].replace("\\#", "#")
            reports[name] = "" if found[1] == "ok" else "failed\n"
        elif reports.get(name):
            reports[name] += f"{line}\n"
    return reports


@pytest.mark.parametrize("name", declared_tests())
def test_javascript(reports: dict[str, str], name: str) -> None:
    assert name in reports, "Node did not report it:\n" + "\n".join(reports)
    if reports[name]:
        pytest.fail(reports[name], pytrace=False)


def test_every_reported_test_is_declared(reports: dict[str, str]) -> None:
    assert {name for name in reports if not name.endswith(".mjs")} == set(declared_tests())
