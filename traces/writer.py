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
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID, uuid4

from django.contrib.auth import get_user_model
from django.db import (
    DatabaseError,
    InterfaceError,
    OperationalError,
    connection,
    transaction,
)
from django.db.models import F
from django.utils import timezone

from runnables import figures, processes
from runnables.conf import conf
from runnables.models import Deployment
from traces import otel, queue, rows, tables
from traces.models import DroppedTraces, Step, Trace
from traces.recorder import Recorder, StepRecord

logger = logging.getLogger(__name__)

# A run older than this is shown while it goes on.
SHOWN_AFTER = 1.0
LOOK_FOR_LOST_SECONDS = 30.0
TRY_AGAIN_SECONDS = 2.0

_starting = threading.Lock()
_writing = threading.Lock()
_thread: threading.Thread | None = None
_stopping = threading.Event()
_next_look = 0.0


def start() -> None:
    """
    Start the thread, once per process.
    """
    global _thread
    if not conf.trace_seconds:
        return
    with _starting:
        if _thread is None or not _thread.is_alive():
            if _thread is None:
                atexit.register(stop)  # commands have no server that would stop it
            _thread = threading.Thread(target=_follow, name="langserve-traces", daemon=True)
            _thread.start()


def stop() -> None:
    """
    Write the last, and end the thread.
    """
    global _thread
    if _thread is None:
        return
    _stopping.set()
    queue.wake.set()
    _thread.join()
    _stopping.clear()
    _thread = None


def write() -> None:
    """
    Write all that waits, and what goes on; raises DatabaseError, and then keeps it.
    """
    with _writing:
        while batch := queue.take():
            try:
                _write_ended(batch)
            except DatabaseError:
                queue.put_back(batch)
                raise
        _write_running()
        _write_drops()
        _look_for_lost()


def _follow() -> None:
    failing = False
    while not _stopping.is_set():
        queue.wake.wait(conf.trace_seconds or 1)
        queue.wake.clear()
        try:
            write()
            failing = False
        except Exception:
            if not failing:
                logger.exception(
                    "traces cannot be written now: they wait, and beyond the queue are dropped"
                )
            failing = True
            connection.close()
            _stopping.wait(TRY_AGAIN_SECONDS)
    try:
        write()
    except DatabaseError:
        logger.exception("the last traces of this process could not be written")
    connection.close()


def _write_ended(batch: list[Recorder]) -> None:
    try:
        written = list(zip(batch, _insert(batch), strict=True))
    except (OperationalError, InterfaceError):
        raise  # the database is away: all of them wait
    except Exception:  # noqa: BLE001 - one run that cannot be written is not all of them
        written = [(one, row) for one in batch for row in _insert_alone(one)]
    for recorder, row in written:
        queue.forget(recorder)
        if recorder.has_usage:
            _count_usage(recorder, row)


def _insert(batch: list[Recorder]) -> list[rows.Row]:
    """
    The rows of the runs, once they are in the database. Most are new; some were shown already
    while they went on.
    """
    boot_id = processes.boot_id()
    written = [rows.trace_row(recorder, boot_id) for recorder in batch]
    pairs = list(zip(batch, written, strict=True))
    new = [(recorder, row) for recorder, row in pairs if not recorder.is_written]
    shown = [(recorder, row) for recorder, row in pairs if recorder.is_written]
    with transaction.atomic():
        inserted = tables.insert(Trace, [row for _, row in new], on_conflict="skip")
        if inserted < len(new):
            _insert_under_new_ids(new)
        steps = [
            step
            for recorder, row in new
            if len(recorder.steps) > 1
            for step in rows.step_rows(recorder, recorder.steps.values(), trace=row["id"])
        ]
        tables.insert(Step, steps)
        tables.insert(Trace, [row for _, row in shown], on_conflict="replace")
        for recorder, _ in shown:
            _insert_changed(recorder)
    if otel.wanted():
        _mirror(pairs)
    return written


