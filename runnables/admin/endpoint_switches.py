"""
The fifteen switches of a deployment's endpoints: each with what it does, and how much it
was used.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from runnables.registry import ENDPOINTS

# What breaks when it is off, in a line.
EFFECTS = {
    "invoke": _("One call, one answer. Off: programs that wait for whole answers get 404."),
    "batch": _("Many inputs in one call. Off: clients' batch() and abatch() get 404."),
    "stream": _("Answers as they come. Off: the playground cannot stream, clients get 404."),
    "stream_log": _("Every step as a log. Off: clients' astream_log() gets 404."),
    "stream_events": _("Events of every step. Off: clients' astream_events() gets 404."),
    "websocket": _("Runs over one open socket. Off: new runs over it are refused."),
    "playground": _("The page to try it by hand. Off: the page is 404."),
    "chat": _("The chat page. Off: the page is 404."),
    "feedback": _("Callers rate answers. Off: scores are refused."),
    "token_feedback": _("Whoever holds a run's token rates it. Off: such links are dead."),
    "public_trace_link": _("Callers share a run by link. Off: no new links are made."),
    "input_schema": _("What it takes. Off: clients and pages cannot ask; calls still work."),
    "output_schema": _("What it gives. Off: clients cannot ask; calls still work."),
    "config_schema": _("What can be configured. Off: pages show no options."),
    "config_hashes": _("Config in the path, /c/…/. Off: shared playground links are 404."),
}
# Runs are counted, and nothing else is: of the others no number is known.
COUNTED = ("invoke", "batch", "stream", "stream_log", "stream_events")


class EndpointSwitches(forms.CheckboxSelectMultiple):
    template_name = "admin/langserve/deployment/endpoint_switches.html"

    # Asked when the switches are drawn, not when they are sent.
    calls: Callable[[], Mapping[str, int]] = dict

    def get_context(self, name: str, value: Any, attrs: Any) -> dict[str, Any]:
        context = super().get_context(name, value, attrs)
        calls = self.calls()
        options = [
            option for _group, some, _index in context["widget"]["optgroups"] for option in some
        ]
        for option in options:
            endpoint = str(option["value"])
            option["effect"] = EFFECTS[endpoint]
            option["is_counted"] = endpoint in COUNTED
            option["calls"] = calls.get(endpoint, 0)
        context["widget"]["options"] = options
        return context


class EndpointsField(forms.MultipleChoiceField):
    """
    The JSON list of the endpoints switched on, in their usual order.
    """

    widget = EndpointSwitches

    def __init__(self, **options: Any) -> None:
        options = {"required": False, "label": _("switched on"), **options}
        super().__init__(choices=[(name, name) for name in ENDPOINTS], **options)

    def clean(self, value: Any) -> list[str]:
        chosen = super().clean(value)
        return [name for name in ENDPOINTS if name in chosen]
