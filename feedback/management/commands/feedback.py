"""
manage.py feedback export

Exit codes: 0 done, 1 failed, 2 wrong usage.
"""

from __future__ import annotations

import sys
import time
from argparse import ArgumentParser
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from feedback import export
from runnables.models import Deployment
from runnables.paths import normalize

# Seconds between two lines of progress on what is no terminal, and between two looks of a bar.
LINE_SECONDS = 10.0
BAR_SECONDS = 0.1
BAR = 10


class Command(BaseCommand):
    help = "Export what people said about runs."

    def add_arguments(self, parser: ArgumentParser) -> None:
        commands = parser.add_subparsers(dest="action", required=True)
        sub = commands.add_parser("export", help="print feedback, oldest first")
        sub.set_defaults(handler=self.export)
        sub.add_argument("--format", choices=list(export.FORMATS), default="csv", dest="kind")
        sub.add_argument(
            "--as",
            choices=export.SHAPES,
            default="rows",
            dest="shape",
            help="dataset: input, output and correction of each run, to evaluate with",
        )
        sub.add_argument("--deployment", default="", help="of this deployment: its name or path")
        sub.add_argument("--key", default="", help="under this key")
        sub.add_argument("--since", default="", help="from this day or time on: 2030-01-31")
        sub.add_argument("--until", default="", help="before this day or time")
        sub.add_argument("--output", default="-", help="a file, instead of standard output")
        sub.add_argument("--no-progress", action="store_true", help="no bar on a terminal")

    def handle(self, *args: Any, handler: Callable[..., None], **options: Any) -> None:
        handler(**options)

    def export(
        self,
        *,
        kind: str,
        shape: str,
        deployment: str,
        key: str,
        since: str,
        until: str,
        output: str,
        no_progress: bool,
        **_: Any,
    ) -> None:
        rows = export.chosen(
            deployment=_deployment(deployment) if deployment else None,
            key=key,
            since=_when("since", since),
            until=_when("until", until),
        )
        progress = _Progress(self, None if no_progress else rows.count)
        pieces = export.batches(rows, kind=kind, shape=shape, count=progress.add)
        try:
            if output == "-":
                for piece in pieces:
                    self.stdout.write(piece, ending="")
            else:
                with Path(output).open("w", encoding="utf-8", newline="") as file:
                    file.writelines(pieces)
        except KeyboardInterrupt:
            progress.end()
            sys.exit(130)
        progress.end()


class _Progress:
    """
    A bar on a terminal, else a line every ten seconds; both on standard error.
    """

    def __init__(self, command: BaseCommand, count: Callable[[], int] | None) -> None:
        self._command = command
        self._is_bar = count is not None and command.stderr.isatty()
        self._total = count() if count and self._is_bar else 0
        self._read = self._written = 0
        self._began = self._shown = time.monotonic()

    def add(self, read: int, written: int) -> None:
        self._read += read
        self._written += written
        now = time.monotonic()
        if now - self._shown < (BAR_SECONDS if self._is_bar else LINE_SECONDS):
            return
        self._shown = now
        if self._is_bar:
            self._say(f"\r{self._bar(now)}", ending="")
        else:
            self._say(f"Exporting {self._read:,} rows")

    def end(self) -> None:
        if self._is_bar:
            self._say(f"\r{self._bar(time.monotonic())}")
        left_out = self._read - self._written
        more = f", {left_out:,} without a kept input left out" if left_out else ""
        self._say(f"{self._written:,} exported{more}")

    def _bar(self, now: float) -> str:
        share = min(1.0, self._read / self._total) if self._total else 1.0
        speed = self._read / max(now - self._began, 0.001)
        left = int((self._total - self._read) / speed) if speed and self._total else 0
        bar = ("▇" * round(share * BAR)).ljust(BAR, "▁")
        counts = f"{self._read:,}/{self._total:,} rows"
        return f"Exporting {share:4.0%} {bar}  {counts}  {speed:,.0f}/s  ETA {left // 60}:{left % 60:02}"

    def _say(self, text: str, ending: str = "\n") -> None:
        self._command.stderr.write(text, lambda plain: plain, ending)


def _deployment(name_or_path: str) -> int:
    try:
        path = normalize(name_or_path)
    except ValueError:
        path = name_or_path
    for field, value in (("name", name_or_path), ("path", path)):
        if pk := Deployment.objects.filter(**{field: value}).values_list("pk", flat=True).first():
            return pk
    raise CommandError(f"there is no deployment {name_or_path!r}")


def _when(option: str, text: str) -> datetime | None:
    try:
        return export.read_time(text) if text else None
    except ValueError:
        raise CommandError(f"--{option}: {text!r} is no date or time, such as 2030-01-31") from None
