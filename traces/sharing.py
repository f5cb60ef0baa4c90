"""
A trace as strangers see it: what was chosen at sharing and nothing else, without names, ids
and secrets, however it was kept.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

import orjson
from django.db.models import Avg, Count
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from feedback.models import Feedback, FeedbackKey, TraceLink
from runnables.config import SERVER_OWNED
from runnables.redaction import STANDARD, BadPattern, Redactor
from traces.models import Step, Trace, Tracing

Part = TraceLink.Part

# More is no reading for a stranger, and a page of it a burden to the site.
SHOWN_STEPS = 500
SHOWN_CHARACTERS = 64_000
SHOWN_STEP_CHARACTERS = 8_000
# Bytes of all steps' payloads on one page.
READ_BYTES = 4 * 1024 * 1024
DEEPEST = 8

# Of the run's metadata; the caller's own names for the same are theirs to choose.
_OF_PEOPLE = SERVER_OWNED | {
    *("user", "owner", "principal", "email", "run_id", "session_id", "thread_id", "trace_id"),
    *("feedback_tokens", "headers", "cookies", "request", "address", "ip"),
}


@dataclass(frozen=True, slots=True)
class Payload:
    """
    An input or output as text; `note` says why there is none, or not all of it.
    """

    title: str
    text: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class ShownStep:
    name: str
    kind: str
    state: str
    state_name: str
    duration: str
    model: str
    tokens: str
    depth: int
    # Of a bar in an SVG of 100: texts, for a locale's decimal comma is no number there.
    bar_start: str
    bar_width: str
    payloads: list[Payload] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Rating:
    title: str
    count: int
    average: str


@dataclass(frozen=True, slots=True)
class SharedTrace:
    """
    All that the page shows. Lists are None where their part was not chosen.
    """

    title: str
    state: str
    state_name: str
    started_at: datetime
    duration: str
    models: str
    tokens: str
    cost: str
    payloads: list[Payload] | None = None
    steps: list[ShownStep] | None = None
    steps_left_out: int = 0
    metadata: list[tuple[str, str]] | None = None
    tags: list[str] = field(default_factory=list)
    ratings: list[Rating] | None = None
    # Something was taken out that looks like a secret.
    hides_secrets: bool = False


def shared_trace(trace: Trace, parts: Collection[str]) -> SharedTrace:
    """
    The parts of the trace that are for everybody; a handful of queries.
    """
    sieve = Sieve(_redactor(trace))
    with_payloads = Part.PAYLOADS in parts
    steps = list(_steps(trace)) if Part.STEPS in parts else []
    texts = _payloads_of_steps(steps, sieve) if with_payloads else {}
    return SharedTrace(
        title=sieve.text(trace.name) or _("A run"),
        state=trace.state,
        state_name=trace.get_state_display(),
        started_at=trace.started_at,
        duration=duration(trace.duration_ms),
        models=", ".join(_models(trace, sieve)),
        tokens=_tokens(trace.input_tokens, trace.output_tokens),
        cost=_cost(trace.cost),
        payloads=_payloads(trace, sieve, SHOWN_CHARACTERS) if with_payloads else None,
        steps=_shown(trace, steps, texts, sieve) if Part.STEPS in parts else None,
        steps_left_out=max(0, trace.steps_count - len(steps)),
        metadata=_metadata(trace, sieve) if Part.METADATA in parts else None,
        tags=[sieve.text(tag) for tag in trace.tag_list] if Part.METADATA in parts else [],
        ratings=_ratings(trace) if Part.FEEDBACK in parts else None,
        hides_secrets=sieve.found,
    )


class Sieve:
    """
    Takes secrets out, and remembers whether there were any. Without a redactor (staff's own
    patterns cannot be used) no payload passes.
    """

    def __init__(self, redactor: Redactor | None) -> None:
        self._redactor = redactor
        self.found = False

    def text(self, text: str) -> str:
        """
        Names and the like: by the patterns alone.
        """
        clean: str = self._noted((self._redactor or STANDARD).text(text), text)
        return clean

    def plain(self, value: Any) -> Any:
        return self._noted((self._redactor or STANDARD).plain(value), value)

    def payload(self, title: str, data: str, shape: str, size: int, longest: int) -> Payload:
        if not data or self._redactor is None:
            return Payload(title, note=self.text(shape) or _("Not kept."))
        try:
            value = orjson.loads(data)
        except orjson.JSONDecodeError:
            # It was cut when it was kept: what stands under which name is not certain.
            return Payload(title, note=_("Too long to be shown (%s).") % _bytes(size))
        text = drawn(self.plain(value))
        if len(text) <= longest:
            return Payload(title, text)
        return Payload(title, text[:longest], _("The rest is left out (%s in all).") % _bytes(size))

    def error(self, text: str) -> str:
        return self.text(without_traceback(text))

    def _noted(self, clean: Any, given: Any) -> Any:
        self.found = self.found or clean != given
        return clean


def drawn(value: Any) -> str:
    """
    A text as it is, anything else as JSON for people.
    """
    if isinstance(value, str):
        return value
    return orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()


def without_traceback(text: str) -> str:
    """
    What the exception says: paths and code of the server are nobody else's business.
    """
    begins = text.find("Traceback (most recent call last)")
    if begins < 0:
        return text.strip()
    if before := text[:begins].strip():
        return before
    last = [line for line in text.splitlines() if line[:1].strip() and not line.startswith("Trac")]
    return last[-1].strip() if last else ""


def duration(milliseconds: float | None) -> str:
    """
    `850 ms`, `1.4 s`, `2 m 05 s`; empty while it runs.
    """
    if milliseconds is None:
        return ""
    if milliseconds < 1000:
        return _("%d ms") % milliseconds
    seconds = milliseconds / 1000
    if seconds < 60:
        return _("%.1f s") % seconds
    return _("%(minutes)d m %(seconds)02d s") % {"minutes": seconds // 60, "seconds": seconds % 60}


def _redactor(trace: Trace) -> Redactor | None:
    """
    By what the deployment says today: it may say more than when the trace was kept.
    """
    row = Tracing.objects.filter(deployment=trace.deployment_id).first()
    try:
        return Redactor(row.redact_keys, row.redact_patterns) if row else STANDARD
    except BadPattern:
        return None


def _steps(trace: Trace) -> Iterable[Step]:
    heavy = ("input", "output", "error", "metadata", "tags")
    return trace.steps.defer(*heavy).order_by("position")[:SHOWN_STEPS]


def _payloads_of_steps(steps: list[Step], sieve: Sieve) -> dict[Any, list[Payload]]:
    """
    Those of as many steps as fit into one page.
    """
    keys, left = [], READ_BYTES
    for step in steps:
        left -= step.input_size + step.output_size
        if left < 0:
            break
        keys.append(step.pk)
    rows = Step.objects.filter(pk__in=keys).defer("metadata", "tags")
    return {row.pk: _payloads(row, sieve, SHOWN_STEP_CHARACTERS) for row in rows}


def _payloads(row: Trace | Step, sieve: Sieve, longest: int) -> list[Payload]:
    given = (row.input, row.input_shape, row.input_size)
    found = [sieve.payload(_("Input"), *given, longest)]
    if row.output or not row.error:
        output = (row.output, row.output_shape, row.output_size)
        found.append(sieve.payload(_("Output"), *output, longest))
    if row.error:
        found.append(Payload(_("Error"), sieve.error(row.error)[:longest]))
    return found


def _shown(
    trace: Trace, steps: list[Step], texts: Mapping[Any, list[Payload]], sieve: Sieve
) -> list[ShownStep]:
    depths = {trace.pk: -1}
    longest = trace.duration_ms or max(
        (step.offset_ms + (step.duration_ms or 0) for step in steps), default=0
    )
    shown = []
    for step in steps:
        depths[step.pk] = min(depths.get(step.parent, -1) + 1, DEEPEST)
        start, width = _bar(step, longest)
        shown.append(
            ShownStep(
                name=sieve.text(step.name),
                kind=step.get_kind_display(),
                state=step.state,
                state_name=step.get_state_display(),
                duration=duration(step.duration_ms),
                model=sieve.text(step.model),
                tokens=_tokens(step.input_tokens, step.output_tokens),
                depth=depths[step.pk],
                bar_start=start,
                bar_width=width,
                payloads=texts.get(step.pk, []),
            )
        )
    return shown


def _bar(step: Step, longest: float) -> tuple[str, str]:
    if not longest:
        return "0", "100"
    start = min(max(step.offset_ms / longest * 100, 0), 99)
    width = min(max((step.duration_ms or 0) / longest * 100, 1), 100 - start)
    return f"{start:.2f}", f"{width:.2f}"


def _models(trace: Trace, sieve: Sieve) -> list[str]:
    names = trace.steps.exclude(model="").order_by("model").values_list("model", flat=True)
    return [sieve.text(name) for name in names.distinct()[:5]]


def _metadata(trace: Trace, sieve: Sieve) -> list[tuple[str, str]]:
    """
    What the caller and the site noted of the run, but for whose it is.
    """
    owner = trace.user
    theirs = {str(trace.pk), trace.principal, trace.thread}
    theirs |= {owner.get_username(), str(getattr(owner, "email", ""))} if owner else set()
    clean = sieve.plain(
        {name: value for name, value in trace.metadata_dict.items() if not _of_people(name)}
    )
    without = _without(clean, theirs - {""})
    return [(name, drawn(value)) for name, value in without.items()]


def _without(value: Any, texts: Collection[str]) -> Any:
    """
    The same dicts and lists, without entries of people and without these texts.
    """
    if isinstance(value, Mapping):
        return {
            name: _without(one, texts)
            for name, one in value.items()
            if not _of_people(name) and not _mentions(one, texts) and not _mentions(name, texts)
        }
    if isinstance(value, list):
        return [_without(one, texts) for one in value if not _mentions(one, texts)]
    return value


def _mentions(value: Any, texts: Collection[str]) -> bool:
    words = "|".join(rf"(?<!\w){re.escape(text)}(?!\w)" for text in texts)
    return bool(words) and isinstance(value, str) and re.search(words, value) is not None


def _of_people(name: Any) -> bool:
    return str(name).startswith("__") or str(name).lower() in _OF_PEOPLE


def _ratings(trace: Trace) -> list[Rating]:
    """
    How many said what, never who, nor in words of their own.
    """
    titles = dict(FeedbackKey.objects.values_list("key", "title"))
    said = Feedback.objects.filter(trace_id=trace.pk, score__isnull=False)
    rows = said.values("key").annotate(count=Count("pk"), average=Avg("score")).order_by("key")
    return [
        Rating(titles.get(row["key"]) or row["key"], row["count"], f"{row['average']:.4g}")
        for row in rows
    ]


def _tokens(given: int | None, said: int | None) -> str:
    if given is None and said is None:
        return ""
    return _("%(given)s in, %(said)s out") % {"given": given or 0, "said": said or 0}


def _cost(cost: Decimal | None) -> str:
    return "" if cost is None else f"{cost:.6f}".rstrip("0").rstrip(".") or "0"


def _bytes(size: int) -> str:
    if size < 1024:
        return ngettext("%d byte", "%d bytes", size) % size
    if size < 1024 * 1024:
        return _("%.1f KB") % (size / 1024)
    return _("%.1f MB") % (size / 1024 / 1024)
