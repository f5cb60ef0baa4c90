"""
manage.py langserve versions | rollback | canary | maintenance
"""

from __future__ import annotations

import json
from argparse import ArgumentParser
from collections.abc import Callable
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import CommandError

from runnables import audit, deployments, trials, versions
from runnables.figures import Sum
from runnables.models import Canary, Deployment, DeploymentVersion
from runnables.paths import normalize
from runnables.trials import NoCanary
from runnables.versions import Outdated

Say = Callable[..., None]
AddCommand = Callable[[str, Callable[..., None], str], ArgumentParser]
BY = audit.COMMAND_LINE


class Rollout:
    """
    What the commands do; `say` prints a text, or its fields as JSON.
    """

    def __init__(self, say: Say) -> None:
        self._say = say

    def versions(self, *, path: str, as_json: bool, **_: Any) -> None:
        row = deployment_at(path)
        found = list(row.versions.select_related("created_by"))
        tried = trials.running_now(row).values_list("version", flat=True).first()
        only_tried = trials.only_tried(row)
        for place, version in enumerate(found):
            before = next((one for one in found[place + 1 :] if one.pk not in only_tried), version)
            changes = list(map(str, versions.differences(before.content, version.content)))
            state = "current" if version.pk == row.version_id else ""
            state = "canary" if version.pk == tried else state
            who = str(version.created_by or "")
            self._say(
                f"v{version.number:<5} {version.created_at:%Y-%m-%d %H:%M} {state or '-':<8}"
                f" {who or '-':<16} {version.note or '-'}"
                + "".join(f"\n       {change}" for change in changes),
                as_json,
                version=version.number,
                at=version.created_at.isoformat(),
                by=who or None,
                note=version.note,
                state=state or None,
                copy_of=version.copy_of,
                changes=changes,
            )

    def roll_back(
        self, *, path: str, number: int | None, note: str, as_json: bool, **_: Any
    ) -> None:
        row = deployment_at(path)
        current = _current(row)
        old = _version(row, number) if number is not None else _one_before(row, current)
        if not versions.differences(current.content, old.content):
            raise CommandError(f"version {old.number} is what is served now: nothing would change")
        try:
            made = versions.roll_back(row, old.number, by=BY, based_on=current.number, note=note)
        except Outdated as error:
            raise CommandError(f"{error}; look at it and try again") from None
        except ValidationError as error:
            raise CommandError("; ".join(error.messages)) from None
        self._say(
            f"/{row.path}: version {made.number} has the content of version {old.number}",
            as_json,
            path=f"/{row.path}",
            version=made.number,
            copy_of=old.number,
        )

    def canary(
        self,
        *,
        path: str,
        version: int | None,
        percent: float | None,
        promote: bool,
        stop: bool,
        as_json: bool,
        **options: Any,
    ) -> None:
        row = deployment_at(path)
        if (promote and stop) or ((promote or stop) and (version or percent is not None)):
            raise CommandError("give one of --promote, --stop and --version or --percent")
        try:
            if promote:
                made = trials.promote(row, by=BY)
                text = f"/{row.path}: version {made.number} answers everybody"
                self._say(text, as_json, path=f"/{row.path}", promoted=made.number)
            elif stop:
                ended = trials.stop(row, by=BY).version
                text = f"/{row.path}: version {ended.number} is not tried any more"
                self._say(text, as_json, path=f"/{row.path}", stopped=ended.number)
            else:
                self._try(row, version, percent, options)
                self._show_canary(row, as_json)
        except NoCanary:
            raise CommandError(f"no version is on trial at /{row.path}") from None
        except ValidationError as error:
            raise CommandError("; ".join(error.messages)) from None

    def _try(
        self,
        row: Deployment,
        number: int | None,
        percent: float | None,
        options: dict[str, Any],
    ) -> None:
        """
        Start a trial of the version that was named, or change the share of the one going on.
        """
        if number is not None:
            trials.start(
                row,
                _version(row, number),
                percent=10 if percent is None else percent,
                by=BY,
                sticky_by=options["sticky_by"] or Canary.StickyBy.USER,
                stop_error_percent=options["stop_above"],
                stop_min_requests=options["after"] or 20,
            )
        elif any(options[name] is not None for name in ("sticky_by", "stop_above", "after")):
            raise CommandError("these are set when a trial starts: name a --version")
        elif percent is not None:
            running = trials.running_now(row).select_related("version", "deployment").first()
            if running is None:
                raise NoCanary
            trials.change_share(running, percent=percent, by=BY)

    def _show_canary(self, row: Deployment, as_json: bool) -> None:
        running = trials.running_now(row).select_related("version").first()
        if running is None:
            text = f"/{row.path}: no version is on trial"
            self._say(text, as_json, path=f"/{row.path}", canary=None)
            return
        found = trials.compare(running)
        stable, canary = _figures(found.stable), _figures(found.canary)
        lines = [
            f"/{row.path}: version {running.version.number} on {running.percent:g} % of callers,"
            f" sticky by {running.sticky_by}, since {running.started_at:%Y-%m-%d %H:%M}",
            f"  {'':<18}{'stable':>12}{'canary':>12}",
            *(
                f"  {name:<18}{_short(stable[name]):>12}{_short(canary[name]):>12}"
                for name in stable
            ),
        ]
        if not found.is_telling:
            lines.append(f"  too few to tell: fewer than {trials.ENOUGH} calls on a side")
        self._say(
            "\n".join(lines),
            as_json,
            path=f"/{row.path}",
            canary=running.version.number,
            percent=running.percent,
            sticky_by=running.sticky_by,
            since=running.started_at.isoformat(),
            is_telling=found.is_telling,
            stable=stable,
            tried=canary,
        )

    def maintenance(
        self,
        *,
        path: str,
        on_or_off: str,
        message: str,
        retry_after: int | None,
        as_json: bool,
        **_: Any,
    ) -> None:
        row = deployment_at(path)
        on = on_or_off == "on"
        if not on and (message or retry_after):
            raise CommandError("--message and --retry-after are for `on`")
        if retry_after is not None and retry_after < 1:
            raise CommandError("--retry-after is a number of seconds of at least 1")
        check_length("--message", message, "maintenance_message")
        deployments.set_maintenance(row, on=on, by=BY, message=message, retry_after=retry_after)
        text = f"/{row.path} is {'in maintenance' if on else 'served again'}"
        self._say(text, as_json, path=f"/{row.path}", maintenance=on)


