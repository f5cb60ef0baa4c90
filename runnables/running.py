"""
The calls that this process is running now, and how they are stopped.
"""

from __future__ import annotations

import asyncio
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal
from uuid import UUID

from runnables.exceptions import RunCancelled, RunIdInUse, RunTimedOut

if TYPE_CHECKING:
    from collections.abc import Iterator

Reason = Literal["cancelled", "timed_out"]

# One cancel does not always end a run: `astream_log` swallows the first.
CANCEL_AGAIN_SECONDS = 0.2

_lock = threading.Lock()
_running: dict[UUID, RunningCall] = {}


class RunningCall:
    """
    A run going on in the current task. `principal` is whoever started it.
    """

    __slots__ = ("_loop", "_timer", "principal", "reason", "run_ids", "task")

    def __init__(self, run_ids: tuple[UUID, ...], principal: str, timeout: float) -> None:
        self._loop = asyncio.get_running_loop()
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - we are inside a coroutine
        self.task = task
        self.run_ids = run_ids
        self.principal = principal
        self.reason: Reason | None = None
        self._timer = self._loop.call_later(timeout, self._stop, "timed_out")

    def cancel(self) -> None:
        """
        Stop the run; may be called from any thread.
        """
        self._loop.call_soon_threadsafe(self._stop, "cancelled")

    def _stop(self, reason: Reason) -> None:
        # The run may be over, and its id in use again by another.
        if _running.get(self.run_ids[0]) is not self:
            return
        self.reason = self.reason or reason
        self.task.cancel()
        self._timer.cancel()
        self._timer = self._loop.call_later(CANCEL_AGAIN_SECONDS, self._stop, reason)

    def end(self) -> None:
        self._timer.cancel()


@contextmanager
def running(run_ids: tuple[UUID, ...], principal: str, timeout: float) -> Iterator[RunningCall]:
    """
    Within it the run can be found, cancelled and timed out; RunCancelled or RunTimedOut
    is raised then. A cancel from outside (the client left) passes as CancelledError.
    """
    call = RunningCall(run_ids, principal, timeout)
    _enter(call)
    try:
        yield call
    except asyncio.CancelledError:
        if call.reason is None:
            raise
        # The cancel was ours and is answered: the task itself goes on.
        while call.task.cancelling():
            call.task.uncancel()
        error = RunTimedOut if call.reason == "timed_out" else RunCancelled
        raise error from None
    finally:
        _leave(call)


def find(run_id: UUID) -> RunningCall | None:
    return _running.get(run_id)


def count() -> int:
    return len(_running)


def all_run_ids() -> list[UUID]:
    with _lock:
        return list(_running)


def _enter(call: RunningCall) -> None:
    with _lock:
        twice = len(set(call.run_ids)) != len(call.run_ids)
        if twice or any(run_id in _running for run_id in call.run_ids):
            call.end()
            raise RunIdInUse
        for run_id in call.run_ids:
            _running[run_id] = call


def _leave(call: RunningCall) -> None:
    call.end()
    with _lock:
        for run_id in call.run_ids:
            if _running.get(run_id) is call:
                del _running[run_id]
