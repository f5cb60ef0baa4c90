"""
npm @langchain/core's RemoteRunnable, unchanged: `js/*.test.mjs`, run once by Node, each test reported here.
"""

import fcntl
import os
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.live import LiveSite
from tests.needs import give_up, require

pytestmark = [pytest.mark.contract, pytest.mark.xdist_group("contract-js")]

JS = Path(__file__).parent / "js"
RUN_SECONDS = 180
INSTALL_SECONDS = 300

DECLARED = re.compile(r'^(?:test|better)\("([^"]+)", (?:"([^"]+)")?', re.MULTILINE)
REPORTED = re.compile(r"^\s*(not ok|ok) \d+ - (.+?)(?: # .*)?$")


def declared_tests() -> list[Any]:
    """
    One row for each `test("name", …)` and each `better("name", "reason", …)`.
    """
    found = [
        match.groups()
        for file in sorted(JS.glob("*.test.mjs"))
        for match in DECLARED.finditer(file.read_text())
    ]
    return [
        pytest.param(name, marks=[pytest.mark.better(reason)] if reason else [])
        for name, reason in found
    ]


@pytest.fixture(scope="session")
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
    installed, locked = (
        JS / "node_modules" / ".package-lock.json",
        JS / "package-lock.json",
    )
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
        give_up(f"npm could not install @langchain/core:\n{done.stderr}")


@pytest.fixture(scope="session")
def reports(packages: None, site: LiveSite, token: str) -> dict[str, str]:
    """
    What Node said of each test: nothing if it passed, why if it failed.
    """
    env = {
        **os.environ,
        "LANGSERVE_URL": site.url,
        "LANGSERVE_TOKEN": token,
        "LEDGER_DIR": str(site.ledger),
    }
    return parse_tap(run_node(env))


def run_node(env: Mapping[str, str]) -> str:
    command = [
        "node",
        "--test",
        "--test-reporter=tap",
        *(file.name for file in sorted(JS.glob("*.test.mjs"))),
    ]
    done = subprocess.run(
        command,
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
            name = found[2]
            reports[name] = "" if found[1] == "ok" else "failed\n"
        elif reports.get(name):
            reports[name] += f"{line}\n"
    return reports


@pytest.mark.parametrize("name", declared_tests())
def test_js(reports: dict[str, str], name: str) -> None:
    assert name in reports, "Node did not report it:\n" + "\n".join(reports)
    if reports[name]:
        pytest.fail(reports[name], pytrace=False)


def test_every_reported_test_is_declared(reports: dict[str, str]) -> None:
    declared = {row.values[0] for row in declared_tests()}
    assert {name for name in reports if not name.endswith(".mjs")} == declared
