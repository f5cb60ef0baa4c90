"""
Every change of what people say: one function each, one transaction.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from feedback import langsmith
from feedback.answers import Answer
from feedback.exceptions import UnknownFeedback
from feedback.keys import check_answer
from feedback.models import Feedback
from runnables.exceptions import UnknownRun
from runnables.hooks import known_run
from runnables.identity import principal_of
from runnables.permissions import Permissions

BATCH = 500
# Rights to look at others' runs, and so to say something about them.
REVIEWERS = frozenset(("see_traces", "review"))
_CHANGED = ("score", "value", "comment", "correction", "reasons", "source_info", "modified_at")


@dataclass(frozen=True, slots=True)
class Author:
    """
    Who says it: see `Feedback.author`.
    """

    name: str
    user: Any = None


BY_TOKEN = Author("token")
ANONYMOUS = Author("anonymous")


def author_of(user: Any) -> Author:
    return Author(principal_of(user), user) if user.is_authenticated else ANONYMOUS


def trace_of(run_id: UUID, *, deployment: int | None, principal: str, may: Permissions) -> UUID:
    """
    The id of the whole run that this is, or is a step of. Raises UnknownRun where it is known
    to be another deployment's, or somebody else's whose runs this caller may not look at.
    A run that nobody has recorded is taken at the caller's word.
    """
    run = known_run(run_id)
    if run is None:
        _refuse_anothers(run_id, deployment)
        return run_id
    if run.deployment != deployment:
        raise UnknownRun(UNKNOWN)
    if run.principal and run.principal != principal and not REVIEWERS & may:
        raise UnknownRun(UNKNOWN)
    return run.run_id


UNKNOWN = "There is no such run here."


def record_feedback(
    *,
    run_id: UUID,
    trace_id: UUID,
    deployment: int | None,
    key: str,
    author: Author,
    answer: Answer,
    source_info: Mapping[str, Any],
) -> Feedback:
    """
    Say something about a run, or something else than before; raises InvalidInput.

    One row per run, key and author, however many say it at once. An empty answer takes back
    what was said.
    """
    check_answer(key, answer, deployment)
    now = timezone.now()
    feedback = Feedback(
        run_id=run_id,
        trace_id=trace_id,
        deployment_id=deployment,
        key=key,
        author=author.name,
        user=author.user,
        score=answer.score,
        value=answer.value,
        comment=answer.comment,
        correction=answer.correction,
        reasons=list(answer.reasons),
        source_info=dict(source_info),
        created_at=now,
        modified_at=now,
    )
    same = Feedback.objects.filter(run_id=run_id, key=key, author=author.name)
    with transaction.atomic():
        if answer.is_empty:
            _remove(list(same))
            return feedback
        Feedback.objects.bulk_create(
            [feedback],
            update_conflicts=True,
            unique_fields=["run_id", "key", "author"],
            update_fields=_CHANGED,
        )
        kept = same.get()
        langsmith.note(kept)
    return kept


def remove_feedback(*, feedback_id: UUID, deployment: int | None, author: Author) -> None:
    """
    Take back what this author said; raises UnknownFeedback.
    """
    with transaction.atomic():
        found = list(
            Feedback.objects.filter(pk=feedback_id, deployment=deployment, author=author.name)
        )
        if not found:
            raise UnknownFeedback
        _remove(found)


def remove_all(said: QuerySet[Feedback]) -> int:
    """
    Delete all of it, whoever said it; how many.
    """
    count = 0
    while found := list(said.only("pk")[:BATCH]):
        with transaction.atomic():
            _remove(found)
        count += len(found)
    return count


def _remove(found: Sequence[Feedback]) -> None:
    keys = [one.pk for one in found]
    Feedback.objects.filter(pk__in=keys).delete()
    langsmith.note_removed(keys)


def _refuse_anothers(run_id: UUID, deployment: int | None) -> None:
    """
    What was said about a run tells whose it is, where nothing else does.
    """
    said = Feedback.objects.filter(run_id=run_id, deployment__isnull=False)
    if said.exclude(deployment=deployment).exists():
        raise UnknownRun(UNKNOWN)
