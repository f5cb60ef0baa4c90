"""
Two changes of one version, made at the same time: put together where they do not collide.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from runnables.versions import Difference, differences, flat

# Lists of names: who locks one id and who opens another do not collide.
_SETS = ("locked", "config_keys", "extra_configurable", "open_configurable")

Way = tuple[str, ...]
Content = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Collision:
    """
    A place that both changed, each in a way of their own: what it says in either.
    """

    way: Way
    mine: Difference
    theirs: Difference

    @property
    def name(self) -> str:
        return ".".join(self.way)


def collisions(base: Content, mine: Content, theirs: Content) -> list[Collision]:
    """
    The places where my change and theirs are not the same.
    """
    return [
        Collision(way, _difference(base, mine, way), _difference(base, theirs, way))
        for way in _colliding(_spread(base), _spread(mine), _spread(theirs))
    ]


def merged(
    base: Content, mine: Content, theirs: Content, *, prefer_mine: Collection[str] = ()
) -> dict[str, Any]:
    """
    Theirs with my changes on top. Where both changed the same, theirs stays, save at the
    places that `prefer_mine` names.
    """
    old, my, their = _spread(base), _spread(mine), _spread(theirs)
    lost = {way for way in _colliding(old, my, their) if ".".join(way) not in prefer_mine}
    result = _as_sets(theirs)
    for way in _changed(old, my):
        if way in lost:
            continue
        if way in my:
            _put(result, way, deepcopy(my[way]))
        else:
            _drop(result, way)
    for name in _SETS:
        result[name] = list(result[name])
    return result


def _colliding(old: dict[Way, Any], my: dict[Way, Any], their: dict[Way, Any]) -> list[Way]:
    theirs = _changed(old, their)
    return [
        way
        for way in _changed(old, my)
        if any(_overlap(way, other) for other in theirs)
        and (my.get(way), way in my) != (their.get(way), way in their)
    ]


def _changed(old: dict[Way, Any], new: dict[Way, Any]) -> list[Way]:
    return [
        way
        for way in dict.fromkeys([*old, *new])
        if (old.get(way), way in old) != (new.get(way), way in new)
    ]


def _overlap(one: Way, other: Way) -> bool:
    shorter = min(len(one), len(other))
    return one[:shorter] == other[:shorter]


def _as_sets(content: Content) -> dict[str, Any]:
    found = deepcopy(dict(content))
    return {**found, **{name: dict.fromkeys(found[name], True) for name in _SETS}}


def _spread(content: Content) -> dict[Way, Any]:
    return flat(_as_sets(content))


def _difference(before: Content, after: Content, way: Way) -> Difference:
    """
    What became of this place, in words that hide its secret.
    """
    old, new = _alone(_spread(before), way), _alone(_spread(after), way)
    found = differences(old, new)
    return found[0] if found else Difference(".".join(way), None, None)


def _alone(spread: dict[Way, Any], way: Way) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for one, value in spread.items():
        if one == way:
            _put(found, one, value)
    return found


def _put(target: dict[str, Any], way: Way, value: Any) -> None:
    for name in way[:-1]:
        if not isinstance(target.get(name), dict):
            target[name] = {}
        target = target[name]
    target[way[-1]] = value


def _drop(target: dict[str, Any], way: Way) -> None:
    for name in way[:-1]:
        below = target.get(name)
        if not isinstance(below, dict):
            return
        target = below
    target.pop(way[-1], None)
