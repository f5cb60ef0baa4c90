"""
How far a command has come, and how it is stopped in between.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

from django.core.management.base import OutputWrapper

INTERRUPTED = 130
PLAIN_LINE_SECONDS = 10.0
REDRAW_SECONDS = 0.1
NARROWEST_BAR, WIDEST_BAR = 4, 24
GREEN, OFF = "\x1b[32m", "\x1b[0m"


class Progress:
    """
    On a terminal a bar:
    `Pruning  48% ▇▇▇▇▇▁▁▁  48,000/100,000 traces  9,800/s  ETA 0:05`,
    elsewhere, or without `bar`, a plain line every ten seconds. A context manager.
    """

    def __init__(
        self,
        stream: OutputWrapper,
        title: str,
        total: int,
        unit: str,
        *,
        bar: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stream = stream
        self._title = title
        self._total = total
        self._unit = unit
        self._clock = clock
        self._is_bar = bar and bool(stream.isatty())
        self._full, self._empty = _cells(stream)
        self._is_colored = not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
        self._began = clock()
        self._shown_at = self._began - REDRAW_SECONDS if self._is_bar else self._began
        self._last: int | None = None
        self._is_line_open = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def show(self, done: int) -> None:
        """
        So many are done; cheap enough to be said after each.
        """
        self._last = done
        now = self._clock()
        pause = REDRAW_SECONDS if self._is_bar else PLAIN_LINE_SECONDS
        if now - self._shown_at >= pause or (self._is_bar and done >= self._total):
            self._shown_at = now
            self._write(done)

    def close(self) -> None:
        """
        The bar as it stands in the end, with a line of its own.
        """
        if self._is_bar and self._last is not None:
            self._write(self._last)
        if self._is_line_open:
            self._put("\n")
            self._is_line_open = False

    def _write(self, done: int) -> None:
        seconds = max(self._clock() - self._began, 1e-6)
        total = max(self._total, done)
        share = done / total if total else 1.0
        head = f"{self._title} {share:>4.0%}"
        rate = done / seconds
        parts = [f"{done:,}/{total:,} {self._unit}", f"{rate:,.0f}/s"]
        if rate and done < total:
            parts.append(f"ETA {_clock_face((total - done) / rate)}")
        if not self._is_bar:
            self._put("  ".join((head, *parts)) + "\n")
            return
        # The last column stays free: some terminals begin a new line there.
        columns = _columns(self._stream) - 1
        while len(parts) > 1 and columns - len("  ".join((head, *parts))) < NARROWEST_BAR + 1:
            parts.pop()
        room = min(columns - len("  ".join((head, *parts))) - 1, WIDEST_BAR)
        bar = self._drawn(share, room) if room >= NARROWEST_BAR else ""
        text = f"{head} {bar}  {'  '.join(parts)}" if bar else "  ".join((head, *parts))
        padded = text[:columns].ljust(columns)
        if bar and self._is_colored:
            padded = padded.replace(bar, f"{GREEN}{bar}{OFF}", 1)
        self._put(f"\r{padded}")
        self._is_line_open = True

    def _drawn(self, share: float, width: int) -> str:
        full = int(share * width)
        return self._full * full + self._empty * (width - full)

    def _put(self, text: str) -> None:
        # Without a style: what goes to a command's stderr is red otherwise.
        self._stream.write(text, str, ending="")
        self._stream.flush()


class Interrupt:
    """
    Ctrl-C as a wish, while this context lasts: what is under way comes to its end. The
    second is Python's own again.
    """

    def __init__(self) -> None:
        self.came = False
        self._before: Any = None
        # Only there does Python take signals.
        self._is_main = threading.current_thread() is threading.main_thread()

    def __enter__(self) -> Self:
        if self._is_main:
            self._before = signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._is_main:
            signal.signal(signal.SIGINT, self._before)

    def _note(self, *_: object) -> None:
        self.came = True
        signal.signal(signal.SIGINT, self._before)


def end_quietly() -> None:
    """
    The reader of our output has gone, as `head` does: nothing more can be said there, and
    Python must not complain of it when it ends. Exits with 0, for who reads had enough.
    """
    with suppress(OSError, ValueError):  # A test's stdout is no file.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(0)


def _cells(stream: OutputWrapper) -> tuple[str, str]:
    encoding = getattr(stream, "encoding", None) or "utf-8"
    try:
        "▇▁".encode(encoding)
    except (LookupError, UnicodeEncodeError):
        return "#", "-"
    return "▇", "▁"


def _columns(stream: OutputWrapper) -> int:
    if os.environ.get("COLUMNS", "").isdecimal():
        return shutil.get_terminal_size().columns
    try:
        return os.get_terminal_size(stream.fileno()).columns or 80
    except (AttributeError, OSError, ValueError):
        return 80


def _clock_face(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
