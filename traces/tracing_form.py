from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import orjson
from django import forms
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from runnables.conf import conf
from runnables.redaction import BadPattern, Redactor
from traces import encoding, patterns
from traces.models import Payloads, Tracing
from traces.rules import Rules
from traces.tracing import FIELDS

if TYPE_CHECKING:
    TracingModelForm = forms.ModelForm[Tracing]
else:  # Django's own class takes no subscript at run time.
    TracingModelForm = forms.ModelForm

MOST_KEYS, LONGEST_KEY = 200, 200
MOST_TRIED = 100_000


class LinesField(forms.CharField):
    """
    A list of texts, one a line.
    """

    widget = forms.Textarea

    def __init__(self, *, rows: int, **options: Any) -> None:
        attrs = {"rows": rows, "spellcheck": "false", "autocapitalize": "off"}
        super().__init__(required=False, strip=False, widget=forms.Textarea(attrs), **options)

    def prepare_value(self, value: Any) -> Any:
        return "\n".join(value) if isinstance(value, list) else value

    def to_python(self, value: Any) -> Any:
        return [line for line in (value or "").splitlines() if line.strip()]

    def has_changed(self, initial: Any, data: Any) -> bool:
        return bool((initial or []) != self.to_python(data))


class TracingForm(TracingModelForm):
    redact_keys = LinesField(
        label=gettext_lazy("redact what stands under"),
        help_text=gettext_lazy(
            "Names of keys, one a line, whatever their case. Names that look like a credential "
            "(password, api_key, accessToken…) always count."
        ),
        rows=3,
    )
    redact_patterns = LinesField(
        label=gettext_lazy("redact what matches"),
        help_text=gettext_lazy(
            "Regular expressions, one a line. Keys and tokens of well-known services always "
            "count. A pattern that is slow on text made to be bad for it is refused."
        ),
        rows=4,
    )

    class Meta:
        model = Tracing
        fields = FIELDS
        widgets: ClassVar = {"payloads": forms.RadioSelect}
        help_texts: ClassVar = {
            "payloads": gettext_lazy(
                "Full keeps what callers send as it is, their secrets included. With shape only, "
                "nobody can read what was said."
            ),
        }

    def __init__(self, *args: Any, may_change: bool = True, **options: Any) -> None:
        super().__init__(*args, **options)
        self.initial["sample_percent"] = f"{self.instance.sample_percent:g}"
        self.fields["sample_percent"].widget.attrs.update({"min": 0, "max": 100, "step": "any"})
        days = self.fields["days"]
        days.widget.attrs["min"] = 1
        days.help_text = _("Empty: as the site's settings say, which is %d.") % conf.trace_days
        for field in self.fields.values():
            field.disabled = not may_change

    def clean_redact_keys(self) -> list[str]:
        keys: list[str] = [key.strip() for key in self.cleaned_data["redact_keys"]]
        if len(keys) > MOST_KEYS or any(len(key) > LONGEST_KEY for key in keys):
            text = _("At most %(keys)d keys of %(length)d characters.")
            raise forms.ValidationError(text % {"keys": MOST_KEYS, "length": LONGEST_KEY})
        return keys

    def clean_redact_patterns(self) -> list[str]:
        given: list[str] = self.cleaned_data["redact_patterns"]
        try:
            patterns.check((), given)
        except BadPattern as error:
            raise forms.ValidationError(str(error)) from None
        return given


@dataclass(frozen=True, slots=True)
class Tried:
    """
    What would be kept of a text, or why that cannot be said.
    """

    kept: str = ""
    problem: str = ""


def try_out(data: Any) -> Tried:
    """
    What would be kept of the form's sample under what else stands in it, saved or not.
    """
    sample = data.get("sample", "")
    if len(sample) > MOST_TRIED:
        return Tried(problem=_("At most %d characters are tried.") % MOST_TRIED)
    if data.get("payloads") == Payloads.FULL:
        return Tried(sample)
    lines = LinesField(rows=1)
    keys = [key.strip() for key in lines.to_python(data.get("redact_keys"))]
    try:
        redactor = patterns.check(keys, lines.to_python(data.get("redact_patterns")))
    except BadPattern as error:
        return Tried(problem=str(error))
    if data.get("payloads") == Payloads.SHAPE:
        return Tried(encoding.shape(_parsed(sample), Rules(redactor=redactor)))
    return Tried(_redacted(sample, redactor))


def _parsed(sample: str) -> Any:
    try:
        return orjson.loads(sample)
    except orjson.JSONDecodeError:
        return sample


def _redacted(sample: str, redactor: Redactor) -> str:
    try:
        given = sample.encode()
        orjson.loads(given)
    except (orjson.JSONDecodeError, UnicodeEncodeError):
        return redactor.text(sample)
    kept = orjson.loads(redactor.json(given))
    try:
        return orjson.dumps(kept, option=orjson.OPT_INDENT_2).decode()
    except orjson.JSONEncodeError:  # nested too deep for that
        return redactor.text(sample)
