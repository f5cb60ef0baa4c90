"""
The controls of a review: for each key of the queue one, by its kind, with a comment and a
correction where the key takes them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from django import forms
from django.utils.translation import gettext as _

from feedback.answers import Answer
from feedback.models import Feedback, FeedbackKey

MOST_STEPS = 11
LONGEST = 10_000
Kind = FeedbackKey.Kind


@dataclass(frozen=True, slots=True)
class Choice:
    """
    One answer to choose. `digit` is the key that does, or empty.
    """

    value: str
    label: str
    digit: str
    is_chosen: bool


class AnswerForm(forms.Form):
    """
    What is asked under one key; empty fields say nothing.
    """

    def __init__(self, key: FeedbackKey, said: Feedback | None, data: Any = None) -> None:
        super().__init__(data, prefix=f"key-{key.pk}", initial=_initial(key, said))
        self.key = key
        self.options = options(key)
        self.fields["answer"] = self._answer_field()
        if key.takes_comment:
            self.fields["comment"] = forms.CharField(
                label=_("Comment"), required=False, max_length=LONGEST, widget=_area(1)
            )
        if key.takes_correction:
            self.fields["correction"] = forms.CharField(
                label=_("What it should have said"),
                required=False,
                max_length=LONGEST * 10,
                widget=_area(2),
            )

    def _answer_field(self) -> forms.Field:
        if self.key.kind == Kind.TEXT:
            return forms.CharField(required=False, max_length=LONGEST, widget=_area(2))
        if self.options:
            return forms.ChoiceField(
                required=False, choices=self.options, widget=forms.RadioSelect()
            )
        return forms.FloatField(
            required=False, min_value=self.key.lowest, max_value=self.key.highest
        )

    @property
    def field(self) -> forms.BoundField:
        return self["answer"]

    @property
    def comment(self) -> forms.BoundField | None:
        return self["comment"] if "comment" in self.fields else None

    @property
    def correction(self) -> forms.BoundField | None:
        return self["correction"] if "correction" in self.fields else None

    @property
    def choices(self) -> list[Choice]:
        chosen = str(self.field.value() or "")
        return [
            Choice(value, label, self._digit(value, number), value == chosen)
            for number, (value, label) in enumerate(self.options, start=1)
        ]

    def _digit(self, value: str, number: int) -> str:
        # On a scale the digit is the score itself.
        digit = value if self.key.kind == Kind.SCALE else str(number)
        return digit if len(digit) == 1 else ""

    @property
    def answer(self) -> Answer:
        data = self.cleaned_data
        given = data["answer"]
        is_score = self.key.kind in (Kind.THUMBS, Kind.SCALE)
        has_score = is_score and given not in (None, "")
        return Answer(
            score=float(given) if has_score else None,
            value=None if is_score else given or None,
            comment=data.get("comment", "").strip(),
            correction=_parsed(data.get("correction", "")),
        )


class ReviewForm:
    """
    The controls of all keys, with what the reviewer has said already.
    """

    def __init__(
        self, keys: list[FeedbackKey], said: Mapping[str, Feedback], data: Any = None
    ) -> None:
        self.forms = [AnswerForm(key, said.get(key.key), data) for key in keys]
        self.error = ""

    def is_valid(self) -> bool:
        # All of them are asked, so that each shows what is wrong with it.
        wrong = [form for form in self.forms if not form.is_valid()]
        if wrong:
            self.error = _("Nothing was saved. See what is wrong below.")
        elif all(answer.is_empty for answer in self.answers.values()):
            self.error = _("Nothing was saved: give an answer, or skip this run.")
        return not self.error

    @property
    def answers(self) -> dict[str, Answer]:
        return {form.key.key: form.answer for form in self.forms}


def options(key: FeedbackKey) -> list[tuple[str, str]]:
    """
    The answers to choose from, (value, label); none for a text or a scale without steps.
    """
    if key.kind == Kind.THUMBS:
        return [("1", _("Good")), ("0", _("Bad"))]
    if key.kind == Kind.CATEGORY:
        return [(str(name), str(name)) for name in key.categories if name]
    if key.kind == Kind.SCALE and _has_steps(key):
        lowest, highest = int(key.lowest), int(key.highest)
        return [(str(step), str(step)) for step in range(lowest, highest + 1)]
    return []


def _has_steps(key: FeedbackKey) -> bool:
    ends = (key.lowest, key.highest)
    if not all(math.isfinite(end) and end == int(end) for end in ends):
        return False
    return 0 < key.highest - key.lowest < MOST_STEPS


def _initial(key: FeedbackKey, said: Feedback | None) -> dict[str, Any]:
    if said is None:
        return {}
    answer: Any = said.value if said.score is None else said.score
    if isinstance(answer, float) and answer == int(answer):
        answer = str(int(answer))
    return {
        "answer": answer,
        "comment": said.comment,
        "correction": _written(said.correction),
    }


def _parsed(text: str) -> Any:
    """
    A correction as it is kept: JSON where somebody wrote an object or a list, else the text.
    """
    text = text.strip()
    if text[:1] in ("{", "["):
        try:
            return orjson.loads(text)
        except orjson.JSONDecodeError:
            return text
    return text or None


def _written(correction: Any) -> str:
    if correction is None:
        return ""
    if isinstance(correction, str):
        return correction
    return orjson.dumps(correction, option=orjson.OPT_INDENT_2).decode()


def _area(rows: int) -> forms.Textarea:
    return forms.Textarea(attrs={"rows": rows})
