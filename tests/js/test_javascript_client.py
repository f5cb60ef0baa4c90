"""
The JavaScript client: `*.test.mjs`, run once by Node against a live server, each test reported here.
"""

import re
from pathlib import Path

import pytest

from tests.live import LiveSite
from tests.node import install_packages, reports_of

pytestmark = pytest.mark.xdist_group("javascript-client")

JS = Path(__file__).parent

DECLARED = re.compile(r'^(test|both)\("([^"]+)"', re.MULTILINE)


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
def reports(site: LiveSite, token: str, cookies: str) -> dict[str, str]:
    install_packages(JS)
    env = {
        "LANGSERVE_URL": site.url,
        "LANGSERVE_TOKEN": token,
        "LANGSERVE_COOKIES": cookies,
        "LEDGER_DIR": str(site.ledger),
    }
    return reports_of(JS, env)


@pytest.mark.parametrize("name", declared_tests())
def test_javascript(reports: dict[str, str], name: str) -> None:
    assert name in reports, "Node did not report it:\n" + "\n".join(reports)
    if reports[name]:
        pytest.fail(reports[name], pytrace=False)


def test_every_reported_test_is_declared(reports: dict[str, str]) -> None:
    assert {name for name in reports if not name.endswith(".mjs")} == set(declared_tests())
