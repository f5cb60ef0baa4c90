"""
Every route of the site: those of Django's resolver, and the doors that ours takes itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from django.urls import get_resolver

from runnables.routing import ENDPOINTS

# Django's own model pages in the admin; they are its own to test.
FOREIGN = ("admin:auth_", "admin:jsi18n", "admin:view_on_site", "admin:autocomplete")


def all_routes() -> set[str]:
    """
    Names of all routes; the doors of a deployment are `door:invoke`, `door:invoke/c` for
    that with a config in its path, `door:ws` and `door:cancel`.
    """
    named = {name for name in _names(get_resolver().url_patterns) if not name.startswith(FOREIGN)}
    return {*(name for name in named if not _is_door(name)), *_doors()}


def _names(patterns: Iterable[Any], namespaces: tuple[str, ...] = ()) -> Iterator[str]:
    for pattern in patterns:
        if hasattr(pattern, "url_patterns"):
            inner = (*namespaces, pattern.namespace) if pattern.namespace else namespaces
            yield from _names(pattern.url_patterns, inner)
        elif pattern.name:
            yield ":".join((*namespaces, pattern.name))
        elif "admin" not in namespaces:
            # The admin's own catch-all and its old URLs have no name; nothing of ours may.
            yield f"unnamed {pattern.pattern}"


def _is_door(name: str) -> bool:
    app, _, endpoint = name.partition(":")
    return app == "langserve" and endpoint.removesuffix("_with_config") in {*ENDPOINTS, "cancel"}


def _doors() -> Iterator[str]:
    for endpoint, (_, has_variant) in ENDPOINTS.items():
        yield f"door:{endpoint}"
        if has_variant:
            yield f"door:{endpoint}/c"
    yield from ("door:ws", "door:cancel")
