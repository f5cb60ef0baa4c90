"""
npm @langchain/core's RemoteRunnable, unchanged: `js/*.test.mjs`, run once by Node, each test reported here.
"""

import re
from pathlib import Path
from typing import Any

import pytest

from tests.live import LiveSite
from tests.node import install_packages, reports_of

pytestmark = [pytest.mark.contract, pytest.mark.xdist_group("contract-js")]

JS = Path(__file__).parent / "js"

DECLARED = re.compile(r'^(?:test|better)\("([^"]+)", (?:"([^"]+)")?', re.MULTILINE)


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
def reports(site: LiveSite, token: str) -> dict[str, str]:
    install_packages(JS)
    env = {
        "LANGSERVE_URL": site.url,
        "LANGSERVE_TOKEN": token,
        "LEDGER_DIR": str(site.ledger),
    }
    return reports_of(JS, env)


@pytest.mark.parametrize("name", declared_tests())
def test_js(reports: dict[str, str], name: str) -> None:
    assert name in reports, "Node did not report it:\n" + "\n".join(reports)
    if reports[name]:
        pytest.fail(reports[name], pytrace=False)


def test_every_reported_test_is_declared(reports: dict[str, str]) -> None:
    declared = {row.values[0] for row in declared_tests()}
    assert {name for name in reports if not name.endswith(".mjs")} == declared
