"""
What the commands about traces have in common: of which deployment, and how they say it.
"""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser
from collections.abc import Callable
from typing import Any, NoReturn

from django.core.management.base import BaseCommand, CommandError
from django.db.models import Q, QuerySet

from runnables.management.progress import INTERRUPTED
from runnables.models import Deployment
from traces.models import Trace

AddCommand = Callable[[str, Callable[..., None], str], ArgumentParser]


def deployment_named(name: str) -> Deployment | None:
    """
    By name or path.
    """
    by_path = Q(path=name.strip("/")) if name.startswith("/") else Q(name=name)
    return Deployment.objects.filter(by_path).first()


def of_deployment(traces: QuerySet[Trace], name: str | None) -> QuerySet[Trace]:
    """
    Those of this deployment, which may be gone itself; of all without a name.
    """
    if name is None:
        return traces
    row = deployment_named(name)
    # What is left of one that was deleted has its name alone.
    left = Q(deployment__isnull=True, deployment_name=row.name if row else name)
    found = traces.filter(left | Q(deployment=row)) if row else traces.filter(left)
    if row is None and not Trace.objects.filter(left).exists():
        raise CommandError(f"there is no deployment {name!r}, nor a trace of one")
    return found


def counted(number: int, one: str, many: str) -> str:
    return f"{number:,} {one if number == 1 else many}"


def say(command: BaseCommand, as_json: bool, text: str, **fields: Any) -> None:
    command.stdout.write(json.dumps(fields) if as_json else text)


def stop(command: BaseCommand, text: str) -> NoReturn:
    """
    Ctrl-C came, and what was under way is done: say how to go on.
    """
    command.stderr.write(text, str)
    sys.exit(INTERRUPTED)
