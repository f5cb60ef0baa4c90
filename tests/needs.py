"""
Tools that a bare host may lack. A test that needs one is skipped with the reason named;
under REQUIRE_ALL=1, which CI sets, the same lack is a failure.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec

import pytest

POSTGRES_URL = os.environ.get("POSTGRES_URL", "postgres://postgres@127.0.0.1:5432/postgres")
REDIS_URL = os.environ.get("TEST_REDIS_URL", "redis://127.0.0.1:6379/9")


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
    if find_spec("psycopg") is None:
        return "psycopg is not installed"
    code = f"import psycopg; psycopg.connect({POSTGRES_URL!r}, connect_timeout=3).close()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    return f"there is no PostgreSQL at POSTGRES_URL ({POSTGRES_URL})" if done.returncode else None


def probe_redis() -> str | None:
    if find_spec("redis") is None:
        return "redis is not installed"
    code = f"import redis; redis.Redis.from_url({REDIS_URL!r}, socket_timeout=3).ping()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    return f"there is no Redis at TEST_REDIS_URL ({REDIS_URL})" if done.returncode else None


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
