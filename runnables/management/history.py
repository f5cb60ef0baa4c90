"""
manage.py langserve history prune | export | delete
"""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db.models import QuerySet

from runnables.conf import conf
from runnables.history import delete_sessions, exported, outdated
from runnables.management.arguments import confirm, duration, user_named
from runnables.management.progress import INTERRUPTED
from runnables.models import ChatSession


def add_arguments(commands: Any, command: BaseCommand) -> None:
    history = commands.add_parser("history", help="prune, export or delete chat histories")
    actions = history.add_subparsers(dest="history_action", required=True)

    def action(name: str, handler: Callable[..., None], text: str) -> ArgumentParser:
        sub: ArgumentParser = actions.add_parser(name, help=text)
        sub.set_defaults(handler=partial(handler, command))
        sub.add_argument(
            "--json", action="store_true", dest="as_json", help="one JSON object per line"
        )
        return sub

    old = action("prune", prune, "delete the sessions that nothing was added to for long")
    old.add_argument(
        "--older-than",
        type=duration,
        metavar="30d",
        help='hours (12h), days (30d) or weeks (4w); otherwise LANGSERVE["CHAT_HISTORY_DAYS"]',
    )
    export = action("export", export_sessions, "one JSON object per session and line")
    export.add_argument("--user", help="of this user")
    export.add_argument("--deployment", help="of this deployment")
    export.add_argument("--session", help="of this session id")
    delete = action("delete", delete_of_user, "delete all sessions of a user")
    delete.add_argument("--user", required=True)
    for sub in (old, delete):
        sub.add_argument("--dry-run", action="store_true", help="only say how many")
        sub.add_argument("--no-input", action="store_true", help="do not ask")


def prune(command: BaseCommand, *, older_than: timedelta | None, **options: Any) -> None:
    if older_than is None:
        if conf.chat_history_days is None:
            raise CommandError(
                'say how old: --older-than 30d, or LANGSERVE["CHAT_HISTORY_DAYS"] in the settings'
            )
        older_than = timedelta(days=conf.chat_history_days)
    _delete(command, outdated(older_than), **options)


def delete_of_user(command: BaseCommand, *, user: str, **options: Any) -> None:
    _delete(command, ChatSession.objects.filter(user=user_named(user)), **options)


def export_sessions(
    command: BaseCommand,
    *,
    user: str | None,
    deployment: str | None,
    session: str | None,
    **_: Any,
) -> None:
    wanted = {
        "user": user_named(user) if user else None,
        "deployment": deployment,
        "session_id": session,
    }
    given = {name: value for name, value in wanted.items() if value is not None}
    for line in exported(ChatSession.objects.filter(**given)):
        command.stdout.write(line)


def _delete(
    command: BaseCommand,
    sessions: QuerySet[ChatSession],
    *,
    dry_run: bool,
    no_input: bool,
    as_json: bool,
    **_: Any,
) -> None:
    total = sessions.count()
    if dry_run:
        _say(command, as_json, f"would delete {_sessions(total)}", would_delete=total)
        return
    if total and not no_input:
        confirm(command, f"Delete {_sessions(total)} and all that was said in them?")
    done = 0
    try:
        for count in delete_sessions(sessions):
            done += count
            _show_progress(command, done, total)
    except KeyboardInterrupt:
        # What is deleted is deleted; the batch that was under way is rolled back.
        command.stderr.write(f"stopped after {_sessions(done)}; run it again to go on")
        sys.exit(INTERRUPTED)
    _say(command, as_json, f"deleted {_sessions(done)}", deleted=done)


def _show_progress(command: BaseCommand, done: int, total: int) -> None:
    if command.stderr.isatty():
        end = "\n" if done >= total else ""
        command.stderr.write(f"\rDeleting  {done:,}/{total:,} sessions", ending=end)
        command.stderr.flush()


def _sessions(count: int) -> str:
    return f"{count} session{'' if count == 1 else 's'}"


def _say(command: BaseCommand, as_json: bool, text: str, **fields: Any) -> None:
    command.stdout.write(json.dumps(fields) if as_json else text)
