"""
"Run check now": build a deployment and ask its health check, in this process.
"""

from __future__ import annotations

import asyncio

from asgiref.sync import async_to_sync
from django.db import transaction

from runnables import audit, health
from runnables.admin.check_user import served_of
from runnables.models import Deployment
from runnables.served import ServedDeployment

SECONDS = 30.0


def run_check(row: Deployment, *, by: audit.Actor) -> tuple[bool, str]:
    """
    Whether all is well and what was said; kept, and told in the history.
    """
    served = served_of(row)
    passed, text = (
        async_to_sync(_ask)(served) if served else (False, "It has no version to be checked.")
    )
    with transaction.atomic():
        health.note_check(row, passed=passed, text=text)
        word = "passed" if passed else "failed"
        audit.record(row, f"Health check by hand {word}: {text}", by=by)
    return passed, text


async def _ask(served: ServedDeployment) -> tuple[bool, str]:
    try:
        async with asyncio.timeout(SECONDS):
            return await health.check_deployment(served)
    except TimeoutError:
        return False, f"No answer within {SECONDS:g} s."
