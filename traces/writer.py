"""
The one thread of a process that writes what was recorded, many runs in one transaction.

Callers never wait for it: runs that have ended stand in a bounded queue, and when that is full
a run leaves no trace, and is counted.
"""

from __future__ import annotations

import atexit
import logging
import threading
import time
from collections import Counter, deque
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

from django.contrib.auth import get_user_model
from django.db import DatabaseError, IntegrityError, connection, transaction
from django.db.models import F
from django.utils import timezone

from runnables import figures, processes
from runnables.conf import conf
from runnables.models import Deployment
from traces import recorder as recorders
from traces import rows, tables
from traces.models import DroppedTraces, Step, Trace
from traces.recorder import Recorder

logger = logging.getLogger(__name__)

BATCH = 400
HOUR = 3600
# A run older than this is shown while it goes on.
SHOWN_AFTER = 1.0
LOOK_FOR_LOST_SECONDS = 30.0

_lock = threading.Lock()
_writing = threading.Lock()
_queue: deque[Recorder] = deque()
_queued_steps = 0
_dropped: Counter[int] = Counter()
_thread: threading.Thread | None = None
_wake = threading.Event()
_stopping = threading.Event()
_next_look = 0.0


def enqueue(recorder: Recorder) -> None:
    """
    Have a run that has ended written, or dropped where too many wait already.
    """
    global _queued_steps
    weight = len(recorder.steps) + 1
    if _queued_steps + weight > conf.trace_queue and _queue:
        _drop(recorder)
        return
    with _lock:
        _queued_steps += weight
        _queue.append(recorder)
    if _thread is None and conf.trace_seconds:
        _start()
    if len(_queue) == BATCH:
        _wake.set()


def queue_length() -> int:
    return len(_queue)


def unwritten_drops() -> int:
    """
    Runs that were dropped and are not yet counted in the database.
    """
    return _dropped.total()


def write() -> None:
    """
    Write all that waits, and what goes on; raises DatabaseError, and then keeps it.
    """
    with _writing:
        while batch := _take():
            try:
                _write_ended(batch)
            except DatabaseError:
                _put_back(batch)
                raise
        _write_running()
        _write_drops()
        _look_for_lost()


def stop() -> None:
    """
    Write the last, and end the thread.
    """
    global _thread
    if _thread is not None:
        _stopping.set()
        _wake.set()
        _thread.join()
        _stopping.clear()
        _thread = None
    elif conf.trace_seconds and (_queue or _dropped):
        write()


def forget() -> None:
    """
    Drop all that was recorded and not written; for tests.
    """
    global _queued_steps, _next_look
    with _lock:
        _queue.clear()
        _queued_steps = 0
    _dropped.clear()
    _next_look = 0.0
    for recorder in recorders.all_followed():
        recorders.forget(recorder)


def _start() -> None:
    global _thread
    with _lock:
        if _thread is None:
            _thread = threading.Thread(target=_follow, name="langserve-traces", daemon=True)
            _thread.start()
            # Commands have no server that would stop it.
            atexit.register(stop)


def _follow() -> None:
    failing = False
    while not _stopping.is_set():
        _wake.wait(conf.trace_seconds or 1)
        _wake.clear()
        try:
            write()
            failing = False
        except Exception:
            if not failing:
                logger.exception(
                    "traces cannot be written now; they wait, and beyond that are dropped"
                )
            failing = True
            connection.close()
            _stopping.wait(2)
    try:
        write()
    except DatabaseError:
        logger.exception("the last traces of this process could not be written")
    connection.close()


def _take() -> list[Recorder]:
    global _queued_steps
    with _lock:
        batch = [_queue.popleft() for _ in range(min(len(_queue), BATCH))]
        _queued_steps -= sum(len(one.steps) + 1 for one in batch)
    return batch


def _put_back(batch: list[Recorder]) -> None:
    global _queued_steps
    with _lock:
        _queue.extendleft(reversed(batch))
        _queued_steps += sum(len(one.steps) + 1 for one in batch)


