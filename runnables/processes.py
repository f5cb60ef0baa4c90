"""
Which server processes are up, and how much each of them is running.
"""

from __future__ import annotations

import os
import socket
from datetime import timedelta
from functools import cache
from uuid import UUID, uuid4

from django.utils import timezone

from runnables import running
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
    now_running = {str(pk): count for pk, count in running.by_deployment().items()}
    ServerProcess.objects.update_or_create(
        boot_id=boot_id,
        defaults={
            "host": host,
            "pid": pid,
            "seen_at": timezone.now(),
            "running": now_running,
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
    total: dict[int, int] = {}
    for process in alive():
        for pk, count in process.running.items():
            total[int(pk)] = total.get(int(pk), 0) + count
    return total


def prune() -> None:
    limit = timezone.now() - timedelta(seconds=GONE_SECONDS)
    ServerProcess.objects.filter(seen_at__lt=limit).delete()
