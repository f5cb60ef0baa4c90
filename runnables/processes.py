"""
Which server processes are up, and how much each of them is running.
"""

from __future__ import annotations

import os
import socket
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import timedelta
from functools import cache
from uuid import UUID, uuid4

from django.utils import timezone

from runnables import hooks, limits, running
from runnables.conf import conf
from runnables.models import ServerProcess

GONE_SECONDS = 600.0


@cache
def _identity(pid: int) -> tuple[UUID, str]:
    return uuid4(), socket.gethostname()


def boot_id() -> UUID:
    """
    The id of this process.
    """
    return _identity(os.getpid())[0]


def report() -> None:
    """
    Say that this process is alive, and what it is running now.
    """
    pid = os.getpid()  # a forked server is another process
    boot_id, host = _identity(pid)
    ServerProcess.objects.update_or_create(
        boot_id=boot_id,
        defaults={
            "host": host,
            "pid": pid,
            "seen_at": timezone.now(),
            "running": _by_text(running.by_deployment()),
            "waiting": _by_text(limits.waiting()),
            "gauges": {name: number for gauge in hooks.gauges for name, number in gauge().items()},
        },
    )


def leave() -> None:
    """
    Say that this process ends.
    """
    ServerProcess.objects.filter(boot_id=_identity(os.getpid())[0]).delete()


def alive() -> list[ServerProcess]:
    """
    The processes heard of lately.
    """
    limit = timezone.now() - timedelta(seconds=3 * conf.figures_seconds + 5)
    return list(ServerProcess.objects.filter(seen_at__gt=limit))


def running_now() -> dict[int, int]:
    """
    Runs going on by deployment, in all processes, as of their last reports.
    """
    return _added(process.running for process in alive())


def waiting_now() -> dict[int, int]:
    """
    Runs that wait in line by deployment, likewise.
    """
    return _added(process.waiting for process in alive())


def gauges_now() -> dict[str, int]:
    """
    The numbers of other apps by name, of all processes together.
    """
    total: Counter[str] = Counter()
    for process in alive():
        total.update(process.gauges)
    return dict(total)


def prune() -> None:
    limit = timezone.now() - timedelta(seconds=GONE_SECONDS)
    ServerProcess.objects.filter(seen_at__lt=limit).delete()


def _by_text(numbers: Mapping[int, int]) -> dict[str, int]:
    return {str(pk): number for pk, number in numbers.items()}


def _added(reports: Iterable[Mapping[str, int]]) -> dict[int, int]:
    total: dict[int, int] = {}
    for report in reports:
        for pk, number in report.items():
            total[int(pk)] = total.get(int(pk), 0) + number
    return total
