"""
Synchronous generators as asynchronous ones: LangChain streams them in `stream()` and
refuses them in `astream()`, and a server needs the latter.

The generator runs in the pool. Its input is fetched in the caller's own task, for
LangChain's context variables do not survive a change of task.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future
from functools import wraps
from typing import Any

from langchain_core.runnables.config import run_in_executor

_END = object()


def async_transform(transform: Callable[..., Iterator[Any]]) -> Callable[..., AsyncIterator[Any]]:
    """
    The same as an async generator function over an async input.
    """

    @wraps(transform)
    async def atransform(
        chunks: AsyncIterator[Any], *args: Any, **kwargs: Any
    ) -> AsyncIterator[Any]:
        source = _Source()
        output = transform(source, *args, **kwargs)
        try:
            while (item := await _next(output, source, chunks)) is not _END:
                yield item
        finally:
            await run_in_executor(None, _close, output)

    return atransform


def async_generator(function: Callable[..., Iterator[Any]]) -> Callable[..., AsyncIterator[Any]]:
    """
    The same as an async generator function with the same arguments.
    """

    @wraps(function)
    async def agenerate(*args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        output = function(*args, **kwargs)
        try:
            while (item := await run_in_executor(None, next, output, _END)) is not _END:
                yield item
        finally:
            await run_in_executor(None, _close, output)

    return agenerate


class _Source:
    """
    The generator's input: asks the event loop for each item, from the pool's thread.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.wanted = asyncio.Event()
        self.item: Future[Any] = Future()

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        self._loop.call_soon_threadsafe(self.wanted.set)
        item = self.item.result()
        self.item = Future()
        if item is _END:
            raise StopIteration
        return item


async def _next(output: Iterator[Any], source: _Source, chunks: AsyncIterator[Any]) -> Any:
    """
    The generator's next item; feeds it for as long as it asks for input.
    """
    working = asyncio.ensure_future(run_in_executor(None, next, output, _END))
    try:
        while not working.done():
            wanted = asyncio.ensure_future(source.wanted.wait())
            await asyncio.wait((working, wanted), return_when=asyncio.FIRST_COMPLETED)
            wanted.cancel()
            if source.wanted.is_set():
                source.wanted.clear()
                await _feed(source, chunks)
        return working.result()
    except asyncio.CancelledError:
        # The thread may be waiting for input that will never come.
        source.item.cancel()
        raise


async def _feed(source: _Source, chunks: AsyncIterator[Any]) -> None:
    waiting = source.item
    try:
        waiting.set_result(await anext(chunks, _END))
    except Exception as error:  # noqa: BLE001 - it belongs to the generator, which asked
        waiting.set_exception(error)


def _close(output: Any) -> None:
    if hasattr(output, "close"):
        output.close()
