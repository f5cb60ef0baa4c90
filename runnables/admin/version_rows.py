from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
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
    Versions, newest first and one after the other, each with what it changed; three queries.
    """
    if not shown:
        return []
    canary = trials.running_now(deployment).first()
    tried = canary.version_id if canary else None
    only_tried = trials.only_tried(deployment)
    older = one_before(deployment, shown[-1], only_tried)
    known = [*shown, *([older] if older else [])]
    return [
        VersionRow(
            version=one,
            changes=_changes(one, known[place + 1 :], only_tried),
            is_current=one.pk == deployment.version_id,
            is_canary=one.pk == tried,
        )
        for place, one in enumerate(shown)
    ]


def one_before(
    deployment: Deployment, version: DeploymentVersion, only_tried: Collection[int]
) -> DeploymentVersion | None:
    """
    The version that answered everybody before this one was made.
    """
    older = deployment.versions.filter(number__lt=version.number)
    return older.exclude(pk__in=only_tried).first()


def _changes(
    version: DeploymentVersion, older: Iterable[DeploymentVersion], only_tried: Collection[int]
) -> list[Difference] | None:
    for before in older:
        if before.pk not in only_tried:
            return differences(before.content, version.content)
    return None
