"""
Changes of a configuration between its form and its confirmation. They wait in the session,
on the server: a secret that was just entered is never sent back to a browser.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest

from runnables.models import Deployment

_KEY = "langserve_drafts"
KEPT = 8


@dataclass(frozen=True, slots=True)
class Draft:
    """
    A whole content, checked, made from version `based_on`.
    """

    key: str
    based_on: int
    content: dict[str, Any]


def keep(
    request: HttpRequest, deployment: Deployment, content: Mapping[str, Any], *, based_on: int
) -> Draft:
    draft = Draft(secrets.token_urlsafe(16), based_on, dict(content))
    entry = {"deployment": deployment.pk, "based_on": based_on, "content": draft.content}
    waiting = [*request.session.get(_KEY, {}).items(), (draft.key, entry)]
    request.session[_KEY] = dict(waiting[-KEPT:])
    return draft


def find(request: HttpRequest, deployment: Deployment, key: str) -> Draft | None:
    entry = request.session.get(_KEY, {}).get(key)
    if entry is None or entry["deployment"] != deployment.pk:
        return None
    return Draft(key, entry["based_on"], entry["content"])


def drop(request: HttpRequest, draft: Draft) -> None:
    waiting = dict(request.session.get(_KEY, {}))
    waiting.pop(draft.key, None)
    request.session[_KEY] = waiting
