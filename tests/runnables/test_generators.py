"""
Synchronous generators stream like asynchronous ones.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from langchain_core.runnables import RunnableConfig, RunnableGenerator, RunnableLambda

from runnables import PublicError
from runnables.adapt import adapted
from tests.conftest import Site, events
from tests.fakes import chunks
from tests.runnables.asgi import hang_up


def letters(word: str) -> Iterator[str]:
    yield from word


def shout(words: Iterator[str]) -> Iterator[str]:
    for word in words:
        for letter in word:
            yield letter.upper()


def _tagged(words: Iterator[str], config: RunnableConfig) -> Iterator[Any]:
    for _ in words:
        yield config["tags"]


# RunnableGenerator passes a config to whoever takes one; its types do not say so.
tagged: Any = _tagged


async def streamed(runnable: Any, given: Any, config: Any = None) -> list[Any]:
    return [chunk async for chunk in adapted(runnable).astream(given, config)]


async def test_generator_function_streams() -> None:
    assert await streamed(RunnableLambda(letters), "cat") == ["c", "a", "t"]


async def test_generator_over_its_input_streams() -> None:
    assert await streamed(RunnableGenerator(shout), "cat") == ["C", "A", "T"]
    chain = chunks("ab", "c") | RunnableGenerator(shout)
    assert await streamed(chain, 1) == ["A", "B", "C"]


async def test_generator_gets_the_config() -> None:
    assert await streamed(RunnableGenerator(tagged), "x", {"tags": ["t"]}) == [["t"]]


async def test_generator_asks_for_input_only_when_it_needs_it() -> None:
    asked: list[int] = []

    async def source(_: Any) -> Any:
        for number in range(3):
            asked.append(number)
            yield "x"

    chain = adapted(RunnableGenerator(source) | RunnableGenerator(shout))
    stream = chain.astream(1)
    await anext(stream)
    assert len(asked) < 3
    await stream.aclose()


async def test_empty_generator_is_an_empty_stream() -> None:
    assert await streamed(RunnableGenerator(shout), "") == []


async def test_name_is_kept() -> None:
    assert adapted(RunnableLambda(letters, name="mine")).get_name() == "mine"
    assert adapted(RunnableGenerator(shout, name="mine")).get_name() == "mine"
    assert adapted(RunnableGenerator(shout)).get_name() == RunnableGenerator(shout).get_name()


async def test_types_are_the_same() -> None:
    for stock in (RunnableLambda(letters), RunnableGenerator(shout)):
        assert adapted(stock).InputType == stock.InputType
        assert adapted(stock).OutputType == stock.OutputType


async def test_async_generator_is_left_alone() -> None:
    runnable = chunks(1)
    assert adapted(runnable) is runnable


@pytest.mark.parametrize("runnable", [RunnableLambda(letters), RunnableGenerator(shout)])
def test_all_doors_serve_it(site: Site, runnable: Any) -> None:
    site.serve("it", runnable)
    data = [d for name, d in events(site.post("/it/stream", {"input": "cat"})) if name == "data"]
    assert "".join(data).lower() == "cat"
    assert site.invoke("/it", "cat").lower() == "cat"
    assert site.post("/it/batch", {"inputs": ["a", "b"]}).status_code == 200


def test_failure_midway_is_an_error_event(site: Site) -> None:
    def fail(_: Iterator[Any]) -> Iterator[int]:
        yield 1
        raise PublicError("No more.", status=418)

    site.serve("it", RunnableGenerator(fail))
    names = [(name, data) for name, data in events(site.post("/it/stream", {"input": 1}))]
    assert names[1] == ("data", 1)
    assert names[-1][0] == "error"
    assert names[-1][1]["status_code"] == 418


@pytest.mark.parametrize("door", ["stream", "invoke"])
def test_generator_of_a_client_that_left_is_closed(site: Site, door: str) -> None:
    begun, ended, never = threading.Event(), threading.Event(), threading.Event()

    def endless(_: Iterator[Any]) -> Iterator[int]:
        try:
            while not ended.is_set():
                begun.set()
                yield 1
                never.wait(0.3)  # where it is when the client leaves
        finally:
            ended.set()

    site.serve("it", RunnableGenerator(endless))
    asyncio.run(hang_up(site, f"/it/{door}", {"input": 1}, when=begun))
    assert ended.wait(5)


@pytest.mark.parametrize("make", [RunnableGenerator, RunnableLambda])
def test_generator_over_its_time_is_a_504(site: Site, make: Any) -> None:
    never = threading.Event()

    def slow(_: Any) -> Iterator[int]:
        never.wait(0.3)
        yield 1

    site.serve("it", make(slow), timeout=0.05)
    assert site.post("/it/invoke", {"input": 1}).status_code == 504
