"""
Secrets in a version's content, hidden from whoever edits it: what stands under a name that
looks like a credential becomes a mark, and the mark sent back means the value that is stored.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from runnables.config import looks_like_credential

MARK = {"$secret": "unchanged"}
Content = dict[str, Any]


class NothingToKeep(Exception):
    """
    The mark stands where no secret is stored; `where` is the way to it.
    """

    def __init__(self, where: tuple[str, ...]) -> None:
        super().__init__(".".join(where))
        self.where = where


def masked(content: Mapping[str, Any]) -> Content:
    """
    The content as it may be shown to those who edit it.
    """
    return {**content, "defaults": _masked(content["defaults"])}


def unmasked(content: Mapping[str, Any], stored: Mapping[str, Any]) -> Content:
    """
    The content with the stored secrets in place of their marks; raises NothingToKeep. A
    secret is kept in its place and never moves to another.
    """
    defaults = _unmasked(content["defaults"], stored.get("defaults"), ("defaults",))
    return {**content, "defaults": defaults}


def holds_secret(value: Any) -> bool:
    if isinstance(value, Mapping):
        return any(_is_secret(name, one) or holds_secret(one) for name, one in value.items())
    return isinstance(value, list) and any(map(holds_secret, value))


def _is_secret(name: Any, value: Any) -> bool:
    return value is not None and looks_like_credential(str(name))


def _masked(value: Any) -> Any:
    if not isinstance(value, Mapping):
        return value
    return {
        name: dict(MARK) if _is_whole_secret(name, one) else _masked(one)
        for name, one in value.items()
    }


def _is_whole_secret(name: Any, value: Any) -> bool:
    # Entries of a list have no name of their own: reordered, their secrets would change places.
    return _is_secret(name, value) or (isinstance(value, list) and holds_secret(value))


def _unmasked(value: Any, stored: Any, where: tuple[str, ...]) -> Any:
    if isinstance(value, list):
        return [_unmasked(one, None, (*where, str(number))) for number, one in enumerate(value)]
    if not isinstance(value, Mapping):
        return value
    if value == MARK:
        raise NothingToKeep(where)
    before = stored if isinstance(stored, Mapping) else {}
    found = {}
    for name, one in value.items():
        if one == MARK and name in before and _is_whole_secret(name, before[name]):
            found[name] = before[name]
        else:
            found[name] = _unmasked(one, before.get(name), (*where, name))
    return found
