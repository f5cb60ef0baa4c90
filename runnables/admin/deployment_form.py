"""
The form of a deployment: its row, its endpoints as switches, its rights as a matrix, and
what keeps two people from overwriting each other.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from django import forms
from django.utils.translation import gettext_lazy as _

from runnables import changes, deployments, rights
from runnables.admin.endpoint_switches import EndpointsField
from runnables.admin.overviews import calls_by_endpoint
from runnables.admin.rights_field import RightsField
from runnables.exceptions import NotPermitted
from runnables.models import AuditEntry, Deployment
from runnables.permissions import NOTHING

if TYPE_CHECKING:
    DeploymentModelForm = forms.ModelForm[Deployment]
else:
    DeploymentModelForm = forms.ModelForm

OVER_LIMIT = _("Callers beyond it get 429 with Retry-After. Empty: no limit.")
# Where the model's own words do not say what callers get.
HELP = {
    "path": _("Where it is served, without slashes at the ends. Callers of the old path get 404."),
    "listed": _(
        "Those who may not call it learn that it exists: they get 401 or 403. Otherwise 404."
    ),
    "is_enabled": _("Off: every call gets 404 at once; runs that go on are stopped."),
    "in_maintenance": _(
        "Calls get 503 with the message and Retry-After; runs that go on come to their end."
    ),
    "maintenance_retry_after": _("The Retry-After that callers get."),
    "timeout": _("A longer run is stopped, and its caller gets 504."),
    "max_queued_runs": _("Where runs at a time are limited. Beyond it: 429 with Retry-After."),
    "requests_per_minute": OVER_LIMIT,
    "anonymous_requests_per_minute": OVER_LIMIT,
    "daily_quota": _(
        "Counted exactly; a batch counts each input. Beyond it: 429 with Retry-After until midnight UTC. Empty: no limit."
    ),
    "max_batch_size": _("A batch of more inputs gets 422."),
    "batch_concurrency": _("The other inputs of a batch wait their turn."),
    "max_input_bytes": _(
        "A larger body gets 413. Empty: the site's default, which is larger where files are uploaded."
    ),
    "max_recursion": _(
        "A caller who asks for more gets 422; without asking, at most this. Empty: 1000."
    ),
    "error_detail": _("Of failures inside the runnable. Callers always get the run id."),
    "degraded_error_percent": _("Of the calls of 24 hours. Only the status shown here changes."),
    "degraded_p95_seconds": _("19 of 20 calls are faster than the p95. Empty: never."),
    "include_callback_events": _("Answers of invoke, batch and stream tell of every step inside."),
    "stream_log_name_allow_list": _(
        'Steps that stream_log tells of: a list such as ["answer"]. Empty: all of them.'
    ),
    "playground_type": _("Chat needs a runnable that takes messages."),
    "astream_events_version": _("v2 unless callers ask for the old one."),
}


@dataclass(frozen=True, slots=True)
class Conflict:
    """
    A field that is now otherwise than this form would have it.
    """

    label: str
    theirs: str
    mine: str


class NamesField(forms.JSONField):
    """
    A list of texts as JSON, where an empty field is "not set".
    """

    def prepare_value(self, value: Any) -> Any:
        return "" if value is None else super().prepare_value(value)

    def has_changed(self, initial: Any, data: Any) -> bool:
        try:
            return bool(self.to_python(data) != initial)
        except forms.ValidationError:
            return True


class DeploymentForm(DeploymentModelForm):
    # What was the latest when the page was opened: the row's save, and its history.
    opened_at = forms.CharField(required=False, widget=forms.HiddenInput)
    last_entry = forms.IntegerField(required=False, widget=forms.HiddenInput)
    endpoints = EndpointsField()
    rights = RightsField()
    stream_log_name_allow_list = NamesField(
        required=False,
        label=_("stream log name allow-list"),
        widget=forms.Textarea(attrs={"rows": 2, "class": "vLargeTextField"}),
    )

    # Who is saving; set on the class that is made for a request.
    actor: Any = None

    class Meta:
        model = Deployment
        exclude = ("name", "version")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.before = changes.values_of(self.instance)
        self.rights_before = rights.rights_of(self.instance)
        self.conflicts: list[Conflict] = []
        self.meanwhile: list[AuditEntry] = []
        self.initial["rights"] = self.rights_before
        self.initial["opened_at"] = self._saved_at
        self.entries = AuditEntry.objects.filter(deployment=self.instance)
        self.initial["last_entry"] = lambda: self.entries.values_list("pk", flat=True).first()
        switches: Any = self.fields["endpoints"].widget
        switches.calls = partial(calls_by_endpoint, self.instance)
        for name, text in HELP.items():
            if name in self.fields:
                self.fields[name].help_text = text

    @property
    def _saved_at(self) -> str:
        at = self.before["updated_at"]
        return at.isoformat() if at else ""

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        if "rights" in cleaned:
            try:
                deployments.check_publishing(self.rights_before, cleaned["rights"], by=self.actor)
            except NotPermitted as error:
                self.add_error("rights", error.message)
        if cleaned.get("opened_at") != self._saved_at:
            self._note_conflicts(cleaned)
        return cleaned

    def _note_conflicts(self, cleaned: dict[str, Any]) -> None:
        """
        Refuse to save over what somebody else saved meanwhile, once: the form that comes
        back with both knows of it.
        """
        self.conflicts = [*self._differing_columns(cleaned), *self._differing_rights(cleaned)]
        if not self.conflicts:
            return
        data: Any = self.data.copy()  # type: ignore[attr-defined]
        data[self.add_prefix("opened_at")] = self._saved_at
        self.data = data
        self.meanwhile = list(self.entries.filter(pk__gt=cleaned.get("last_entry") or 0)[:5])
        self.add_error(
            None,
            _("Somebody else saved this deployment meanwhile. Nothing of yours is saved yet."),
        )

    def _differing_columns(self, cleaned: dict[str, Any]) -> list[Conflict]:
        return [
            Conflict(
                str(self.fields[name].label),
                changes.shown(name, self.before[name]),
                changes.shown(name, cleaned[name]),
            )
            for name in cleaned
            if name in self.before and cleaned[name] != self.before[name]
        ]

    def _differing_rights(self, cleaned: dict[str, Any]) -> list[Conflict]:
        mine, theirs = cleaned.get("rights"), self.rights_before
        if mine is None:
            return []
        rows = [
            row
            for row in {**theirs, **mine}
            if (theirs.get(row) or None) != (mine.get(row) or None)
        ]
        names = rights.named(rows)
        return [
            Conflict(
                str(_("Rights: %(audience)s")) % {"audience": names.get(row, row)},
                rights.in_words(theirs.get(row, NOTHING)) or str(_("nothing")),
                rights.in_words(mine.get(row, NOTHING)) or str(_("nothing")),
            )
            for row in rows
        ]
