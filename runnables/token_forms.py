"""
What a new token is asked for: on its owner's page and in the admin.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from django import forms
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from runnables.scopes import DEPLOYMENT
from runnables.tokens import LONGEST_NAME, TokenRefused, check_token, longest_life

ACTION_LABELS = {
    "invoke": _("Invoke and batch"),
    "stream": _("Stream"),
    "threads": _("Threads"),
    "feedback": _("Feedback"),
    "admin": _("Administration"),
}
LIVES = (7, 30, 90, 365)
USUAL_LIFE = 90
NEVER = "never"


def life_choices() -> list[tuple[str, Any]]:
    """
    For how long a token may live here: days, and the most that the site allows.
    """
    longest = longest_life()
    days = [days for days in LIVES if longest is None or timedelta(days=days) <= longest]
    choices = [(str(count), ngettext("%d day", "%d days", count) % count) for count in days]
    if longest is None:
        return [*choices, (NEVER, _("Never"))]
    return choices or [("longest", _("As long as allowed"))]


def usual_life() -> str:
    values = [value for value, _label in life_choices()]
    return str(USUAL_LIFE) if str(USUAL_LIFE) in values else values[-1]


def expiry_of(life: str) -> datetime | None:
    if life == NEVER:
        return None
    longest = longest_life()
    span = longest if life == "longest" and longest else timedelta(days=int(life))
    return timezone.now() + span


class TokenFields(forms.Form):
    """
    Name, scopes and expiry. `clean` checks them all and leaves `scopes` and `expires`.
    """

    name = forms.CharField(
        label=_("Name"),
        max_length=LONGEST_NAME,
        help_text=_("What it is for, so that you know it again: “laptop”, “nightly report”."),
    )
    actions = forms.MultipleChoiceField(
        label=_("What it may do"),
        choices=list(ACTION_LABELS.items()),
        required=False,
        widget=forms.CheckboxSelectMultiple,
        help_text=_("Leave all unticked to allow everything that its user may do."),
    )
    deployments = forms.MultipleChoiceField(
        label=_("Where"),
        required=False,
        widget=forms.CheckboxSelectMultiple,
        help_text=_("Leave all unticked to allow every deployment, new ones included."),
    )
    life = forms.ChoiceField(label=_("Expires after"))

    def offer(self, deployments: Iterable[str]) -> None:
        """
        Fill in what is to choose from.
        """
        fields: Any = self.fields
        fields["deployments"].choices = [(name, name) for name in deployments]
        fields["life"].choices = life_choices()
        fields["life"].initial = usual_life()

    def clean_token(self, user: Any) -> None:
        """
        Check the whole; errors are put at their fields.
        """
        data = self.cleaned_data
        named = [f"{DEPLOYMENT}{name}" for name in data.get("deployments", ())]
        data["scopes"] = [*data.get("actions", ()), *named]
        data["expires"] = expiry_of(data["life"]) if "life" in data else None
        if self.errors:
            return
        try:
            check_token(
                user=user, expires=data["expires"], name=data["name"], scopes=data["scopes"]
            )
        except TokenRefused as error:
            places = {"scopes": "deployments", "expires": "life"}
            field = places.get(error.field or "", error.field)
            self.add_error(field if field in self.fields else None, str(error))


class TokenForm(TokenFields):
    """
    A user's own new token.
    """

    def __init__(self, user: Any, deployments: Iterable[str], data: Any = None) -> None:
        super().__init__(data)
        self.user = user
        self.fields["actions"].help_text = _(
            "Leave all unticked to allow everything that you may do."
        )
        self.offer(deployments)

    def clean(self) -> dict[str, Any]:
        self.clean_token(self.user)
        return self.cleaned_data
