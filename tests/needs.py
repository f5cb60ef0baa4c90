"""
Tools that a bare host may lack. A test that needs one is skipped with the reason named;
under REQUIRE_ALL=1, which CI sets, the same lack is a failure.
"""

import os
import shutil
import subprocess
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pytest


def require(tool: str) -> None:
    """
    Skip, or fail under REQUIRE_ALL=1, the test or fixture that calls this without the tool.
    """
    lack = what_is_missing(tool)
    if lack is None:
        return
    give_up(lack)


def give_up(reason: str) -> None:
    if all_is_required():
        pytest.fail(f"REQUIRE_ALL=1, but {reason}", pytrace=False)
    pytest.skip(reason)


def needs(*tools: str) -> pytest.MarkDecorator:
    """
    A mark for a test, a class or `pytestmark`. Under REQUIRE_ALL=1 the module fails to import instead.
    """
    lacks = [lack for lack in map(what_is_missing, tools) if lack]
    if lacks and all_is_required():
        pytest.fail(f"REQUIRE_ALL=1, but {'; '.join(lacks)}", pytrace=False)
    return pytest.mark.skipif(bool(lacks), reason="; ".join(lacks) or "nothing is missing")


def all_is_required() -> bool:
    return os.environ.get("REQUIRE_ALL") == "1"


@cache
def what_is_missing(tool: str) -> str | None:
    """
    Why the tool cannot be used, or None.
    """
    return PROBES[tool]()


def probe_node() -> str | None:
    if not (shutil.which("node") and shutil.which("npm")):
        return "node and npm are not on the PATH"
    version = subprocess.run(
        ["node", "--version"], capture_output=True, text=True, check=True
    ).stdout
    major = int(version.removeprefix("v").split(".")[0])
    return None if major >= 18 else f"node {version.strip()} is older than 18"


def probe_chromium() -> str | None:
    if find_spec("playwright") is None:
        return "playwright is not installed"
    return (
        None
        if chromium()
        else "there is no chromium: neither LANGSERVE_TEST_CHROMIUM nor one on the PATH"
    )


def chromium() -> str | None:
    """
    The browser of the system: playwright is told of it, and fetches none of its own.
    """
    named = os.environ.get("LANGSERVE_TEST_CHROMIUM")
    return named or shutil.which("chromium") or shutil.which("chromium-browser")


def probe_postgres() -> str | None:
    if os.environ.get("POSTGRES_URL") or postgres_programs():
        return None
    return "there is no PostgreSQL: neither POSTGRES_URL nor initdb and pg_ctl"


def postgres_programs() -> Path | None:
    """
    The folder of initdb and pg_ctl; Debian keeps it off the PATH.
    """
    on_path = shutil.which("pg_ctl")
    folders = [Path(on_path).parent] if on_path else []
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((folder for folder in folders if (folder / "initdb").exists()), None)


def probe_redis() -> str | None:
    if os.environ.get("REDIS_URL") or shutil.which("redis-server"):
        return None
    return "there is no Redis: neither REDIS_URL nor redis-server on the PATH"


def probe_langserve() -> str | None:
    if find_spec("langserve"):
        return None
    return "LangServe's client is not installed (pip install -r tests/contract/requirements.txt)"


PROBES: dict[str, Callable[[], str | None]] = {
    "node": probe_node,
    "chromium": probe_chromium,
    "postgres": probe_postgres,
    "redis": probe_redis,
    "langserve": probe_langserve,
}
