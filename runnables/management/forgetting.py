"""
manage.py langserve forget-user
"""

from __future__ import annotations

import json
from argparse import ArgumentParser
from collections.abc import Callable
from functools import partial
from typing import Any

from django.core.management.base import BaseCommand

from runnables import audit
from runnables.forgetting import forget, in_words, kept_of
from runnables.management.arguments import confirm, user_named


def add_arguments(
    add: Callable[[str, Callable[..., None], str], ArgumentParser], command: BaseCommand
) -> None:
    sub = add("forget-user", partial(forget_user, command), "delete what is kept of a user")
    sub.add_argument("username")
    sub.add_argument("--dry-run", action="store_true", help="only say how much")
    sub.add_argument("--no-input", action="store_true", help="do not ask")


def forget_user(
    command: BaseCommand, *, username: str, dry_run: bool, no_input: bool, as_json: bool, **_: Any
) -> None:
    user = user_named(username)
    kept = kept_of(user)
    if dry_run:
        _say(command, as_json, "would delete", kept)
        return
    if any(kept.values()) and not no_input:
        confirm(command, f"Delete {in_words(kept)} of {user}?")
    _say(command, as_json, "deleted", forget(user, by=audit.COMMAND_LINE))


def _say(command: BaseCommand, as_json: bool, verb: str, counts: dict[str, int]) -> None:
    fields = {verb.replace(" ", "_"): counts}
    command.stdout.write(json.dumps(fields) if as_json else f"{verb} {in_words(counts)}")
