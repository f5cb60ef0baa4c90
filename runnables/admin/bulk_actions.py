"""
What can be done to many deployments at once: each action with its form, and the function
of the core that does it to one. `runnables.admin.confirmation` asks and does it to all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django import forms
from django.contrib.auth.models import Group
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from runnables import deployments, trials
from runnables.models import Deployment
from runnables.registry import ENDPOINTS

FOR_STAFF = gettext_lazy("For staff, in the history and beside the status; callers get 404.")

# Does it to one deployment for a user, as the form says; why it did nothing, or an empty text.
Perform = Callable[[Deployment, dict[str, Any], Any], str]


class ReasonForm(forms.Form):
    reason = forms.CharField(
        label=gettext_lazy("Why"), max_length=200, required=False, help_text=FOR_STAFF
    )


class MaintenanceForm(forms.Form):
    message = forms.CharField(
        label=gettext_lazy("Message to callers"),
        max_length=300,
        required=False,
        widget=forms.TextInput(attrs={"class": "vTextField"}),
    )
    retry_after = forms.IntegerField(
        label=gettext_lazy("Try again after, in seconds"),
        min_value=1,
        max_value=2_147_483_647,
        initial=300,
        help_text=gettext_lazy("The Retry-After that callers get."),
    )


class EndpointsForm(forms.Form):
    endpoints = forms.MultipleChoiceField(
        label=gettext_lazy("Endpoints"),
        choices=[(name, name) for name in ENDPOINTS],
        widget=forms.CheckboxSelectMultiple,
        error_messages={"required": gettext_lazy("Choose at least one endpoint.")},
    )


class GroupsForm(forms.Form):
    groups = forms.ModelMultipleChoiceField(
        Group.objects.order_by("name"),
        label=gettext_lazy("Groups"),
        widget=forms.CheckboxSelectMultiple,
        error_messages={"required": gettext_lazy("Choose at least one group.")},
    )


@dataclass(frozen=True, slots=True)
class BulkAction:
    """
    `effect` says on the confirm page what it will do, `done` afterwards what it did.
    """

    name: str
    label: Any
    effect: Any
    perform: Perform
    form: type[forms.Form] = forms.Form
    is_stopping: bool = False


def _switch(on: bool) -> Perform:
    def perform(row: Deployment, chosen: dict[str, Any], by: Any) -> str:
        if row.is_enabled == on:
            return _("is on already") if on else _("is off already")
        deployments.switch(row, on=on, by=by, reason=chosen.get("reason", ""))
        return ""

    return perform


def _switch_endpoints(on: bool) -> Perform:
    def perform(row: Deployment, chosen: dict[str, Any], by: Any) -> str:
        wanted = [name for name in chosen["endpoints"] if (name in row.endpoints) != on]
        if not wanted:
            return _("has them on already") if on else _("has them off already")
        deployments.switch(row, on=on, by=by, endpoints=wanted)
        return ""

    return perform


def _begin_maintenance(row: Deployment, chosen: dict[str, Any], by: Any) -> str:
    deployments.set_maintenance(
        row, on=True, by=by, message=chosen["message"], retry_after=chosen["retry_after"]
    )
    return ""


def _end_maintenance(row: Deployment, chosen: dict[str, Any], by: Any) -> str:
    if not row.in_maintenance:
        return _("is not in maintenance")
    deployments.set_maintenance(row, on=False, by=by)
    return ""


def _add_groups(row: Deployment, chosen: dict[str, Any], by: Any) -> str:
    deployments.set_group_rights(row, chosen["groups"], grant=True, by=by)
    return ""


def _remove_groups(row: Deployment, chosen: dict[str, Any], by: Any) -> str:
    groups = list(chosen["groups"].filter(grant__deployment=row).distinct())
    if not groups:
        return _("gives them no rights")
    deployments.set_group_rights(row, groups, grant=False, by=by)
    return ""


def _stop_canary(row: Deployment, chosen: dict[str, Any], by: Any) -> str:
    try:
        trials.stop(row, by=by)
    except trials.NoCanary:
        return _("has no canary")
    return ""


BULK_ACTIONS = (
    BulkAction(
        "enable",
        gettext_lazy("Enable"),
        gettext_lazy("They answer calls again, at the endpoints that are on."),
        _switch(on=True),
    ),
    BulkAction(
        "disable",
        gettext_lazy("Disable"),
        gettext_lazy("All their endpoints answer 404 at once, and runs that go on are stopped."),
        _switch(on=False),
        ReasonForm,
        is_stopping=True,
    ),
    BulkAction(
        "begin_maintenance",
        gettext_lazy("Begin maintenance"),
        gettext_lazy(
            "Calls get 503 with Retry-After and the message; runs that go on come to their end."
        ),
        _begin_maintenance,
        MaintenanceForm,
        is_stopping=True,
    ),
    BulkAction(
        "end_maintenance",
        gettext_lazy("End maintenance"),
        gettext_lazy("They answer calls again."),
        _end_maintenance,
    ),
    BulkAction(
        "enable_endpoints",
        gettext_lazy("Enable endpoints"),
        gettext_lazy("The endpoints you choose answer again, wherever the deployment is enabled."),
        _switch_endpoints(on=True),
        EndpointsForm,
    ),
    BulkAction(
        "disable_endpoints",
        gettext_lazy("Disable endpoints"),
        gettext_lazy("The endpoints you choose answer 404 at once, and their runs are stopped."),
        _switch_endpoints(on=False),
        EndpointsForm,
        is_stopping=True,
    ),
    BulkAction(
        "add_groups",
        gettext_lazy("Add groups"),
        gettext_lazy(
            "Members of the groups may call them, open their pages and set configurable fields."
        ),
        _add_groups,
        GroupsForm,
    ),
    BulkAction(
        "remove_groups",
        gettext_lazy("Remove groups"),
        gettext_lazy(
            "The groups lose all their rights; their members keep what they have from elsewhere."
        ),
        _remove_groups,
        GroupsForm,
    ),
    BulkAction(
        "stop_canary",
        gettext_lazy("Stop canaries"),
        gettext_lazy("All callers are answered by the current version again."),
        _stop_canary,
    ),
)