def add_arguments(command: AddCommand, say: Say) -> None:
    """
    Add these commands to `langserve`, whose `command` makes a subparser.
    """
    rollout = Rollout(say)
    command("versions", rollout.versions, "show the versions of a deployment").add_argument(
        "path", metavar="PATH"
    )
    back = command("rollback", rollout.roll_back, "make a new version with an old content")
    back.add_argument("path", metavar="PATH")
    back.add_argument("number", metavar="N", type=int, nargs="?", help="default: the one before")
    back.add_argument("--note", default="", help="why")
    _add_canary(command("canary", rollout.canary, "show, start, change or end a trial"))
    still = command("maintenance", rollout.maintenance, "answer calls with 503 for a while")
    still.add_argument("path", metavar="PATH")
    still.add_argument("on_or_off", metavar="on|off", choices=("on", "off"))
    still.add_argument("--message", default="", help="what callers read")
    still.add_argument("--retry-after", type=int, metavar="SECONDS")


def _add_canary(canary: ArgumentParser) -> None:
    canary.add_argument("path", metavar="PATH")
    canary.add_argument("--version", type=int, metavar="N", help="start a trial of this version")
    canary.add_argument("--percent", type=_percent, help="of the callers; 10 when a trial starts")
    canary.add_argument("--sticky-by", choices=Canary.StickyBy.values, help="default: user")
    canary.add_argument("--stop-above", type=_percent, metavar="PERCENT", help="of errors")
    canary.add_argument("--after", type=int, metavar="CALLS", help="at least; default: 20")
    canary.add_argument("--promote", action="store_true", help="it answers everybody")
    canary.add_argument("--stop", action="store_true", help="it answers nobody")


def deployment_at(path: str) -> Deployment:
    try:
        stored = normalize(path)
    except ValueError as error:
        raise CommandError(str(error)) from None
    row = Deployment.objects.select_related("version").filter(path=stored).first()
    if row is None:
        raise CommandError(
            f"there is no deployment at {path}; `manage.py langserve list` shows all"
        )
    return row


def check_length(option: str, text: str, name: str) -> None:
    field: Any = Deployment._meta.get_field(name)
    if len(text) > field.max_length:
        raise CommandError(f"{option} has at most {field.max_length} letters")


def _current(row: Deployment) -> DeploymentVersion:
    if row.version is None:
        raise CommandError(f"/{row.path} has no version yet")
    return row.version


def _version(row: Deployment, number: int) -> DeploymentVersion:
    version = row.versions.filter(number=number).first()
    if version is None:
        raise CommandError(f"/{row.path} has no version {number}")
    return version


def _one_before(row: Deployment, current: DeploymentVersion) -> DeploymentVersion:
    """
    What was served before: a copy counts as what it is a copy of, so that rolling back
    twice goes two steps back. Versions that were only tried do not count.
    """
    served = row.versions.exclude(pk__in=trials.only_tried(row))
    before = served.filter(number__lt=current.copy_of or current.number).first()
    if before is None:
        raise CommandError(f"/{row.path} has no version before {current.number}")
    return before


def _figures(side: Sum) -> dict[str, Any]:
    return {
        "calls": side.requests,
        "errors %": round(side.error_percent, 1) if side.requests else None,
        "p50 ms": _rounded(side.duration(0.5)),
        "p95 ms": _rounded(side.duration(0.95)),
        "first chunk ms": _rounded(side.first_chunk(0.5)),
    }


def _rounded(milliseconds: float | None) -> int | None:
    return None if milliseconds is None else round(milliseconds)


def _short(value: Any) -> str:
    return "-" if value is None else json.dumps(value)


def _percent(text: str) -> float:
    percent = float(text)
    # Not a number is between no two.
    if not 0 <= percent <= 100:
        raise ValueError
    return percent
