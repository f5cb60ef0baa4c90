"""
The one thread of a process that looks after what other processes and the clock do:
changed deployments, cancel requests, callers who may not go on, figures to be written.
"""

from __future__ import annotations

import logging
import threading
import time
from datetime import timedelta

from django.db import connection
from django.utils import timezone

from runnables import figures, history, hooks, processes, running, snapshot, trials
from runnables.conf import conf
from runnables.models import CancelRequest, QuotaUse

logger = logging.getLogger(__name__)

CANCEL_REQUEST_SECONDS = 30.0
TIDY_SECONDS = 3600.0
QUOTA_DAYS = 2

_thread: threading.Thread | None = None
_stopping = threading.Event()


def watch() -> None:
    """
    Start the thread; once per process.
    """
    global _thread
    if conf.poll_seconds and (_thread is None or not _thread.is_alive()):
        _thread = threading.Thread(target=_follow, name="langserve-watch", daemon=True)
        _thread.start()


def stop() -> None:
    """
    End the thread, and wait until it has ended.
    """
    global _thread
    if _thread is not None:
        _stopping.set()
        _thread.join()
        _stopping.clear()
        _thread = None


class _Every:
    """
    True once in so many seconds; never with 0.
    """

    def __init__(self, seconds: float, *, at_once: bool = False) -> None:
        self._seconds = seconds
        self._next = time.monotonic() + (0 if at_once else seconds)

    def __bool__(self) -> bool:
        now = time.monotonic()
        if not self._seconds or now < self._next:
            return False
        self._next = now + self._seconds
        return True


def _follow() -> None:
    count, check, tidy_up = (
        _Every(conf.figures_seconds, at_once=True),
        _Every(conf.access_check_seconds),
        _Every(TIDY_SECONDS),
    )
    while conf.poll_seconds and not _stopping.wait(conf.poll_seconds):
        try:
            if snapshot.is_outdated():
                snapshot.refresh()
            _obey_cancel_requests()
            if check:
                ask_callers_again()
            if count:
                write_figures()
            if tidy_up:
                tidy()
        except Exception:
            # The database may be away for a while; the last snapshot serves on.
            logger.exception("could not look for changed deployments")
            connection.close()
            _stopping.wait(2)
    connection.close()


def write_figures() -> None:
    """
    Write what this process has counted, judge the trials it concerns, and say we are alive.
    """
    trials.judge(figures.flush())
    processes.report()


def ask_callers_again() -> None:
    """
    Ask whether those whose runs have gone on for a while still may.
    """
    since = time.monotonic() - conf.access_check_seconds / 2
    for call in running.all_calls():
        if call.started_at < since:
            call.ask_again()


def tidy() -> None:
    figures.prune()
    old = timezone.localdate() - timedelta(days=QUOTA_DAYS)
    QuotaUse.objects.filter(day__lt=old).delete()
    processes.prune()
    if conf.chat_history_days is not None:
        history.prune(timedelta(days=conf.chat_history_days))
    for hook in hooks.tidied:
        hook()


def _obey_cancel_requests() -> None:
    wanted = running.all_run_ids()
    if not wanted:
        return
    since = timezone.now() - timedelta(seconds=CANCEL_REQUEST_SECONDS)
    for request in CancelRequest.objects.filter(done=False, created_at__gt=since)[:1000]:
        call = running.find(request.run_id)
        if call is None or call.principal != request.principal:
            continue
        call.cancel()
        CancelRequest.objects.filter(pk=request.pk).update(done=True)
