"""
docs/websocket.md: its conversation and its clients are tried as they stand.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.async_api import Page
from websockets.exceptions import ConnectionClosed

from runnables.conf import DEFAULTS
from tests.live import ROOT, LiveSite
from tests.websocket.conftest import socket_site
from tests.websocket.sockets import SECONDS, Talk, talk

PAGE = (ROOT / "docs" / "websocket.md").read_text()
ANSWER = "Why did the cat sit on the keyboard? It wanted to keep a paw on the mouse."


def fence(language: str, containing: str = "") -> str:
    found = re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    [code] = [text for text in found if containing in text]
    return str(code)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveSite]:
    """
    What a reader has: the demo, and `spell`.
    """
    own = {
        "DEMO": "1",
        "RUNNABLES_MODULES": "tests.websocket.spelling",
        "EXAMPLES_TOKEN_DELAY": "0",
    }
    with socket_site(tmp_path_factory.mktemp("demo"), **own) as site:
        yield site


async def test_the_conversation_goes_as_it_is_shown(demo: LiveSite) -> None:
    async with talk(demo, "/spell") as caller:
        for line in fence("text", "→").splitlines():
            arrow, _, shown = line.partition(" ")
            if arrow == "→":
                await caller.send_text(shown)
            elif shown.startswith("closed: "):
                code, reason = await caller.closed()
                assert shown == f"closed: {code} {reason}"
            else:
                await expect(caller, json.loads(shown))


async def expect(caller: Talk, shown: Any) -> None:
    try:
        async with asyncio.timeout(SECONDS):
            frame = await caller.take()
    except ConnectionClosed as closed:
        raise AssertionError(f"closed instead of {shown}") from closed
    assert is_like(frame, shown), f"{frame} is not {shown}"


def is_like(value: Any, shown: Any) -> bool:
    """
    Whether it is what is shown, where "…" stands for any text.
    """
    if isinstance(shown, dict):
        return value.keys() == shown.keys() and all(is_like(value[k], shown[k]) for k in shown)
    if isinstance(shown, list):
        return len(value) == len(shown) and all(map(is_like, value, shown))
    return bool(value == shown or (shown == "…" and isinstance(value, str)))


async def test_the_python_client_prints_the_joke_twice(demo: LiveSite) -> None:
    code = fence("python").replace("ws://localhost:8000", demo.url.replace("http", "ws"))
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-W", "error", "-c", code, stdout=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(SECONDS):
        output, _ = await process.communicate()
    assert process.returncode == 0
    assert output.decode() == f"{ANSWER}\n{ANSWER}"


@pytest.mark.browser
async def test_the_browser_client_prints_the_joke_twice(demo: LiveSite, page: Page) -> None:
    printed: list[str] = []
    page.on("console", lambda said: printed.extend([said.text] * (said.type == "log")))
    await page.goto(f"{demo.url}/admin/login/")
    await page.evaluate(f"async () => {{ {fence('js')} }}")
    whole, *chunks = printed
    assert whole == "".join(chunks) == ANSWER
    assert len(chunks) > 1


@pytest.mark.parametrize("language", ["python", "js"])
def test_a_client_is_short_enough_to_be_read(language: str) -> None:
    code = fence(language)
    body = code.partition("class Client" if language == "python" else "function connect")[2]
    body = body.partition("async def main" if language == "python" else "const call")[0]
    assert len([line for line in body.splitlines() if line.strip()]) <= 25


@pytest.mark.parametrize(
    ("setting", "shown"),
    [
        ("SOCKET_RUNS", "100"),
        ("SOCKET_FRAMES_PER_SECOND", "200"),
        ("SOCKET_SIGN_IN_SECONDS", "10 s"),
        ("SEND_SECONDS", "30 s"),
    ],
)
def test_a_limit_is_shown_with_its_default(setting: str, shown: str) -> None:
    [row] = [line for line in PAGE.splitlines() if line.endswith("|") and f"`{setting}`" in line]
    assert f"| {shown} |" in row
    assert DEFAULTS[setting] == float(shown.split()[0])


def test_every_method_and_close_code_is_described() -> None:
    from runnables import websocket  # noqa: PLC0415 - needs Django, which the others do not

    methods = {*websocket.RUN_METHODS, "cancel", "ping", "authenticate"}
    codes = {
        value
        for name, value in vars(websocket).items()
        if name.isupper() and isinstance(value, int) and 1000 <= value < 2000
    }
    assert methods <= set(re.findall(r"`(\w+)`", PAGE))
    assert codes <= {int(code) for code in re.findall(r"^\| (\d{4}) \|", PAGE, re.MULTILINE)}
