from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from runnables import trials
from runnables.models import Deployment, DeploymentVersion
from runnables.versions import Difference, differences

# Changes that a line of the table names.
NAMED = 3


@dataclass(frozen=True, slots=True)
class VersionRow:
    """
    A version as a line of a table. `changes` is None for the first, which has none before.
    """

    version: DeploymentVersion
    changes: list[Difference] | None
    is_current: bool
    is_canary: bool

    @property
    def named(self) -> list[Difference]:
        return (self.changes or [])[:NAMED]

    @property
    def further(self) -> int:
        return max(0, len(self.changes or []) - NAMED)


def rows_of(deployment: Deployment, shown: Sequence[DeploymentVersion]) -> list[VersionRow]:
    """
    Versions, newest first and one after the other, each with what it changed; two queries.
    """
    if not shown:
        return []
    older = deployment.versions.filter(number__lt=shown[-1].number).first()
    canary = trials.running_now(deployment).first()
    tried = canary.version_id if canary else None
    before = [*shown[1:], older]
    return [
        VersionRow(
            version=one,
            changes=differences(previous.content, one.content) if previous else None,
            is_current=one.pk == deployment.version_id,
            is_canary=one.pk == tried,
        )
        for one, previous in zip(shown, before, strict=True)
    ]
