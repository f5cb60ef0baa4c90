"""
Synchronous generators as asynchronous ones: LangChain streams them in `stream()` and
refuses them in `astream()`, and a server needs the latter.

The generator runs in the pool. Its input is fetched in the caller's own task, for
LangChain's context variables do not survive a change of task.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from concurrent.futures import Future
from functools import wraps
from typing import Any

from langchain_core.runnables.config import run_in_executor

from runnables.error_log import logger_for_errors

logger = logger_for_errors(__name__)

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
        output = _Guarded(transform(source, *args, **kwargs))
        try:
            while (item := await _next(output, source, chunks)) is not _END:
                yield item
        finally:
            output.close_soon()

    return atransform


def async_generator(function: Callable[..., Iterator[Any]]) -> Callable[..., AsyncIterator[Any]]:
    """
    The same as an async generator function with the same arguments.
    """

    @wraps(function)
    async def agenerate(*args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        output = _Guarded(function(*args, **kwargs))
        try:
            while (item := await run_in_executor(None, output.next)) is not _END:
                yield item
        finally:
            output.close_soon()

    return agenerate


class _Guarded:
    """
    A generator that one thread at a time may touch: a cancelled run leaves its thread at
    work in it, and to close it then is an error.
    """

    def __init__(self, generator: Iterator[Any]) -> None:
        self._generator = generator
        self._lock = threading.Lock()

    def next(self) -> Any:
        with self._lock:
            return next(self._generator, _END)

    def close_soon(self) -> None:
        """
        Close it when it is at rest, in the pool; nobody waits for that.
        """
        asyncio.get_running_loop().run_in_executor(None, self._close)

    def _close(self) -> None:
        try:
            with self._lock:
                if isinstance(self._generator, Generator):
                    self._generator.close()
        except Exception:
            logger.exception("a generator failed while it was closed")


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


async def _next(output: _Guarded, source: _Source, chunks: AsyncIterator[Any]) -> Any:
    """
    The generator's next item; feeds it for as long as it asks for input.
    """
    working = asyncio.ensure_future(run_in_executor(None, output.next))
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
