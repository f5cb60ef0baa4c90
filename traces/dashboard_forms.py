"""
What the dashboard shows: a form sent by GET, so that its address can be passed on.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from django import forms
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from runnables.figures import KEPT_DAYS
from runnables.models import DeploymentVersion, Figures
from traces.dashboard import Selection
from traces.periods import Period, between_days, last_days, last_hours

VERSIONS_SHOWN = 100
FIRST_YEAR = 1900
DEFAULT_RANGE = "7d"
RANGES = {
    "24h": gettext_lazy("Last 24 hours"),
    "7d": gettext_lazy("Last 7 days"),
    "30d": gettext_lazy("Last 30 days"),
    "custom": gettext_lazy("Custom"),
}
GROUPS = {
    "": gettext_lazy("Nothing"),
    "deployment": gettext_lazy("Deployment"),
    "version": gettext_lazy("Version"),
    "arm": gettext_lazy("Canary or not"),
}
COMPARED = {
    "": gettext_lazy("Period before"),
    "nothing": gettext_lazy("Nothing"),
}


class DayInput(forms.DateInput):
    input_type = "date"


class Filters(forms.Form):
    """
    `deployments` are those that the viewer may see, as {primary key: name}.
    """

    range = forms.ChoiceField(
        label=gettext_lazy("Range"), choices=[*RANGES.items()], required=False
    )
    since = forms.DateField(label=gettext_lazy("From"), widget=DayInput, required=False)
    until = forms.DateField(label=gettext_lazy("To"), widget=DayInput, required=False)
    deployment = forms.ChoiceField(label=gettext_lazy("Deployment"), required=False)
    version = forms.ChoiceField(label=gettext_lazy("Version"), required=False)
    # Of which deployment the choices of versions were: they mean nothing to another.
    versions_of = forms.CharField(widget=forms.HiddenInput, required=False)
    arm = forms.ChoiceField(label=gettext_lazy("Canary"), required=False)
    group_by = forms.ChoiceField(
        label=gettext_lazy("Group by"), choices=[*GROUPS.items()], required=False
    )
    compare = forms.ChoiceField(
        label=gettext_lazy("Compare with"), choices=[*COMPARED.items()], required=False
    )

    def __init__(self, deployments: Mapping[int, str], data: Mapping[str, str]) -> None:
        chosen = data.get("deployment", "")
        asked = {**data, "range": data.get("range") or DEFAULT_RANGE, "versions_of": chosen}
        if data.get("versions_of", chosen) != chosen:
            asked.pop("version", None)
        super().__init__(asked, label_suffix="")
        self.deployments = deployments
        names = sorted(((str(pk), name) for pk, name in deployments.items()), key=lambda o: o[1])
        self._offer("deployment", [("", _("All")), *names])
        self._offer("arm", [("", _("All calls")), *Figures.Arm.choices])
        self._offer("version", [("", _("All")), *self._versions(chosen)])

    def clean(self) -> dict[str, Any]:
        data: dict[str, Any] = self.cleaned_data
        if data.get("range") == "custom" and not self.errors:
            self._check_days(data["since"], data["until"])
        return data

    def selection(self) -> Selection:
        """
        What a valid form asks for.
        """
        data = self.cleaned_data
        pk, version = data["deployment"], data["version"]
        return Selection(
            deployments=[int(pk)] if pk else [*self.deployments],
            period=self._period(),
            version=int(version) if version else None,
            arm=data["arm"],
            group_by=data["group_by"],
        )

    def _period(self) -> Period:
        data = self.cleaned_data
        if data["range"] == "custom":
            return between_days(data["since"], data["until"])
        return last_hours(24) if data["range"] == "24h" else last_days(int(data["range"][:-1]))

    def _check_days(self, since: Any, until: Any) -> None:
        for name, value in (("since", since), ("until", until)):
            if value is None:
                self.add_error(name, _("Choose a day."))
        if since is None or until is None:
            return
        if since.year < FIRST_YEAR:
            self.add_error("since", _("That is too long ago."))
        elif since > until:
            self.add_error("until", _("This is before the first day."))
        elif since > timezone.localdate():
            self.add_error("since", _("This day is yet to come."))
        elif until - since >= timedelta(days=KEPT_DAYS):
            text = _("At most %d days can be shown.") % KEPT_DAYS
            self.add_error("until", text)

    def _versions(self, chosen: str) -> list[tuple[str, str]]:
        if not chosen.isdecimal() or int(chosen) not in self.deployments:
            return []
        numbers = (
            DeploymentVersion.objects.filter(deployment=int(chosen))
            .order_by("-number")
            .values_list("number", flat=True)[:VERSIONS_SHOWN]
        )
        return [(str(number), f"v{number}") for number in numbers]

    def _offer(self, name: str, choices: list[tuple[str, Any]]) -> None:
        field = self.fields[name]
        assert isinstance(field, forms.ChoiceField)  # noqa: S101 - for the type checker
        field.choices = choices
