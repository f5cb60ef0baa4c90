"""
Which version answers whom while a trial runs: the same caller always the same one.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from runnables.models import Figures

if TYPE_CHECKING:
    from runnables.identity import CallerRequest
    from runnables.served import ServedCanary, ServedDeployment, ServedVersion

STABLE, CANARY = Figures.Arm.STABLE.value, Figures.Arm.CANARY.value
PLACES = 1_000_000


def pick(deployment: ServedDeployment, caller: CallerRequest) -> tuple[ServedVersion, str]:
    """
    The version that answers this caller, and the arm of the trial it is on.
    """
    canary = deployment.canary
    if canary is not None and place(canary.pk, _who(caller, canary)) < canary.percent / 100:
        return canary.version, CANARY
    return deployment.version, STABLE


def place(canary_pk: int, who: str) -> float:
    """
    A caller's place from 0 to 1, another in each trial: those who try one are not those who
    try all. A larger share keeps everybody it had.
    """
    digest = hashlib.blake2b(f"{canary_pk}:{who}".encode(), digest_size=8).digest()
    return int.from_bytes(digest) % PLACES / PLACES


def _who(caller: CallerRequest, canary: ServedCanary) -> str:
    if canary.sticky_by == "token" and caller.auth:
        return f"token {caller.auth.pk}"
    if canary.sticky_by != "address" and caller.principal:
        return caller.principal
    return f"address {caller.address}"
