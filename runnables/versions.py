"""
Versions of a deployment: append-only, each change a new one with who, when, why and what.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Max
from django.utils.translation import gettext as _

from runnables import audit
from runnables.config import MAX_RECURSION, check_bounds, looks_like_credential
from runnables.deployments import announce_change
from runnables.exceptions import InvalidInput, Unavailable
from runnables.masking import holds_secret
from runnables.models import Deployment, DeploymentVersion
from runnables.registry import default_registry
from runnables.schemas import DEFAULT_KEYS
from runnables.served import Served, ServedDeployment, row_values

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

    An error of a default has its place as `loc` among its `params`.
    """
    if not isinstance(content["defaults"], dict):
        raise ValidationError({"defaults": _("Defaults are a config: an object.")})
    not_content = [f.name for f in DeploymentVersion._meta.fields if f.name not in content]
    DeploymentVersion(**content).clean_fields(exclude=not_content)
    wrong: list[dict[str, Any]] = [
        {"loc": [name], "msg": _("a version has no default for this")}
        for name in content["defaults"]
        if name not in DEFAULT_KEYS
    ]
    served, _why = build(deployment, content)
    if served:
        wrong += _misfits(served, content["defaults"])
        wrong += _unhidden(served, content["defaults"].get("configurable") or {})
    if wrong:
        raise ValidationError({"defaults": [_of_default(**one) for one in wrong]})


def _unhidden(served: Served, given: Mapping[str, Any]) -> list[dict[str, Any]]:
    """
    Secrets by their type whose ids do not say so: pages and diffs hide values by the id.
    """
    problem = _("this is a secret by its type; give it an id such as api_key or secret_…")
    return [
        {"loc": ["configurable", name], "msg": problem}
        for name in given
        if name in served.schemas.secret and not looks_like_credential(name)
    ]


def _misfits(served: Served, defaults: Mapping[str, Any]) -> list[dict[str, Any]]:
    try:
        served.schemas.check_defaults(defaults)
        check_bounds(defaults, MAX_RECURSION)
    except InvalidInput as error:
        detail: Any = error.detail
        return [{"loc": one["loc"], "msg": one["msg"]} for one in detail]
    return []


def _of_default(loc: Sequence[Any], msg: str) -> ValidationError:
    params = {"where": ".".join(map(str, loc)), "problem": msg, "loc": list(loc)}
    return ValidationError("%(where)s: %(problem)s", params=params)


def build(
    deployment: Deployment, content: Mapping[str, Any]
) -> tuple[Served | None, BaseException | None]:
    """
    The runnable under this content; or None and why, if its code is gone or does not build.
    """
    registration = default_registry.find(deployment.name)
    if registration is None or deployment.version is None:
        return None, Unavailable("The code of this deployment is not installed on this server.")
    values = row_values(deployment)
    values["version"] = {**values["version"], **content}
    try:
        return ServedDeployment(values, registration).build(), None
    except Exception as error:  # noqa: BLE001 - logged there
        return None, error.__cause__ or error


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Difference]:
    """
    What differs between two contents, with hidden secrets: a changed one shows as changed.
    """
    old, new = flat(before), flat(after)
    found = []
    for where in dict.fromkeys([*old, *new]):
        if old.get(where) == new.get(where) and (where in old) == (where in new):
            continue
        is_secret = any(map(looks_like_credential, where)) or holds_secret(
            [old.get(where), new.get(where)]
        )
        found.append(
            Difference(
                ".".join(where),
                _shown(old[where], is_secret) if where in old else None,
                _shown(new[where], is_secret, again=where in old) if where in new else None,
            )
        )
    return found


def flat(content: Mapping[str, Any]) -> dict[tuple[str, ...], Any]:
    """
    All that a content says, by the way to it. What is empty says nothing, but an id that is
    set to an empty text is set.
    """
    return dict(_flat((), content))


def _flat(where: tuple[str, ...], value: Any) -> Iterator[tuple[tuple[str, ...], Any]]:
    is_default_of_id = where[:2] == ("defaults", "configurable") and len(where) > 2
    if isinstance(value, Mapping) and (value or not is_default_of_id):
        for name, below in value.items():
            yield from _flat((*where, str(name)), below)
    elif is_default_of_id or value not in ([], None, ""):
        yield where, value


def _shown(value: Any, is_secret: bool, *, again: bool = False) -> str:
    if is_secret:
        return _("%(hidden)s (changed)") % {"hidden": HIDDEN} if again else HIDDEN
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        return ", ".join(value)
    if isinstance(value, bool):
        return _("yes") if value else _("no")
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _saved_text(version: DeploymentVersion, changes: str, is_current: bool) -> str:
    said = f"Saved version {version.number}"
    if version.copy_of:
        said = f"Rolled back to version {version.copy_of} as version {version.number}"
    if not is_current:
        said += " for a trial"
    note = f" ({version.note})" if version.note else ""
    return f"{said}{note}: {changes or 'nothing changed'}."
