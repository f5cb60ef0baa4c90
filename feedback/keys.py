"""
What staff have defined to be asked, and whether an answer fits it.
"""

from __future__ import annotations

from collections.abc import Callable

from django.db.models import F, Q, QuerySet

from feedback.answers import Answer, wrong
from feedback.models import FeedbackKey
from runnables.conf import conf
from runnables.exceptions import InvalidInput

DEFAULT_KEY = "correctness"


def keys_of(deployment: int | None) -> QuerySet[FeedbackKey]:
    """
    The keys that are asked about a deployment's runs.
    """
    mine = Q(deployments=deployment) | Q(deployments=None)
    return FeedbackKey.objects.filter(mine).distinct()


def asked_at(path: str, key: str = "") -> FeedbackKey:
    """
    The key of this name at the deployment of this path; without a name the first of thumbs,
    else LangServe's own. One query.
    """
    mine = Q(deployments__path=path) | Q(deployments=None)
    named = Q(key=key) if key else Q(kind=FeedbackKey.Kind.THUMBS)
    # Theirs before everybody's: one that names the deployment was made for it.
    own_first = F("deployments").asc(nulls_last=True)
    found = FeedbackKey.objects.filter(mine, named).order_by(own_first, "key").first()
    return found or FeedbackKey(key=key or DEFAULT_KEY)


def check_answer(key: str, answer: Answer, deployment: int | None) -> None:
    """
    Raise InvalidInput unless the answer fits the key. A key that nobody has defined takes
    anything, as LangServe does, unless LANGSERVE["FEEDBACK_KEYS_ONLY"] is set.
    """
    defined = keys_of(deployment).filter(key=key).first()
    if defined:
        _check(defined, answer)
    elif conf.feedback_keys_only:
        raise wrong("key", "no such key is asked here")


def _check(key: FeedbackKey, answer: Answer) -> None:
    if error := _KINDS[FeedbackKey.Kind(key.kind)](key, answer):
        raise error
    if answer.comment and not key.takes_comment:
        raise wrong("comment", f"{key.key} takes no comment")
    if answer.correction is not None and not key.takes_correction:
        raise wrong("correction", f"{key.key} takes no correction")
    if unknown := [one for one in answer.reasons if one not in key.reasons]:
        raise wrong("reasons", f"{key.key} does not have the reason {unknown[0]!r}")


def _thumbs(key: FeedbackKey, answer: Answer) -> InvalidInput | None:
    if answer.score not in (None, 0, 1):
        return wrong("score", f"{key.key} is 0 or 1")
    return _no_value(key, answer)


def _scale(key: FeedbackKey, answer: Answer) -> InvalidInput | None:
    if answer.score is not None and not key.lowest <= answer.score <= key.highest:
        return wrong("score", f"{key.key} goes from {key.lowest:g} to {key.highest:g}")
    return _no_value(key, answer)


def _category(key: FeedbackKey, answer: Answer) -> InvalidInput | None:
    if answer.value is not None and answer.value not in key.categories:
        return wrong("value", f"{key.key} is one of {', '.join(map(str, key.categories))}")
    return _no_score(key, answer)


def _text(key: FeedbackKey, answer: Answer) -> InvalidInput | None:
    if not isinstance(answer.value, str | None):
        return wrong("value", f"{key.key} is a text")
    return _no_score(key, answer)


def _no_value(key: FeedbackKey, answer: Answer) -> InvalidInput | None:
    return wrong("value", f"{key.key} has a score, no value") if answer.value is not None else None


def _no_score(key: FeedbackKey, answer: Answer) -> InvalidInput | None:
    return wrong("score", f"{key.key} has a value, no score") if answer.score is not None else None


_KINDS: dict[FeedbackKey.Kind, Callable[[FeedbackKey, Answer], InvalidInput | None]] = {
    FeedbackKey.Kind.THUMBS: _thumbs,
    FeedbackKey.Kind.SCALE: _scale,
    FeedbackKey.Kind.CATEGORY: _category,
    FeedbackKey.Kind.TEXT: _text,
}
