"""
Copies of what people say, at LangSmith. This module alone speaks to it.

What is to be copied is noted in the transaction that records it, and sent by a thread of its
own once that is committed: again and again while LangSmith cannot be reached, and never in
the way of whoever said it.
"""

from __future__ import annotations

import logging
import os
import threading
import warnings
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

from django.db import connections, transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from feedback.models import Feedback, LangSmithCopy

if TYPE_CHECKING:
    from langsmith import Client

logger = logging.getLogger(__name__)

# As langsmith itself reads them: the first that is set counts.
SWITCHES = (
    "LANGSMITH_TRACING_V2",
    "LANGCHAIN_TRACING_V2",
    "LANGSMITH_TRACING",
    "LANGCHAIN_TRACING",
)
KEYS = ("LANGSMITH_API_KEY", "LANGCHAIN_API_KEY")
TIMEOUT_MS = 10_000
# Longer than a copy takes at worst: then somebody else may try it.
CLAIM = timedelta(minutes=2)
FIRST_RETRY_SECONDS = 2.0
MOST_RETRY_SECONDS = 3600.0
MOST_TRIES = 24
KEPT_DAYS = 90
BATCH = 100


def is_on() -> bool:
    return _first(SWITCHES) == "true" and bool(_first(KEYS))


def note(feedback: Feedback) -> None:
    """
    Have it copied once this transaction is committed.
    """
    if not is_on():
        return
    source_info = {"from_langserve": True, **feedback.source_info}
    if feedback.reasons:
        source_info["reasons"] = feedback.reasons
    content = {
        "run_id": str(feedback.run_id),
        "key": feedback.key,
        "score": feedback.score,
        "value": feedback.value,
        "comment": feedback.comment or None,
        "correction": feedback.correction,
        "source_info": source_info,
    }
    LangSmithCopy.objects.bulk_create(
        [LangSmithCopy(feedback_id=feedback.pk, content=content)],
        update_conflicts=True,
        unique_fields=["feedback_id"],
        update_fields=["content", "mark", "is_due", "tries", "next_at", "error"],
    )
    transaction.on_commit(wake)


def note_removed(feedback_ids: Sequence[UUID]) -> None:
    """
    Have the copies deleted once this transaction is committed.
    """
    changed = LangSmithCopy.objects.filter(pk__in=feedback_ids).update(
        content=None, mark=uuid4(), is_due=True, tries=0, next_at=timezone.now(), error=""
    )
    if changed and is_on():
        transaction.on_commit(wake)


_lock = threading.Lock()
_thread: threading.Thread | None = None
_woken = threading.Event()
_stopping = threading.Event()


def wake() -> None:
    """
    Have a thread of this process send what is due; it ends once nothing is.
    """
    global _thread
    with _lock:
        _woken.set()
        if _thread is None and not _stopping.is_set():
            _thread = threading.Thread(target=_follow, name="langserve-langsmith", daemon=True)
            _thread.start()


def stop() -> None:
    """
    End the thread; what is due is sent by the next process.
    """
    thread = _thread
    if thread is None:
        return
    _stopping.set()
    _woken.set()
    thread.join(TIMEOUT_MS / 1000)
    _stopping.clear()


def resume() -> None:
    """
    Send what an earlier process has left.
    """
    if is_on() and LangSmithCopy.objects.filter(is_due=True).exists():
        wake()


def tidy() -> None:
    """
    Forget copies that nobody has changed for long, and send what waits.
    """
    old = timezone.now() - timedelta(days=KEPT_DAYS)
    LangSmithCopy.objects.filter(is_due=False, next_at__lt=old).delete()
    resume()


def deliver() -> None:
    """
    Send what is due now.
    """
    if not is_on():
        return
    remote: _Remote | None = None
    for copy in _due()[:BATCH]:
        if _stopping.is_set():
            return
        # Another process may have it by now.
        if _due().filter(pk=copy.pk).update(claimed_until=timezone.now() + CLAIM):
            remote = remote or _Remote()
            _send(remote, LangSmithCopy.objects.get(pk=copy.pk))


def _due() -> QuerySet[LangSmithCopy]:
    now = timezone.now()
    unclaimed = Q(claimed_until=None) | Q(claimed_until__lt=now)
    return LangSmithCopy.objects.filter(unclaimed, is_due=True, next_at__lte=now)