def _drop(recorder: Recorder) -> None:
    _dropped[int(time.time()) // HOUR] += 1
    recorders.forget(recorder)


def _write_ended(batch: list[Recorder]) -> None:
    try:
        written = _insert(batch)
    except IntegrityError:
        # A user or a deployment is gone since: find out whose, one by one.
        written = [row for one in batch for row in _insert_alone(one)]
    for recorder in batch:
        recorders.forget(recorder)
    for recorder, row in zip(batch, written, strict=True):
        _count_usage(recorder, row)


def _insert(batch: list[Recorder]) -> list[rows.Row]:
    """
    The rows of the runs, once they are in the database.
    """
    boot_id = processes.boot_id()
    taken = _taken(batch)
    new: list[rows.Row] = []
    steps: list[rows.Row] = []
    old: list[Recorder] = []
    for recorder in batch:
        own = uuid4() if recorder.run_id in taken and not recorder.is_written else None
        row = rows.trace_row(recorder, boot_id, id=own)
        new.append(row)
        if recorder.is_written:
            old.append(recorder)
        else:
            # Within one batch, too, an id may have been used twice.
            taken.add(recorder.run_id)
            steps += rows.step_rows(recorder, recorder.steps.values(), trace=row["id"])
    shown = {recorder.run_id for recorder in old}
    with transaction.atomic():
        tables.insert(Trace, [row for row in new if row["id"] not in shown], replace=False)
        tables.insert(Trace, [row for row in new if row["id"] in shown], replace=True)
        tables.insert(Step, steps, replace=False)
        for recorder in old:
            _insert_changed(recorder)
    return new


def _taken(batch: list[Recorder]) -> set[UUID]:
    """
    Ids that a run before already has: callers may choose them.
    """
    ids = [recorder.run_id for recorder in batch if not recorder.is_written]
    return set(Trace.objects.filter(pk__in=ids).values_list("pk", flat=True))


def _insert_alone(recorder: Recorder) -> list[rows.Row]:
    facts = recorder.facts
    user, deployment = facts.user, facts.deployment
    if not get_user_model()._default_manager.filter(pk=user).exists():
        user = None
    if deployment is None or not Deployment.objects.filter(pk=deployment).exists():
        deployment = None
    recorder.facts = replace(facts, user=user, deployment=deployment)
    return _insert([recorder])


def _insert_changed(recorder: Recorder) -> None:
    changed = list(dict.fromkeys(recorder.changed))
    recorder.changed = []
    if recorder.outcome:
        # What the run left behind has no end of its own.
        changed = list(dict.fromkeys([*changed, *_unfinished(recorder)]))
    tables.insert(Step, rows.step_rows(recorder, changed, trace=recorder.run_id), replace=True)


def _unfinished(recorder: Recorder) -> list[Any]:
    return [step for step in list(recorder.steps.values()) if step.state == "running"]


def _write_running() -> None:
    """
    Show the runs that have gone on for a while, and what is new of them.
    """
    old = time.monotonic() - SHOWN_AFTER
    for recorder in recorders.all_followed():
        if recorder.outcome or recorder.started > old or not recorder.changed:
            continue
        if not recorder.is_written and _taken([recorder]):
            continue  # under an id that is another's; it is shown when it has ended
        with transaction.atomic():
            row = rows.trace_row(recorder, processes.boot_id())
            tables.insert(Trace, [row], replace=True)
            _insert_changed(recorder)
        recorder.is_written = True


def _write_drops() -> None:
    for hour, count in list(_dropped.items()):
        row, _ = DroppedTraces.objects.get_or_create(hour=datetime.fromtimestamp(hour * HOUR, UTC))
        DroppedTraces.objects.filter(pk=row.pk).update(count=F("count") + count)
        _dropped[hour] -= count
        if not _dropped[hour]:
            del _dropped[hour]


def _look_for_lost() -> None:
    """
    Runs whose process is gone without having said how they ended.
    """
    global _next_look
    if time.monotonic() < _next_look:
        return
    _next_look = time.monotonic() + LOOK_FOR_LOST_SECONDS
    alive = [processes.boot_id(), *(process.boot_id for process in processes.alive())]
    before = timezone.now() - timedelta(seconds=LOOK_FOR_LOST_SECONDS)
    running = Trace.objects.filter(state="running", started_at__lt=before)
    running.exclude(boot_id__in=alive).update(state="lost")


def _count_usage(recorder: Recorder, row: rows.Row) -> None:
    kind = recorder.facts.figures_kind
    if kind and recorder.outcome and row["output_tokens"] is not None:
        figures.count_usage(
            kind,
            recorder.outcome.ended_at,
            row["input_tokens"],
            row["output_tokens"],
            row["cost"] or Decimal(0),
        )
