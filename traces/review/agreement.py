"""
How much reviewers agree: plain arithmetic on lists of ratings, an item's each.

Krippendorff's alpha after his “Computing Krippendorff's Alpha-Reliability” (2011), by the
coincidence matrix; Cohen's kappa after Cohen (1960).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

# Below that a coefficient says more of chance than of the reviewers.
FEWEST_ITEMS = 10

Rating = Any
Difference = Callable[[Rating, Rating], float]


@dataclass(frozen=True, slots=True)
class Agreement:
    """
    `items` have two ratings or more. `percent` is the share of equal pairs in a hundred.
    `alpha` is None where everybody always said the same; `kappa` also where there are not
    exactly two reviewers.
    """

    items: int
    percent: float | None = None
    alpha: float | None = None
    kappa: float | None = None

    @property
    def is_too_few(self) -> bool:
        return self.items < FEWEST_ITEMS


def agreement(ratings: Iterable[Mapping[Hashable, Rating]], *, is_number: bool) -> Agreement:
    """
    Of ratings by reviewer, one mapping for each item. Numbers count by their distance,
    other ratings are equal or not.
    """
    compared = [one for one in ratings if len(one) > 1]
    units = [list(one.values()) for one in compared]
    return Agreement(
        items=len(units),
        percent=percent(units),
        alpha=alpha(units, squared if is_number else unequal),
        kappa=kappa(compared),
    )


def percent(units: Sequence[Sequence[Rating]]) -> float | None:
    pairs = [a == b for unit in units for a, b in combinations(unit, 2)]
    return 100 * sum(pairs) / len(pairs) if pairs else None


def unequal(a: Rating, b: Rating) -> float:
    return float(a != b)


def squared(a: Rating, b: Rating) -> float:
    return float(a - b) ** 2


def alpha(units: Sequence[Sequence[Rating]], difference: Difference) -> float | None:
    """
    1 for agreement, 0 for what chance would do, less for worse. Units need two ratings.
    """
    together: dict[tuple[Rating, Rating], float] = defaultdict(float)
    for unit in units:
        counts = Counter(unit)
        for a, number in counts.items():
            for b, others in counts.items():
                pairs = number * (others - (a == b))
                together[a, b] += pairs / (len(unit) - 1)
    totals: dict[Rating, float] = defaultdict(float)
    for (a, _), pairs in together.items():
        totals[a] += pairs
    size = sum(totals.values())
    expected = sum(
        totals[a] * totals[b] * difference(a, b) for a in totals for b in totals if a != b
    )
    if not expected:
        return None
    observed: float = sum(pairs * difference(a, b) for (a, b), pairs in together.items())
    return 1 - (size - 1) * observed / expected


def kappa(ratings: Sequence[Mapping[Hashable, Rating]]) -> float | None:
    """
    Of two reviewers, on the items that both rated.
    """
    people = sorted({person for one in ratings for person in one}, key=str)
    if len(people) != 2 or not ratings:
        return None
    first, second = ([one[person] for one in ratings] for person in people)
    of_first, of_second = Counter(first), Counter(second)
    size = len(ratings)
    by_chance: float = sum(of_first[value] * of_second[value] for value in of_first) / size**2
    if by_chance == 1:
        return None
    observed: float = sum(a == b for a, b in zip(first, second, strict=True)) / size
    return (observed - by_chance) / (1 - by_chance)
