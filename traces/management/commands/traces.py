"""
manage.py traces prune | export | rebuild-stats | share list | share revoke

`--json` prints one object per line. Exit codes: 0 done, 1 failed, 2 wrong usage, 130 stopped
by Ctrl-C.
"""

from __future__ import annotations

import os
import sys
from argparse import ArgumentParser
from collections.abc import Callable
from functools import partial
from typing import Any

from django.core.management.base import BaseCommand

from runnables.management.progress import INTERRUPTED, end_quietly
from traces.management import export, pruning, rebuilding, sharing


class Command(BaseCommand):
    help = "Delete, export and share what is kept of runs, and count it anew."

    def __init__(self, *args: Any, **options: Any) -> None:
        # Django itself does not look at it.
        options["no_color"] = options.get("no_color") or bool(os.environ.get("NO_COLOR"))
        super().__init__(*args, **options)

    def add_arguments(self, parser: ArgumentParser) -> None:
        commands = parser.add_subparsers(dest="action", required=True)
        pruning.add_arguments(partial(self._command, commands))
        export.add_arguments(partial(self._command, commands))
        rebuilding.add_arguments(partial(self._command, commands))
        share = commands.add_parser("share", help="links under which anybody may read a trace")
        actions = share.add_subparsers(dest="share_action", required=True)
        sharing.add_arguments(partial(self._command, actions))

    def handle(self, *args: Any, handler: Callable[..., None], **options: Any) -> None:
        try:
            handler(self, **options)
            self.stdout.flush()
        except BrokenPipeError:
            end_quietly()
        except KeyboardInterrupt:
            self.stderr.write("stopped", str)
            sys.exit(INTERRUPTED)

    def _command(
        self, commands: Any, name: str, handler: Callable[..., None], text: str
    ) -> ArgumentParser:
        sub: ArgumentParser = commands.add_parser(name, help=text)
        sub.set_defaults(handler=handler)
        sub.add_argument(
            "--json", action="store_true", dest="as_json", help="one JSON object per line"
        )
        sub.add_argument("--no-progress", action="store_true", help="no bar")
        return sub
