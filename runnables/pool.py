"""
The bounded pool in which synchronous runnables run.

LangChain sends them to the loop's default executor, which has cores + 4 threads: fifty
blocking one-second calls took 9.5 s in it. A call that was cancelled keeps its thread
until it really ends.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any
from weakref import WeakSet

from django.db import close_old_connections, connections

from runnables.conf import conf

_prepared: WeakSet[asyncio.AbstractEventLoop] = WeakSet()


class RunnableThreads(ThreadPoolExecutor):
    """
    Threads that give their database connections back after each piece of work.
    """

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        return super().submit(_work, fn, *args, **kwargs)


def use_pool_of_ours() -> None:
    """
    Make ours the default executor of the running loop; cheap to call again.
    """
    loop = asyncio.get_running_loop()
    if loop not in _prepared:
        loop.set_default_executor(RunnableThreads(conf.sync_workers, thread_name_prefix="runnable"))
        _prepared.add(loop)


def _work(fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    try:
        return fn(*args, **kwargs)
    finally:
        if any(True for _ in connections.all(initialized_only=True)):
            close_old_connections()