def _mirror(pairs: list[tuple[Recorder, rows.Row]]) -> None:
    for recorder, row in pairs:
        steps = rows.step_rows(recorder, recorder.steps.values(), trace=row["id"])
        otel.export(Trace(**row), [Step(**step) for step in steps])


def _insert_under_new_ids(pairs: list[tuple[Recorder, rows.Row]]) -> None:
    """
    Callers may choose a run's id, and choose one that a run before already had. That one
    stays as it is.
    """
    mine: set[UUID] = set()
    ours = Trace.objects.in_bulk([recorder.run_id for recorder, _ in pairs])
    again = []
    for recorder, row in pairs:
        there = ours.get(recorder.run_id)
        if there and there.started_at == row["started_at"] and recorder.run_id not in mine:
            mine.add(recorder.run_id)
            continue
        row["id"], row["reused_id"] = uuid4(), recorder.run_id
        again.append(row)
    tables.insert(Trace, again)


def _insert_alone(recorder: Recorder) -> list[rows.Row]:
    """
    The row of one run, whose user or deployment may be gone since; none where something in it
    cannot be written at all.
    """
    if not get_user_model()._default_manager.filter(pk=recorder.user_pk).exists():
        recorder.user_pk = None
    if not Deployment.objects.filter(pk=recorder.deployment_pk or 0).exists():
        recorder.deployment_pk = None
    try:
        return _insert([recorder])
    except (OperationalError, InterfaceError):
        raise
    except Exception:
        logger.exception("the trace of run %s could not be written", recorder.run_id)
        queue.drop(recorder)
        return []


def _insert_changed(recorder: Recorder) -> None:
    changed, recorder.changed = recorder.changed, []
    if recorder.outcome:
        # What the run left behind has no end of its own.
        changed = changed + _unfinished(recorder)
    once = list(dict.fromkeys(changed))
    step_rows = rows.step_rows(recorder, once, trace=recorder.run_id)
    tables.insert(Step, step_rows, on_conflict="replace")


def _unfinished(recorder: Recorder) -> list[StepRecord]:
    return [step for step in list(recorder.steps.values()) if step.state == "running"]


def _write_running() -> None:
    """
    Show the runs that have gone on for a while, and what is new of them.
    """
    old = time.monotonic() - SHOWN_AFTER
    for recorder in list(queue.followed.values()):
        if recorder.outcome or recorder.started > old or not recorder.changed:
            continue
        if not recorder.is_written and Trace.objects.filter(pk=recorder.run_id).exists():
            continue  # under an id that is another's; it is shown when it has ended
        with transaction.atomic():
            row = rows.trace_row(recorder, processes.boot_id())
            tables.insert(Trace, [row], on_conflict="replace")
            _insert_changed(recorder)
        recorder.is_written = True


def _write_drops() -> None:
    for hour, count in list(queue.dropped.items()):
        at = datetime.fromtimestamp(hour * queue.HOUR, UTC)
        row, _ = DroppedTraces.objects.get_or_create(hour=at)
        DroppedTraces.objects.filter(pk=row.pk).update(count=F("count") + count)
        queue.dropped[hour] -= count
        if not queue.dropped[hour]:
            del queue.dropped[hour]


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
    running = Trace.objects.filter(state="running", started_at__lt=before, boot_id__isnull=False)
    running.exclude(boot_id__in=alive).update(state="lost")


def _count_usage(recorder: Recorder, row: rows.Row) -> None:
    if recorder.outcome is None or recorder.deployment_pk is None:
        return
    canary = recorder.deployment.canary
    figures.count_usage(
        (
            recorder.deployment_pk,
            recorder.version.pk,
            canary.pk if canary else 0,
            recorder.arm,
            recorder.endpoint,
        ),
        recorder.outcome.ended_at,
        row["input_tokens"],
        row["output_tokens"],
        row["cost"] or Decimal(0),
    )
