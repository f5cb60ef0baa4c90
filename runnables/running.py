"""
The calls that this process is running now, and how they are stopped.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from uuid import UUID

from runnables.exceptions import RunCancelled, RunIdInUse, RunTimedOut, ServingError

# One cancel does not always end a run: `astream_log` swallows the first.
CANCEL_AGAIN_SECONDS = 0.2

_lock = threading.Lock()
_running: dict[UUID, RunningCall] = {}
_current: ContextVar[RunningCall | None] = ContextVar("current_call", default=None)


class RunningCall:
    """
    A run going on in the current task. `principal` is whoever started it, `deployment` the
    key of the deployment's row. `still_allowed`, if given, raises a ServingError once the
    caller may not go on. `first_chunk_at` is of the monotonic clock, as `started_at`.
    """

    __slots__ = (
        "_loop",
        "_outer",
        "_timeout",
        "_timer",
        "deployment",
        "first_chunk_at",
        "principal",
        "run_ids",
        "started_at",
        "still_allowed",
        "stopped_by",
        "task",
    )

    def __init__(
        self,
        run_ids: tuple[UUID, ...],
        principal: str,
        timeout: float,
        *,
        deployment: int | None = None,
        still_allowed: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - we are inside a coroutine
        self.task = task
        self.run_ids = run_ids
        self.principal = principal
        self.deployment = deployment
        self.still_allowed = still_allowed
        self.stopped_by: ServingError | None = None
        self.started_at = time.monotonic()
        self.first_chunk_at: float | None = None
        self._timeout = timeout
        self._timer = self._loop.call_later(timeout, self._time_out)

    def cancel(self) -> None:
        """
        Stop the run; may be called from any thread.
        """
        self.stop(RunCancelled())

    def stop(self, error: ServingError) -> None:
        """
        Stop the run, whose caller will see `error`; may be called from any thread.
        """
        self._loop.call_soon_threadsafe(self._stop, error)

    def begin(self) -> None:
        """
        The run begins only now: time spent waiting for it does not count.
        """
        self.started_at = time.monotonic()
        self._timer.cancel()
        self._timer = self._loop.call_later(self._timeout, self._time_out)

    def ask_again(self) -> None:
        """
        Have the run stopped if its caller may not go on; may be called from any thread.
        """
        if self.still_allowed:
            asyncio.run_coroutine_threadsafe(self._ask(self.still_allowed), self._loop)

    async def _ask(self, still_allowed: Callable[[], Awaitable[None]]) -> None:
        try:
            await still_allowed()
        except ServingError as error:
            self._stop(error)

    def _time_out(self) -> None:
        self._stop(RunTimedOut())

    def _stop(self, error: ServingError) -> None:
        # The run may be over, and its id in use again by another.
        if _running.get(self.run_ids[0]) is not self:
            return
        self.stopped_by = self.stopped_by or error
        self.task.cancel()
        self._timer.cancel()
        self._timer = self._loop.call_later(CANCEL_AGAIN_SECONDS, self._stop, error)

    def enter(self) -> None:
        """
        From now on the run can be found; raises RunIdInUse.
        """
        with _lock:
            for run_id in self.run_ids:
                if run_id in _running:
                    self._forget()
                    self._timer.cancel()
                    raise RunIdInUse
                _running[run_id] = self
        self._outer = _current.get()
        _current.set(self)

    def _forget(self) -> None:
        for run_id in self.run_ids:
            if _running.get(run_id) is self:
                del _running[run_id]

    def leave(self, error: BaseException | None) -> ServingError | None:
        """
        The run is over. What it was stopped by, if `error` is the cancel that did so: raise
        it instead. A cancel from outside (the client left) is none of ours.
        """
        self._timer.cancel()
        _current.set(self._outer)
        with _lock:
            self._forget()
        if not isinstance(error, asyncio.CancelledError) or self.stopped_by is None:
            return None
        # The cancel was ours and is answered: the task itself goes on.
        while self.task.cancelling():
            self.task.uncancel()
        return self.stopped_by


def current() -> RunningCall | None:
    """
    The call that this code runs for, in whatever task or thread LangChain runs it.
    """
    return _current.get()


def find(run_id: UUID) -> RunningCall | None:
    return _running.get(run_id)


def count() -> int:
    return len(_running)


def all_calls() -> list[RunningCall]:
    """
    Each once, however many run ids it has.
    """
    with _lock:
        return list(dict.fromkeys(_running.values()))


def all_run_ids() -> list[UUID]:
    with _lock:
        return list(_running)


def by_deployment() -> dict[int, int]:
    """
    How many calls of each deployment go on in this process.
    """
    return dict(Counter(call.deployment for call in all_calls() if call.deployment is not None))
