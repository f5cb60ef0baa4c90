"""
The examples on both servers, called by clients that people have: requests and our own.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import requests

from runnables.client import RemoteError, RemoteRunnable
from tests.live import LiveSite, live_site

DEMO = {"DEMO": "1", "EXAMPLES_TOKEN_DELAY": "0", "RUNNABLES_MODULES": ""}
PEOPLE = ("people.csv", b"name,age\nann,3\n", "text/csv")
QUESTION = {"messages": [{"role": "user", "content": "What is 6 * 7?"}]}


@pytest.fixture(scope="module", params=["uvicorn", "daphne"])
def demo(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LiveSite]:
    folder = tmp_path_factory.mktemp(f"demo-{request.param}")
    with live_site(folder, server=request.param, env=DEMO) as live:
        yield live


def test_the_call_of_langserves_readme_works_as_it_stands(demo: LiveSite) -> None:
    answer = requests.post(f"{demo.url}/joke/invoke", json={"input": {"topic": "cats"}}, timeout=10)
    assert "cat" in answer.json()["output"]["content"]


@pytest.mark.parametrize("endpoint", ["invoke", "stream"])
def test_a_file_is_uploaded_as_a_form(demo: LiveSite, endpoint: str) -> None:
    url = f"{demo.url}/files/{endpoint}"
    answer = requests.post(url, files={"file": PEOPLE}, timeout=10)
    assert answer.status_code == 200
    assert '"header":["name","age"]' in answer.text


def test_a_file_over_the_limit_is_refused(demo: LiveSite) -> None:
    large = {"file": ("a.bin", b"x" * (10 * 1024 * 1024 + 1))}
    answer = requests.post(f"{demo.url}/files/invoke", files=large, timeout=20)
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")


async def test_an_agent_answers_word_by_word(demo: LiveSite) -> None:
    async with RemoteRunnable[Any, Any](f"{demo.url}/agent") as agent:
        events: list[Any] = [
            event async for event in agent.astream_events(QUESTION, preset="final_answer")
        ]
    words = [event["data"]["chunk"].content for event in events[:-1]]
    assert len(words) > 1
    assert "".join(words).startswith("6 * 7 = 42")
    assert events[-1]["data"]["output"]["messages"][-1].content == "".join(words)


def test_an_error_says_what_and_where(demo: LiveSite) -> None:
    with (
        RemoteRunnable[Any, Any](f"{demo.url}/joke") as joke,
        pytest.raises(RemoteError, match="topic") as refused,
    ):
        joke.invoke({"subject": "cats"})
    assert (refused.value.status_code, refused.value.code) == (422, "validation_error")


def test_the_site_describes_itself(demo: LiveSite) -> None:
    document = requests.get(f"{demo.url}/openapi.json", timeout=10).json()
    assert document["openapi"].startswith("3.1")
    assert "/joke/invoke" in document["paths"]
    page = requests.get(f"{demo.url}/docs/", timeout=10)
    assert page.status_code == 200
    assert "default-src 'none'" in page.headers["content-security-policy"]