def _send(remote: _Remote, copy: LangSmithCopy) -> None:
    mine = LangSmithCopy.objects.filter(pk=copy.pk)
    try:
        remote.send(copy)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is tried again
        _note_failure(mine, copy, error)
        return
    # What was said meanwhile has another mark, and is due still.
    if copy.content is None:
        mine.filter(mark=copy.mark).delete()
    mine.filter(mark=copy.mark).update(is_due=False, error="")
    mine.update(is_sent=copy.content is not None, claimed_until=None)


def _note_failure(mine: QuerySet[LangSmithCopy], copy: LangSmithCopy, error: Exception) -> None:
    wait = min(FIRST_RETRY_SECONDS * 2**copy.tries, MOST_RETRY_SECONDS)
    given_up = copy.tries + 1 >= MOST_TRIES
    # Of the error its class alone: its text may hold what was sent.
    logger.warning(
        "feedback %s could not be copied to LangSmith (%s); %s",
        copy.pk,
        type(error).__name__,
        "given up" if given_up else f"again in {wait:.0f} s",
    )
    mine.update(claimed_until=None)
    mine.filter(mark=copy.mark).update(
        tries=copy.tries + 1,
        next_at=timezone.now() + timedelta(seconds=wait),
        is_due=not given_up,
        error=type(error).__name__,
    )


class _Remote:
    """
    LangSmith, through its own client. Imported late: most sites never need it.
    """

    def __init__(self) -> None:
        from langsmith import Client  # noqa: PLC0415
        from urllib3.util import Retry  # noqa: PLC0415

        # Retries are ours, and so is the thread; `info` spares a question to the server.
        self._client: Client = Client(
            timeout_ms=TIMEOUT_MS, retry_config=Retry(0), auto_batch_tracing=False, info={}
        )
        self._project: Any = None

    def send(self, copy: LangSmithCopy) -> None:
        from langsmith.utils import LangSmithConflictError, LangSmithNotFoundError  # noqa: PLC0415

        if copy.content is None:
            # Somebody may have deleted it there.
            with suppress(LangSmithNotFoundError):
                if copy.is_sent:
                    self._client.delete_feedback(copy.pk)
        elif copy.is_sent:
            self._update(copy)
        else:
            try:
                self._create(copy)
            except LangSmithConflictError:
                # It had arrived, and the answer had not.
                self._update(copy)

    def _create(self, copy: LangSmithCopy) -> None:
        content: Any = copy.content
        with warnings.catch_warnings():
            # Without the project's id, which older servers do not need.
            warnings.simplefilter("ignore")
            self._client.create_feedback(
                **content,
                feedback_id=copy.pk,
                session_id=self._session_id(),
                stop_after_attempt=1,
            )

    def _update(self, copy: LangSmithCopy) -> None:
        content: Any = copy.content
        names = ("score", "value", "comment", "correction")
        self._client.update_feedback(copy.pk, **{name: content[name] for name in names})

    def _session_id(self) -> Any:
        from langsmith.utils import LangSmithNotFoundError, get_tracer_project  # noqa: PLC0415

        if self._project is None:
            with suppress(LangSmithNotFoundError):
                self._project = self._client.read_project(project_name=get_tracer_project()).id
        return self._project


def _follow() -> None:
    global _thread
    while True:
        try:
            _woken.clear()
            deliver()
            wait = _seconds_to_next()
        except Exception:
            # The database may be away for a while.
            logger.exception("copies for LangSmith could not be looked for")
            wait = MOST_RETRY_SECONDS / 60
        connections.close_all()
        with _lock:
            is_done = _stopping.is_set() or (wait is None and not _woken.is_set())
            if is_done:
                _thread = None
                return
        _woken.wait(wait)


def _seconds_to_next() -> float | None:
    """
    Until something is due; None if nothing will be.
    """
    if not is_on():
        return None
    rows = LangSmithCopy.objects.filter(is_due=True).order_by("next_at")
    first = rows.values_list("next_at", "claimed_until").first()
    if first is None:
        return None
    at = max(one for one in first if one is not None)
    seconds: float = (at - timezone.now()).total_seconds()
    return max(0.0, seconds)


def _first(names: Sequence[str]) -> str:
    values = (os.environ.get(name, "").strip() for name in names)
    return next((value.strip("\"'") for value in values if value), "")
