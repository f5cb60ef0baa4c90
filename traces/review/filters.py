"""
Which runs a queue is filled with: the parameters of the traces list's address, kept as JSON.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from django import forms
from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _

from feedback.models import Feedback, FeedbackKey
from runnables.models import Figures
from traces.models import State, Trace
from traces.viewers import Viewer

RANGES = {
    "1h": timedelta(hours=1),
    "24h": timedelta(hours=24),
    "7d": timedelta(days=7),
    "30d": timedelta(days=30),
}
PROBLEMS = "problems"
STATES = {PROBLEMS: [State.FAILED, State.TIMED_OUT, State.LOST]}
# How the list is looked at, and not what is in it.
IGNORED = frozenset({"sort", "before", "after", "page", "cursor", "node"})
LONGEST = 1000


def _choices(names: Any) -> list[tuple[str, str]]:
    return [(str(name), str(name)) for name in names]


class FilterForm(forms.Form):
    """
    Everything is optional.
    """

    deployment = forms.CharField(max_length=200)
    version = forms.IntegerField(min_value=0, max_value=2_147_483_647)
    arm = forms.ChoiceField(choices=Figures.Arm.choices)
    state = forms.ChoiceField(choices=[(PROBLEMS, PROBLEMS), *State.choices])
    range = forms.ChoiceField(choices=_choices(RANGES))
    since = forms.DateTimeField()
    until = forms.DateTimeField()
    # The list says seconds, programs say milliseconds.
    slower = forms.FloatField(min_value=0, max_value=1e9)
    min_ms = forms.FloatField(min_value=0, max_value=1e12)
    feedback = forms.ChoiceField(choices=_choices(["any", "none", "negative", "positive"]))
    error = forms.CharField(max_length=200)
    user = forms.CharField(max_length=254)
    thread = forms.CharField(max_length=200)
    tag = forms.CharField(max_length=200)
    door = forms.CharField(max_length=20)
    q = forms.CharField(max_length=200)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for field in self.fields.values():
            field.required = False


def parsed(address: str) -> dict[str, str]:
    """
    The filter in an address of the traces list, or in what follows its question mark;
    ValidationError says what is wrong with it.
    """
    text = address.strip()
    query = urlsplit(text).query if "?" in text else text
    try:
        pairs = parse_qsl(query, strict_parsing=bool(query), max_num_fields=40)
    except ValueError:
        raise ValidationError(
            _("Write it as in the address of the traces list: deployment=qa&state=failed.")
        ) from None
    found = {name: value for name, value in pairs if name not in IGNORED and value}
    check(found)
    return found


def check(values: dict[str, Any]) -> None:
    """
    ValidationError for what is no filter.
    """
    if unknown := sorted(set(values) - set(FilterForm.base_fields)):
        known = ", ".join(FilterForm.base_fields)
        raise ValidationError(
            _("There is no filter “%(name)s”. There are: %(known)s.")
            % {"name": unknown[0][:50], "known": known}
        )
    form = FilterForm(values)
    if not form.is_valid():
        name, errors = next(iter(form.errors.items()))
        raise ValidationError(f"{name}: {errors[0]}")


def as_query(values: dict[str, Any]) -> str:
    return urlencode(values)


def matching(values: dict[str, Any], viewer: Viewer) -> QuerySet[Trace]:
    """
    The traces that this viewer sees and the filter lets through.
    """
    form = FilterForm(values)
    if not form.is_valid():  # a row that was written by other hands
        return Trace.objects.none()
    wanted = {name: value for name, value in form.cleaned_data.items() if value not in (None, "")}
    found = viewer.traces().filter(*_conditions(wanted))
    if "q" in wanted:
        found = found.filter(_text(wanted["q"], viewer))
    if "feedback" in wanted:
        found = _with_feedback(found, wanted["feedback"])
    return found


def _conditions(wanted: dict[str, Any]) -> list[Q]:
    now = timezone.now()
    username = get_user_model().USERNAME_FIELD
    makers: dict[str, Any] = {
        "deployment": lambda name: Q(deployment_name=name),
        "version": lambda number: Q(version=number),
        "arm": lambda arm: Q(arm=arm),
        "state": lambda state: Q(state__in=STATES.get(state, [state])),
        "range": lambda span: Q(started_at__gte=now - RANGES[span]),
        "since": lambda moment: Q(started_at__gte=moment),
        "until": lambda moment: Q(started_at__lt=moment),
        "slower": lambda seconds: Q(duration_ms__gte=seconds * 1000),
        "min_ms": lambda ms: Q(duration_ms__gte=ms),
        "error": lambda name: Q(error_class__icontains=name),
        "user": lambda name: Q(**{f"user__{username}": name}),
        "thread": lambda thread: Q(thread=thread),
        "tag": lambda tag: Q(tags__contains=_as_json(tag)),
        "door": lambda door: Q(endpoint=door),
    }
    return [makers[name](value) for name, value in wanted.items() if name in makers]


def _as_json(tag: str) -> str:
    return '"' + tag.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _text(text: str, viewer: Viewer) -> Q:
    """
    Payloads are searched only where the viewer may read them: a hit would tell of them.
    """
    name = Q(name__icontains=text)
    payload = Q(input__icontains=text) | Q(output__icontains=text)
    if viewer.user.is_superuser:
        return name | payload
    readable = Q(deployment__in=viewer.deployments_with("see_payloads"))
    return name | (payload & (readable | Q(principal=viewer.principal)))


def _with_feedback(found: QuerySet[Trace], which: str) -> QuerySet[Trace]:
    said = Feedback.objects.filter(trace_id=OuterRef("pk"))
    if which == "none":
        return found.filter(~Exists(said))
    if which == "any":
        return found.filter(Exists(said))
    return found.filter(Exists(said.filter(_judging(is_good=which == "positive"))))


def _judging(*, is_good: bool) -> Q:
    """
    Scores on this side of the middle of their key's scale.
    """
    compare = "score__gt" if is_good else "score__lt"
    scales = FeedbackKey.objects.filter(kind=FeedbackKey.Kind.SCALE)
    middles = {key.key: (key.lowest + key.highest) / 2 for key in scales}
    found = ~Q(key__in=middles) & Q(**{compare: 0.5})
    for key, middle in middles.items():
        found |= Q(key=key, **{compare: middle})
    return found
