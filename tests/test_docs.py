"""
Whatever a developer, an operator or a caller can meet is documented, with its true default.
"""

import ast
import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from runnables.conf import DEFAULTS
from runnables.registry import ENDPOINTS, Options
from runnables.routing import ENDPOINTS as ROUTES
from tests.live import ROOT

ROW = re.compile(r"^\| (?P<names>`.*?`) \|(?P<rest>.*)\|$", re.MULTILINE)
NAME = re.compile(r"`([\w.]+)`")
ENVIRONMENT = re.compile(r"\benv\.\w+\(\s*\"(\w+)\"")
OF_EXAMPLES = re.compile(r"(?:environ(?:\.get\(|\[)|is_set\()(\"[^)\]]*)")
CHECK_ID = re.compile(r"\"(langserve\.[EW]\d{3})\"")

Rows = dict[str, str]


def section(page: str, heading: str = "") -> str:
    """
    The text below a heading, down to the next of its rank or a higher; the whole page without one.
    """
    text = (ROOT / "docs" / page).read_text()
    if not heading:
        return text
    rank, _ = heading.split(" ", 1)
    below = text.split(f"\n{heading}\n", 1)[1]
    return re.split(rf"^#{{1,{len(rank)}}} ", below, maxsplit=1, flags=re.MULTILINE)[0]


def rows(text: str) -> Rows:
    """
    The rows of tables by the names in their first column.
    """
    return {name: row["rest"] for row in ROW.finditer(text) for name in NAME.findall(row["names"])}


def first_literal(cells: str) -> Any:
    return ast.literal_eval(cells.split("|")[0].strip().strip("`"))


def sources() -> Iterator[ast.Module]:
    for path in sorted((ROOT / "runnables").rglob("*.py")):
        if "migrations" not in path.parts:
            yield ast.parse(path.read_text())


def error_codes() -> set[str]:
    """
    Texts that the code gives as an error's code: a class's own, by keyword, or a BadPayload's.
    """
    found: set[str] = set()
    for tree in sources():
        for node in ast.walk(tree):
            match node:
                case ast.Assign([ast.Name("code")], ast.Constant(str(code))):
                    found.add(code)
                case ast.keyword("code", ast.Constant(str(code))):
                    found.add(code)
                case ast.Call(ast.Name("BadPayload"), [ast.Constant(str(code)), *_]):
                    found.add(code)
    return found


def test_every_environment_variable_of_the_site_is_documented() -> None:
    read = set(ENVIRONMENT.findall((ROOT / "project" / "settings.py").read_text()))
    documented = section("settings.md", "## Environment variables of the site")

    assert read <= set(rows(documented.split("\n### ")[0]))


def test_every_environment_variable_of_the_examples_is_documented() -> None:
    code = "".join(
        path.read_text() for path in (ROOT / "examples").glob("*.py") if path.stem != "demo"
    )
    read = {name for call in OF_EXAMPLES.findall(code) for name in re.findall(r'"(\w+)"', call)}

    documented = rows(section("settings.md", "### Environment variables of the examples"))
    assert read <= set(documented)


def test_every_key_of_the_langserve_setting_is_documented_with_its_default() -> None:
    documented = rows(section("settings.md", "## The LANGSERVE setting"))

    assert {name: first_literal(documented[name]) for name in DEFAULTS} == DEFAULTS


def test_every_option_of_register_is_documented_with_its_default() -> None:
    headings = ("## Options that stay in code", "## Options that are first values of the row")
    documented = rows("".join(section("registering.md", heading) for heading in headings))

    defaults = {option.name: getattr(Options(), option.name) for option in fields(Options)}
    assert {name: first_literal(documented[name]) for name in defaults} == defaults


@pytest.mark.parametrize("name", [*ENDPOINTS, *ROUTES])
def test_every_endpoint_is_documented(name: str) -> None:
    readme = (ROOT / "README.md").read_text()

    assert f"`{name}`" in section("registering.md") or f"/{name}`" in readme


def test_every_error_code_is_documented() -> None:
    documented = {
        match[1] for match in re.finditer(r"^\| \d.*? \| `(\w+)` \|", section("errors.md"), re.M)
    }

    assert error_codes() <= documented


def test_every_check_is_documented() -> None:
    code = "".join(path.read_text() for path in (ROOT / "runnables").glob("*.py"))

    assert set(CHECK_ID.findall(code)) <= set(rows(section("checks.md")))


@pytest.mark.parametrize("page", sorted((ROOT / "docs").glob("*.md")), ids=lambda page: page.stem)
def test_page_is_found_from_the_readme(page: Path) -> None:
    assert f"(docs/{page.name})" in (ROOT / "README.md").read_text()
