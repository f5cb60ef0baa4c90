"""
The few threads through which the async doors talk to the database.

A query through Django's own bridge costs a fresh thread and a fresh connection per
request (2 ms measured); here each thread keeps its connection for a minute.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from django.db import connections

from runnables.conf import conf

T = TypeVar("T")

CONNECTION_SECONDS = 60.0

_local = threading.local()
_pool: ThreadPoolExecutor | None = None


async def query(function: Callable[[], T]) -> T:
    """
    The result of `function`, a short piece of ORM code, run in one of our threads.
    """
    return await asyncio.get_running_loop().run_in_executor(_threads(), _with_connection, function)


@contextmanager
def own_connection() -> Iterator[None]:
    """
    For code that may run in a thread of LangChain's: those end without closing what they
    opened. What is opened within is closed, what was open stays.
    """
    before = [one for one in connections.all(initialized_only=True) if one.connection]
    try:
        yield
    finally:
        for one in connections.all(initialized_only=True):
            if one not in before:
                one.close()


def close() -> None:
    """
    End the threads and their connections; the next query starts new ones.
    """
    global _pool
    if _pool is None:
        return
    pool, _pool = _pool, None
    # Each thread owns its connection and must close it itself: the barrier keeps one
    # thread from taking two of these jobs.
    everybody = threading.Barrier(conf.database_workers)
    for _ in range(conf.database_workers):
        pool.submit(_close_connections, everybody)
    pool.shutdown(wait=True)


def _threads() -> ThreadPoolExecutor:
    global _pool
    if _pool is None:
        _pool = ThreadPoolExecutor(conf.database_workers, thread_name_prefix="langserve-database")
    return _pool


def _close_connections(everybody: threading.Barrier) -> None:
    everybody.wait()
    connections.close_all()


def _with_connection(function: Callable[[], T]) -> T:
    now = time.monotonic()
    if now - getattr(_local, "since", now) > CONNECTION_SECONDS:
        connections.close_all()
        del _local.since
    if not hasattr(_local, "since"):
        _local.since = now
    try:
        return function()
    except Exception:
        # A broken connection must not serve the next caller.
        connections.close_all()
        raise
