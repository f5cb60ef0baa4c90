"""
What somebody who shares a trace is asked.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta
from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from feedback import links
from feedback.models import TraceLink
from runnables.conf import conf

Part = TraceLink.Part
LIVES = (1, 7, 30)
CUSTOM = "custom"
NEVER = "never"
MOST_DAYS = 3650

LABELS = {
    Part.PAYLOADS.value: _("Inputs and outputs"),
    Part.STEPS.value: _("Steps"),
    Part.METADATA.value: _("Metadata and tags"),
    Part.FEEDBACK.value: _("Feedback: scores, without names"),
}


class ShareForm(forms.Form):
    """
    Parts, expiry and name; `lives` is left in the cleaned data.
    """

    parts = forms.MultipleChoiceField(
        label=_("What it shows"),
        choices=list(LABELS.items()),
        required=False,
        widget=forms.CheckboxSelectMultiple,
        help_text=_("Times, models, tokens and cost are always shown; names of people never are."),
    )
    life = forms.ChoiceField(label=_("Opens for"))
    days = forms.IntegerField(
        label=_("Days"),
        required=False,
        min_value=1,
        help_text=_("Where you chose another number of days."),
    )
    name = forms.CharField(
        label=_("Name"),
        required=False,
        max_length=links.LONGEST_NAME,
        help_text=_(
            "Only you and staff read it. One name is one link: another name makes another."
        ),
    )

    def __init__(
        self, *, sees_payloads: bool, data: Any = None, parts: Collection[str] = links.USUAL_PARTS
    ) -> None:
        super().__init__(data)
        fields: Any = self.fields
        if not sees_payloads:
            labels = [(part, label) for part, label in LABELS.items() if part != Part.PAYLOADS]
            fields["parts"].choices = labels
        fields["parts"].initial = [
            part for part, _label in fields["parts"].choices if part in parts
        ]
        fields["life"].choices = life_choices()
        fields["life"].initial = usual_life()
        fields["days"].max_value = _most_days()
        fields["days"].widget.attrs.update(min=1, max=_most_days(), inputmode="numeric")

    def clean(self) -> dict[str, Any]:
        data = self.cleaned_data
        life, days = data.get("life"), data.get("days")
        if life == CUSTOM and days is None and "days" not in self.errors:
            self.add_error("days", _("Say how many days."))
        if life == CUSTOM and days is not None and days > _most_days():
            text = ngettext("At most %d day.", "At most %d days.", _most_days()) % _most_days()
            self.add_error("days", text)
        if life and not self.errors:
            data["lives"] = _lives(life, days)
        return data

    @property
    def chosen_parts(self) -> list[str]:
        """
        What a preview shows: of a form that was sent even if something else in it is wrong.
        """
        if not self.is_bound:
            chosen: list[str] = self.fields["parts"].initial
            return chosen
        return list(self.cleaned_data.get("parts", [])) if hasattr(self, "cleaned_data") else []


def _lives(life: str, days: int | None) -> timedelta | None:
    if life == NEVER:
        return None
    return timedelta(days=days if life == CUSTOM and days else int(life))


def life_choices() -> list[tuple[str, Any]]:
    most = _most_days()
    fixed = sorted({days for days in (*LIVES, conf.trace_link_days or 1) if 0 < days <= most})
    choices: list[tuple[str, Any]] = [
        (str(days), ngettext("%d day", "%d days", days) % days) for days in fixed
    ]
    choices.append((CUSTOM, _("Another number of days")))
    return (
        choices
        if conf.trace_link_max_days is not None
        else [*choices, (NEVER, _("Ever, until revoked"))]
    )


def usual_life() -> str:
    values = [value for value, _label in life_choices()]
    wanted = NEVER if conf.trace_link_days is None else str(conf.trace_link_days)
    return wanted if wanted in values else values[0]


def _most_days() -> int:
    return MOST_DAYS if conf.trace_link_max_days is None else conf.trace_link_max_days
