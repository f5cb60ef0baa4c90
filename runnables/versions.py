"""
Versions of a deployment: append-only, each change a new one with who, when, why and what.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Max
from django.utils.translation import gettext as _

from runnables import audit
from runnables.config import looks_like_credential
from runnables.deployments import announce_change
from runnables.exceptions import InvalidInput
from runnables.models import Deployment, DeploymentVersion
from runnables.registry import default_registry
from runnables.served import ServedDeployment, row_values

HIDDEN = "••••••"


class Outdated(Exception):
    """
    Somebody saved a version meanwhile: `current` is theirs.
    """

    def __init__(self, current: DeploymentVersion) -> None:
        super().__init__(f"version {current.number} was saved meanwhile")
        self.current = current


@dataclass(frozen=True, slots=True)
class Difference:
    """
    One line of a diff, fit to be shown: secrets are hidden. None is "not set".
    """

    where: str
    before: str | None
    after: str | None

    def __str__(self) -> str:
        if self.before is None:
            return f"{self.where}: set to {self.after}"
        if self.after is None:
            return f"{self.where}: no longer {self.before}"
        return f"{self.where}: {self.before} → {self.after}"


def save_version(
    deployment: Deployment,
    content: Mapping[str, Any],
    *,
    by: audit.Actor,
    based_on: int,
    note: str = "",
    copy_of: int | None = None,
    make_current: bool = True,
) -> DeploymentVersion:
    """
    A new version of this content. It answers all callers at once, or with
    `make_current=False` nobody yet (a canary will say whom).

    `based_on` is the number of the version that the change was made from. Raises Outdated
    if that is not the current one any more, and ValidationError if the content does not fit
    the runnable.
    """
    with transaction.atomic():
        rows = Deployment.objects.select_for_update(of=("self",)).select_related("version")
        row = rows.get(pk=deployment.pk)
        current = row.version
        assert current is not None  # noqa: S101 - `sync` makes the first with the row
        if current.number != based_on:
            raise Outdated(current)
        check_content(row, content)
        last = row.versions.aggregate(last=Max("number"))["last"] or 0
        user = by if not isinstance(by, str) else None
        version = DeploymentVersion(
            deployment=row,
            number=last + 1,
            note=note,
            copy_of=copy_of,
            created_by=user,
            **{name: content[name] for name in DeploymentVersion.CONTENT},
        )
        version.full_clean(exclude=["deployment", "created_by"])
        version.save()
        changes = "; ".join(map(str, differences(current.content, version.content)))
        audit.record(row, _saved_text(version, changes, make_current), by=by)
        if make_current:
            make_version_current(row, version)
        deployment.version = row.version
        return version


def roll_back(
    deployment: Deployment, number: int, *, by: audit.Actor, based_on: int, note: str = ""
) -> DeploymentVersion:
    """
    A new version with the content of an old one; raises what `save_version` does.
    """
    old = deployment.versions.get(number=number)
    return save_version(
        deployment, old.content, by=by, based_on=based_on, note=note, copy_of=number
    )


def make_version_current(row: Deployment, version: DeploymentVersion) -> None:
    row.version = version
    row.save(update_fields=["version", "updated_at"])
    announce_change()


def check_content(deployment: Deployment, content: Mapping[str, Any]) -> None:
    """
    Have the runnable's own model check the defaults; raises ValidationError that says what
    is wrong with them. A runnable that is not there, or does not build, checks nothing.
    """
    defaults = content["defaults"]
    if not isinstance(defaults, dict):
        raise ValidationError({"defaults": _("Defaults are a config: an object.")})
    served = built(deployment, content)
    if served is None:
        return
    try:
        served.schemas.check_defaults(defaults)
    except InvalidInput as error:
        problems: Any = error.detail
        lines = [f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in problems]
        raise ValidationError({"defaults": lines}) from None


def built(deployment: Deployment, content: Mapping[str, Any]) -> Any:
    """
    The runnable under this content, or None if its code is gone or cannot be built.
    """
    registration = default_registry.find(deployment.name)
    if registration is None or deployment.version is None:
        return None
    values = row_values(deployment)
    values["version"] = {**values["version"], **content}
    try:
        return ServedDeployment(values, registration).build()
    except Exception:  # noqa: BLE001 - logged there
        return None


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Difference]:
    """
    What differs between two contents, with hidden secrets: a changed one shows as changed.
    """
    old, new = dict(_flat("", before)), dict(_flat("", after))
    found = []
    for where in dict.fromkeys([*old, *new]):
        if old.get(where) == new.get(where):
            continue
        is_secret = looks_like_credential(where.rpartition(".")[2])
        found.append(
            Difference(
                where,
                _shown(old[where], is_secret) if where in old else None,
                _shown(new[where], is_secret, again=where in old) if where in new else None,
            )
        )
    return found


def _flat(where: str, value: Any) -> Iterator[tuple[str, Any]]:
    """
    Dotted name and value of all that a content says; what is empty says nothing.
    """
    if isinstance(value, Mapping):
        for name, below in value.items():
            yield from _flat(f"{where}.{name}" if where else name, below)
    elif value not in ([], None, ""):
        yield where, value


def _shown(value: Any, is_secret: bool, *, again: bool = False) -> str:
    if is_secret:
        return f"{HIDDEN} (changed)" if again else HIDDEN
    if isinstance(value, list):
        return ", ".join(map(str, value))
    if isinstance(value, bool):
        return _("yes") if value else _("no")
    return str(value)


def _saved_text(version: DeploymentVersion, changes: str, is_current: bool) -> str:
    said = f"Saved version {version.number}"
    if version.copy_of:
        said = f"Rolled back to version {version.copy_of} as version {version.number}"
    if not is_current:
        said += " for a trial"
    note = f" ({version.note})" if version.note else ""
    return f"{said}{note}: {changes or 'nothing changed'}."
