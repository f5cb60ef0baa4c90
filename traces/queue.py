"""
Runs that have ended and wait to be written: bounded, since a database may be away for long.
What finds no room is dropped, and counted.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from typing import TYPE_CHECKING

from runnables.conf import conf

if TYPE_CHECKING:
    from uuid import UUID

    from traces.recorder import Recorder

HOUR = 3600
# So many are written at once, and wake the writer.
BATCH = 400

# Those under way, and those that have ended and are not yet in the database.
followed: dict[UUID, Recorder] = {}
# Hours since the epoch -> runs that left no trace.
dropped: Counter[int] = Counter()
wake = threading.Event()

_lock = threading.Lock()
_waiting: deque[Recorder] = deque()
_steps = 0


def put(recorder: Recorder) -> None:
    global _steps
    weight = len(recorder.steps) + 1
    if _steps + weight > conf.trace_queue and _waiting:
        drop(recorder)
        return
    with _lock:
        _steps += weight
        _waiting.append(recorder)
    if len(_waiting) >= BATCH:
        wake.set()


def drop(recorder: Recorder) -> None:
    """
    The run leaves no trace, and is counted.
    """
    dropped[int(time.time()) // HOUR] += 1
    forget(recorder)


def take() -> list[Recorder]:
    """
    The first of them, oldest first.
    """
    global _steps
    with _lock:
        batch = [_waiting.popleft() for _ in range(min(len(_waiting), BATCH))]
        _steps -= _weight(batch)
    return batch


def put_back(batch: list[Recorder]) -> None:
    """
    Those could not be written: they stand in front again.
    """
    global _steps
    with _lock:
        _waiting.extendleft(reversed(batch))
        _steps += _weight(batch)


def length() -> int:
    return len(_waiting)


def forget(recorder: Recorder) -> None:
    """
    The run is in the database, or dropped.
    """
    if followed.get(recorder.run_id) is recorder:
        del followed[recorder.run_id]


def clear() -> None:
    """
    Drop all that waits; for tests.
    """
    global _steps
    with _lock:
        _waiting.clear()
        _steps = 0
    followed.clear()
    dropped.clear()


def _weight(batch: list[Recorder]) -> int:
    return sum([len(one.steps) + 1 for one in batch])
