"""
Which traces a list shows, as its address says: `?deployment=qa&state=failed`. What is not
understood is left out, and the page says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from urllib.parse import urlencode

import orjson
from django import forms
from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from feedback.models import FeedbackKey
from runnables.models import Figures
from traces.models import State, Trace
from traces.pages.marks import visible_feedback
from traces.viewers import Viewer

RANGES = {
    "1h": (timedelta(hours=1), gettext_lazy("Last hour")),
    "24h": (timedelta(hours=24), gettext_lazy("Last 24 hours")),
    "7d": (timedelta(days=7), gettext_lazy("Last 7 days")),
    "30d": (timedelta(days=30), gettext_lazy("Last 30 days")),
}
PROBLEMS = (State.FAILED, State.TIMED_OUT, State.LOST)
DOORS = (
    *("invoke", "batch", "stream", "stream_log", "stream_events"),
    *("astream_events", "ws"),
)
# Years that every database and time zone can tell.
YEARS = range(1970, 9000)


def _in_our_years(moment: datetime) -> None:
    if moment.year not in YEARS:
        raise ValidationError(_("No such time."))


def _number() -> forms.TextInput:
    # A field of type number would lose what is not one, before the page could say so.
    return forms.TextInput(attrs={"inputmode": "decimal"})


class MomentInput(forms.DateTimeInput):
    """
    Browsers complain of a value in any format but their own.
    """

    input_type = "datetime-local"

    def format_value(self, value: Any) -> str | None:
        try:
            moment = forms.DateTimeField().to_python(value)
            return moment.strftime("%Y-%m-%dT%H:%M") if moment else None
        except (ValidationError, ValueError, OverflowError):
            return None


class Moment(forms.DateTimeField):
    widget = MomentInput
    default_validators = [_in_our_years]


class FilterForm(forms.Form):
    """
    Everything is optional. Names are those in the address.
    """

    q = forms.CharField(
        label=gettext_lazy("Text"),
        max_length=200,
        widget=forms.TextInput(
            attrs={"type": "search", "placeholder": gettext_lazy("Text in names, inputs, outputs")}
        ),
    )
    deployment = forms.CharField(
        label=gettext_lazy("Deployment"), max_length=200, widget=forms.Select()
    )
    state = forms.ChoiceField(
        label=gettext_lazy("State"),
        choices=[
            ("", gettext_lazy("Any")),
            ("problems", gettext_lazy("Failed, timed out or lost")),
            *State.choices,
        ],
    )
    range = forms.ChoiceField(
        label=gettext_lazy("Time"),
        choices=[
            ("", gettext_lazy("Any")),
            *((name, label) for name, (_span, label) in RANGES.items()),
        ],
    )
    since = Moment(label=gettext_lazy("From"))
    until = Moment(label=gettext_lazy("Until"))
    version = forms.IntegerField(
        label=gettext_lazy("Version"), min_value=0, max_value=2_147_483_647, widget=_number()
    )
    arm = forms.ChoiceField(
        label=gettext_lazy("Arm"), choices=[("", gettext_lazy("Any")), *Figures.Arm.choices]
    )
    door = forms.ChoiceField(
        label=gettext_lazy("Door"),
        choices=[("", gettext_lazy("Any")), *((door, door) for door in DOORS)],
    )
    slower = forms.FloatField(
        label=gettext_lazy("Slower than, seconds"), min_value=0, max_value=1e9, widget=_number()
    )
    feedback = forms.ChoiceField(
        label=gettext_lazy("Feedback"),
        choices=[
            ("", gettext_lazy("With or without")),
            ("any", gettext_lazy("Any feedback")),
            ("negative", gettext_lazy("Negative")),
            ("positive", gettext_lazy("Positive")),
        ],
    )
    error = forms.CharField(
        label=gettext_lazy("Error class"),
        max_length=200,
        widget=forms.TextInput(attrs={"list": "error-classes"}),
    )
    user = forms.CharField(label=gettext_lazy("User"), max_length=254)
    thread = forms.CharField(label=gettext_lazy("Thread"), max_length=200)
    tag = forms.CharField(label=gettext_lazy("Tag"), max_length=200)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for field in self.fields.values():
            field.required = False


# Seen at once; the others under "More filters".
FIRST = ("q", "deployment", "state", "range")


class Chip(NamedTuple):
    """
    A filter in words, and the address without it.
    """

    name: str
    value: str
    query: str


class Filters:
    """
    The filters of one address, for one viewer.
    """

    def __init__(self, data: Any, viewer: Viewer) -> None:
        self.viewer = viewer
        self.form = FilterForm(data, auto_id="filter-%s")
        self.form.is_valid()
        self.values: dict[str, Any] = {
            name: value for name, value in self.form.cleaned_data.items() if value not in (None, "")
        }
        # As they were sent: what another address of this list repeats.
        self.sent = {name: data[name] for name in self.form.fields if name in self.values}

    @property
    def start(self) -> datetime | None:
        """
        When the shown time begins; None if it has no beginning.
        """
        spans = [self.values["since"]] if "since" in self.values else []
        if "range" in self.values:
            spans.append(timezone.now() - RANGES[self.values["range"]][0])
        return max(spans, default=None)

    @property
    def end(self) -> datetime | None:
        return self.values.get("until")

    def traces(self) -> QuerySet[Trace]:
        """
        Those that the viewer may see and that fit, in no order.
        """
        found = self.viewer.traces().order_by()
        if self.start:
            found = found.filter(started_at__gte=self.start)
        for name, value in self.values.items():
            if condition := _CONDITIONS.get(name):
                found = found.filter(condition(value, self.viewer))
        return found

    def query(self, **more: str) -> str:
        """
        The address of this list, with these besides.
        """
        return urlencode({**self.sent, **{name: text for name, text in more.items() if text}})

    def chips(self, **more: str) -> list[Chip]:
        return [
            Chip(str(self.form.fields[name].label), self._told(name), self._without(name, more))
            for name in self.sent
        ]

    def problems(self) -> list[tuple[str, str]]:
        """
        What was not understood: the filter, and why.
        """
        return [
            (str(self.form.fields[name].label), " ".join(map(str, errors)))
            for name, errors in self.form.errors.items()
        ]

    def offer(self, deployments: Iterable[str]) -> None:
        names = {*deployments, *filter(None, [self.values.get("deployment")])}
        widget: Any = self.form.fields["deployment"].widget
        widget.choices = [("", _("All")), *((name, name) for name in sorted(names))]

    @property
    def first(self) -> list[Any]:
        return [self.form[name] for name in FIRST]

    @property
    def more(self) -> list[Any]:
        return [self.form[name] for name in self.form.fields if name not in FIRST]

    @property
    def shows_more(self) -> bool:
        return bool({*self.sent, *self.form.errors} - {*FIRST})

    def _without(self, name: str, more: dict[str, str]) -> str:
        return urlencode({**{k: v for k, v in self.sent.items() if k != name}, **more})

    def _told(self, name: str) -> str:
        choices = getattr(self.form.fields[name], "choices", ())
        labels = {str(value): str(label) for value, label in choices}
        sent = str(self.sent[name])
        return labels.get(sent, sent)


def _text(text: str, viewer: Viewer) -> Q:
    """
    Payloads are searched only where they may be seen: else the search would tell of them.
    """
    in_json = orjson.dumps(text).decode()[1:-1]
    found = Q(input_preview__icontains=text) | Q(output_preview__icontains=text)
    found |= Q(input__icontains=in_json) | Q(output__icontains=in_json)
    found |= Q(error__icontains=text)
    return Q(name__icontains=text) | (found & _payloads_seen(viewer))


def _payloads_seen(viewer: Viewer) -> Q:
    if viewer.user.is_superuser:
        return Q()
    seen = Q(deployment__in=viewer.deployments_with("see_payloads"))
    return seen | Q(principal=viewer.principal)


def _state(state: str, viewer: Viewer) -> Q:
    return Q(state__in=PROBLEMS) if state == "problems" else Q(state=state)


def _feedback(wanted: str, viewer: Viewer) -> Q:
    found = visible_feedback(viewer).filter(trace_id=OuterRef("pk")).order_by()
    if wanted == "any":
        return Q(Exists(found))
    side = "lt" if wanted == "negative" else "gt"
    return Q(Exists(found.filter(_beyond_the_middle(side))))


def _beyond_the_middle(side: str) -> Q:
    """
    Scores below ("lt") or above ("gt") the middle of their key's scale; others are from 0 to 1.
    """
    scales = [
        (key, (lowest + highest) / 2)
        for key, lowest, highest in FeedbackKey.objects.filter(
            kind=FeedbackKey.Kind.SCALE
        ).values_list("key", "lowest", "highest")
    ]
    found = Q(**{f"score__{side}": 0.5}) & ~Q(key__in=[key for key, _middle in scales])
    for key, middle in scales:
        found |= Q(**{"key": key, f"score__{side}": middle})
    return found


def _user(name: str, viewer: Viewer) -> Q:
    return Q(**{f"user__{get_user_model().USERNAME_FIELD}": name})


_CONDITIONS: dict[str, Callable[[Any, Viewer], Q]] = {
    "q": _text,
    "deployment": lambda name, viewer: Q(deployment_name=name),
    "state": _state,
    "since": lambda moment, viewer: Q(started_at__gte=moment),
    "until": lambda moment, viewer: Q(started_at__lte=moment),
    "version": lambda number, viewer: Q(version=number),
    "arm": lambda arm, viewer: Q(arm=arm),
    "door": lambda door, viewer: Q(endpoint=door),
    "slower": lambda seconds, viewer: Q(duration_ms__gt=seconds * 1000),
    "feedback": _feedback,
    "error": lambda name, viewer: Q(error_class=name),
    "user": _user,
    "thread": lambda thread, viewer: Q(thread=thread),
    # Whole tags: with their quotes, as the column has them.
    "tag": lambda tag, viewer: Q(tags__contains=orjson.dumps(tag).decode()),
}
