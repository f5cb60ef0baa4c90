"""
What came out of a queue, for one viewer: averages, agreement, who did how much, and where
reviewers differ.

A reviewer sees nothing here of the runs that they may still be asked to review.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from django.db.models import Q

from feedback.models import Feedback, FeedbackKey
from runnables.identity import principal_of
from traces.models import Trace
from traces.review.agreement import Agreement, agreement
from traces.review.forms import options
from traces.review.models import Review, ReviewItem, ReviewQueue
from traces.review.services import reviewable
from traces.viewers import Viewer

MOST_LISTED = 100
NUMBERS = (FeedbackKey.Kind.THUMBS, FeedbackKey.Kind.SCALE)


@dataclass(frozen=True, slots=True)
class Said:
    """
    One reviewer about one run; `by_key` has what they said under each key.
    """

    review: Review
    by_key: Mapping[str, Feedback]

    @property
    def trace(self) -> Trace:
        return self.review.item.trace

    @property
    def reviewer(self) -> Any:
        return self.review.reviewer


@dataclass(frozen=True, slots=True)
class Share:
    """
    How often an answer was given.
    """

    label: str
    count: int
    percent: int


@dataclass(frozen=True, slots=True)
class KeyResult:
    """
    Of one key: `number` answers, and of scores their average.
    """

    key: FeedbackKey
    number: int
    average: float | None
    shares: list[Share]
    agreement: Agreement | None

    @property
    def is_thumbs(self) -> bool:
        return self.key.kind == FeedbackKey.Kind.THUMBS

    @property
    def percent_good(self) -> float | None:
        return None if self.average is None else 100 * self.average


@dataclass(frozen=True, slots=True)
class ReviewerResult:
    name: str
    done: int
    skipped: int


@dataclass(frozen=True, slots=True)
class Disagreement:
    """
    A run that reviewers rated differently, with (key, [(reviewer, rating), …]).
    """

    trace: Trace
    may_open: bool
    ratings: list[tuple[FeedbackKey, list[tuple[str, str]]]]


class Results:
    """
    A queue's results as this viewer may see them; four queries, once.
    """

    def __init__(self, queue: ReviewQueue, viewer: Viewer) -> None:
        self.queue = queue
        self.viewer = viewer

    @cached_property
    def keys(self) -> list[FeedbackKey]:
        return list(self.queue.keys.all())

    @cached_property
    def said(self) -> list[Said]:
        reviews = (
            Review.objects.filter(item__in=self._visible, state=Review.State.DONE)
            .select_related("item__trace", "reviewer")
            .defer(*(f"item__trace__{name}" for name in PAYLOADS))
            .order_by("item__position", "item", "pk")
        )
        by_author: dict[tuple[Any, str], dict[str, Feedback]] = defaultdict(dict)
        for row in self._feedback:
            by_author[row.run_id, row.author][row.key] = row
        return [
            Said(review, by_author[review.item.trace_id, principal_of(review.reviewer)])
            for review in reviews
        ]

    @cached_property
    def runs(self) -> int:
        """
        How many runs they are of.
        """
        return len({said.review.item_id for said in self.said})

    @cached_property
    def by_key(self) -> list[KeyResult]:
        return [self._of_key(key) for key in self.keys]

    @cached_property
    def by_reviewer(self) -> list[ReviewerResult]:
        done = Counter(str(said.reviewer) for said in self.said)
        skipped = Counter(
            str(review.reviewer)
            for review in Review.objects.filter(
                item__in=self._visible, state=Review.State.SKIPPED
            ).select_related("reviewer")
        )
        names = sorted({*done, *skipped}, key=lambda name: (-done[name], name))
        return [ReviewerResult(name, done[name], skipped[name]) for name in names]

    @cached_property
    def disagreements(self) -> list[Disagreement]:
        found = []
        for together in self._by_item().values():
            ratings = [
                (key, rated)
                for key in self.keys
                if key.kind != FeedbackKey.Kind.TEXT and _differ(rated := _rated(key, together))
            ]
            if ratings:
                trace = together[0].trace
                found.append(Disagreement(trace, may_open(self.viewer, trace), ratings))
        return found

    @cached_property
    def _visible(self) -> Any:
        items = reviewable(self.queue, self.viewer).order_by()
        if self.viewer.user.is_superuser:
            return items.values("pk")
        mine = Review.objects.filter(reviewer=self.viewer.user.pk, state=Review.State.DONE)
        complete = ReviewItem.objects.filter(queue=self.queue).complete()
        seen = Q(pk__in=mine.values("item")) | Q(pk__in=complete.values("pk"))
        return items.filter(seen).values("pk")

    @cached_property
    def _feedback(self) -> list[Feedback]:
        return list(
            Feedback.objects.filter(
                run_id__in=ReviewItem.objects.filter(pk__in=self._visible).values("trace"),
                key__in=[key.key for key in self.keys],
            )
        )

    def _by_item(self) -> dict[int, list[Said]]:
        found: dict[int, list[Said]] = defaultdict(list)
        for said in self.said:
            found[said.review.item_id].append(said)
        return found

    def _of_key(self, key: FeedbackKey) -> KeyResult:
        rows = [said.by_key[key.key] for said in self.said if key.key in said.by_key]
        given = [rating for row in rows if (rating := rating_of(row)) is not None]
        is_number = key.kind in NUMBERS
        numbers = [row.score for row in rows if row.score is not None] if is_number else []
        return KeyResult(
            key=key,
            number=len(given),
            average=sum(numbers) / len(numbers) if numbers else None,
            shares=_shares(key, given),
            agreement=None if key.kind == FeedbackKey.Kind.TEXT else self._agreement(key),
        )

    def _agreement(self, key: FeedbackKey) -> Agreement:
        ratings = []
        for together in self._by_item().values():
            one: dict[Hashable, Any] = {}
            for said in together:
                row = said.by_key.get(key.key)
                if row is not None and (rating := rating_of(row)) is not None:
                    one[said.review.reviewer_id] = rating
            ratings.append(one)
        return agreement(ratings, is_number=key.kind == FeedbackKey.Kind.SCALE)


# Not read for results, and large.
PAYLOADS = ("input", "output", "error", "metadata", "config")


def may_open(viewer: Viewer, trace: Trace) -> bool:
    """
    Whether this viewer may open the trace itself, which takes more than the right to review.
    """
    return viewer.made(trace) or viewer.may("see_traces", trace)


def rating_of(row: Feedback) -> Any:
    """
    What was answered: a number or a word; None for a comment alone.
    """
    if row.score is not None:
        return row.score
    return row.value if isinstance(row.value, str | int | float) else None


def in_words(key: FeedbackKey, rating: Any) -> str:
    """
    An answer as it was offered.
    """
    text = f"{rating:g}" if isinstance(rating, float) else str(rating)
    return dict(options(key)).get(text, text)


def _rated(key: FeedbackKey, together: list[Said]) -> list[tuple[str, str]]:
    return [
        (str(said.reviewer), in_words(key, rating))
        for said in together
        if (row := said.by_key.get(key.key)) and (rating := rating_of(row)) is not None
    ]


def _differ(rated: list[tuple[str, str]]) -> bool:
    return len({rating for _, rating in rated}) > 1


def _shares(key: FeedbackKey, given: list[Any]) -> list[Share]:
    if key.kind == FeedbackKey.Kind.TEXT or not given:
        return []
    counts = Counter(in_words(key, rating) for rating in given)
    offered = [label for _, label in options(key)]
    labels = [*offered, *sorted(set(counts) - set(offered))]
    return [
        Share(str(label), counts[label], round(100 * counts[label] / len(given)))
        for label in labels
    ]
