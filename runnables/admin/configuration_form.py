"""
The form of what makes a version: fields from the runnable's own config schema, and one of
JSON for the whole. A stored secret is in neither.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.forms.boundfield import BoundField
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from runnables import versions
from runnables.config import looks_like_credential
from runnables.masking import NothingToKeep, holds_secret, masked, unmasked
from runnables.models import Deployment, DeploymentVersion
from runnables.registry import CONFIG_KEYS
from runnables.schema_forms import (
    UNSET,
    Described,
    JsonBox,
    LinesField,
    default_text,
    describe,
    entered,
    form_field,
    json_text,
    shown,
)

CONTENT = DeploymentVersion.CONTENT
Content = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Default:
    """
    One value that a version may have a default for: an id of `configurable`, or a key of
    the config beside it. `stored` has marks for secrets.
    """

    described: Described
    stored: Any
    is_id: bool
    is_secret: bool
    is_declared: bool = True

    @property
    def name(self) -> str:
        return self.described.name

    @property
    def field_name(self) -> str:
        # An id may be any text, and names of HTML's are to have no spaces.
        digest = hashlib.blake2b(self.name.encode(), digest_size=6).hexdigest()
        return f"{'id' if self.is_id else 'key'}-{digest}"

    @property
    def is_set(self) -> bool:
        return self.stored is not UNSET and self.stored is not None

    @property
    def without(self) -> str:
        """
        What counts without a default here, in words; nothing of what may be a secret.
        """
        if self.is_secret or holds_secret(self.described.default):
            return ""
        return default_text(self.described)


@dataclass(frozen=True, slots=True)
class Row:
    """
    A default with its fields, for the template.
    """

    default: Default
    field: BoundField
    clear: BoundField | None = None
    is_open: BoundField | None = None


class ConfigurationForm(forms.Form):
    """
    Once it is valid, `content` is what was entered, with the stored secrets where they were
    left alone.
    """

    config_keys = forms.MultipleChoiceField(
        label=gettext_lazy("Config keys that callers may send"),
        required=False,
        choices=[(key, key) for key in CONFIG_KEYS],
        widget=forms.CheckboxSelectMultiple,
        help_text=gettext_lazy("Without “configurable” no caller can set any of the ids above."),
    )
    extra_configurable = LinesField(
        label=gettext_lazy("Further ids that callers may send"),
        required=False,
        help_text=gettext_lazy(
            "Ids that the runnable does not declare, such as session_id; one in a line."
        ),
    )
    open_configurable = LinesField(
        label=gettext_lazy("Guarded ids among these that are open"),
        required=False,
        help_text=gettext_lazy(
            "Ids that look like a credential or an address are closed unless named here."
        ),
    )
    strict_config = forms.BooleanField(
        label=gettext_lazy("Refuse unknown config"),
        required=False,
        help_text=gettext_lazy("Answer 422 to config that would otherwise be dropped."),
    )
    validation = forms.ChoiceField(
        label=gettext_lazy("Input validation"), choices=DeploymentVersion.Validation.choices
    )

    def __init__(
        self,
        data: Any = None,
        *,
        deployment: Deployment,
        stored: Content,
        schema: Content,
        may_change: bool = True,
    ) -> None:
        self.deployment, self.stored = deployment, stored
        self.defaults = list(_defaults(stored, schema))
        self._declared = {one.name for one in self.defaults if one.is_id and one.is_declared}
        super().__init__(data, initial=self._initial())
        for default in self.defaults:
            self._add(default)
        for field in self.fields.values():
            field.disabled = not may_change

    @property
    def ids(self) -> list[Row]:
        return [self._row(default) for default in self.defaults if default.is_id]

    @property
    def keys(self) -> list[Row]:
        return [self._row(default) for default in self.defaults if not default.is_id]

    @property
    def access(self) -> list[BoundField]:
        return [self[name] for name in type(self).base_fields]

    def clean(self) -> None:
        if self.errors:
            return
        content = {**self.stored, **self._rules(), "defaults": self._entered_defaults()}
        try:
            self.content = unmasked(content, self.stored)
        except NothingToKeep as error:
            self._add_errors([(list(error.where[1:]), _("No secret is stored here to keep."))])
            return
        try:
            versions.check_content(self.deployment, self.content)
        except ValidationError as error:
            self._place(error)

    # Building

    def _initial(self) -> dict[str, Any]:
        plain = ("config_keys", "strict_config", "validation")
        others = [one for one in self.stored["open_configurable"] if one not in self._declared]
        return {
            **{name: self.stored[name] for name in plain},
            "extra_configurable": "\n".join(self.stored["extra_configurable"]),
            "open_configurable": "\n".join(others),
        }

    def _add(self, default: Default) -> None:
        name = default.field_name
        if default.is_secret:
            self.fields[name] = forms.CharField(
                label=default.described.label,
                strip=False,
                required=False,
                widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
            )
            if default.is_set:
                self.fields[f"{name}-clear"] = _box(_("Clear it"), default)
        else:
            self.fields[name] = form_field(default.described, always_optional=True)
            self.initial[name] = shown(default.described, default.stored)
        if default.is_id and default.is_declared:
            self.fields[f"{name}-open"] = _box(_("Callers may set it"), default)
            self.initial[f"{name}-open"] = self._is_open(default.name)

    def _is_open(self, name: str) -> bool:
        guarded = looks_like_credential(name) and name not in self.stored["open_configurable"]
        return name not in self.stored["locked"] and not guarded

    def _row(self, default: Default) -> Row:
        name = default.field_name
        return Row(
            default,
            self[name],
            self[f"{name}-clear"] if f"{name}-clear" in self.fields else None,
            self[f"{name}-open"] if f"{name}-open" in self.fields else None,
        )

    # Reading

    def _entered_defaults(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        configurable: dict[str, Any] = {}
        for default in self.defaults:
            value = self._entered(default)
            if value is not UNSET:
                (configurable if default.is_id else found)[default.name] = value
        if configurable or "configurable" in self.stored["defaults"]:
            found["configurable"] = configurable
        return found

    def _entered(self, default: Default) -> Any:
        cleaned = self.cleaned_data.get(default.field_name)
        if not default.is_secret:
            return entered(default.described, cleaned, default.stored)
        if cleaned:
            return _secret(default.described, cleaned)
        is_cleared = self.cleaned_data.get(f"{default.field_name}-clear")
        return UNSET if is_cleared else default.stored

    def _rules(self) -> dict[str, Any]:
        """
        Everything but the defaults. Lists keep their order where nothing was changed.
        """
        chosen = self.cleaned_data
        locked, opened = list(self.stored["locked"]), list(self.stored["open_configurable"])
        kept = [
            one for one in opened if one in self._declared or one in chosen["open_configurable"]
        ]
        opened = list(dict.fromkeys([*kept, *chosen["open_configurable"]]))
        for default in self.defaults:
            name = default.name
            is_open = chosen.get(f"{default.field_name}-open")
            if is_open is None or is_open == self._is_open(name):
                continue
            if looks_like_credential(name):
                opened = [one for one in opened if one != name] + [name] * is_open
            locked = [one for one in locked if one != name]
            if not is_open and not looks_like_credential(name):
                locked.append(name)
        return {
            "locked": locked,
            "open_configurable": opened,
            "config_keys": _in_order(self.stored["config_keys"], chosen["config_keys"]),
            "extra_configurable": chosen["extra_configurable"],
            "strict_config": chosen["strict_config"],
            "validation": chosen["validation"],
        }

    # Errors

    def _place(self, error: ValidationError) -> None:
        for name, found in error.error_dict.items():
            if name != "defaults":
                self.add_error(name if name in self.fields else None, found)
                continue
            params = [one.params or {} for one in found]
            self._add_errors([(one.get("loc", []), one.get("problem", "")) for one in params])

    def _add_errors(self, found: list[tuple[list[Any], str]]) -> None:
        for loc, problem in found:
            name, rest = self._field_at([str(part) for part in loc])
            self.add_error(name, f"{'.'.join(rest)}: {problem}" if rest else problem)

    def _field_at(self, loc: list[str]) -> tuple[str | None, list[str]]:
        """
        The field that a place in the defaults belongs to, and the way from there.
        """
        is_id = loc[:1] == ["configurable"] and len(loc) > 1
        name, rest = (loc[1], loc[2:]) if is_id else (loc[0] if loc else "", loc[1:])
        for default in self.defaults:
            if default.name == name and default.is_id == is_id:
                return default.field_name, rest
        return None, loc


class RawForm(forms.Form):
    """
    The whole content as JSON, with marks where secrets are stored.
    """

    raw = JsonBox(label=gettext_lazy("The whole version as JSON"))

    def __init__(
        self, data: Any = None, *, deployment: Deployment, stored: Content, may_change: bool = True
    ) -> None:
        self.deployment, self.stored = deployment, stored
        super().__init__(data, initial={"raw": json_text(masked(stored))})
        self.fields["raw"].widget.attrs["rows"] = 24
        self.fields["raw"].disabled = not may_change

    def clean_raw(self) -> Any:
        content = self.cleaned_data["raw"]
        if not isinstance(content, dict) or set(content) != set(CONTENT):
            names = ", ".join(CONTENT)
            raise ValidationError(_("This is an object with exactly: %s.") % names)
        try:
            self.content = unmasked(content, self.stored)
        except NothingToKeep as error:
            text = _("%s: no secret is stored here to keep.") % ".".join(error.where)
            raise ValidationError(text) from None
        try:
            versions.check_content(self.deployment, self.content)
        except ValidationError as error:
            raise ValidationError(
                [
                    f"{name}: {message}"
                    for name, found in error.message_dict.items()
                    for message in found
                ]
            ) from None
        return content


def _defaults(stored: Content, schema: Content) -> Iterator[Default]:
    """
    All that there is or may be a default for: what the runnable declares, and what else is set.
    """
    shown_values = masked(stored)["defaults"]
    values = shown_values if isinstance(shown_values, dict) else {}
    definitions = {"$defs": schema.get("$defs") or {}}
    properties = schema.get("properties") or {}
    of_ids = describe({**(properties.get("configurable") or {}), **definitions})
    others = {key: one for key, one in properties.items() if key != "configurable"}
    configurable = values.get("configurable")
    yield from _of(of_ids, configurable if isinstance(configurable, dict) else {}, is_id=True)
    rest = {key: value for key, value in values.items() if key != "configurable"}
    yield from _of(describe({"properties": others, **definitions}), rest, is_id=False)


def _of(known: list[Described], values: Content, *, is_id: bool) -> Iterator[Default]:
    for described in known:
        stored = values.get(described.name, UNSET)
        is_secret = is_id and looks_like_credential(described.name)
        yield Default(
            described if is_secret else described.fitting(stored), stored, is_id, is_secret
        )
    names = {described.name for described in known}
    for name in values:
        if name not in names:
            is_secret = is_id and looks_like_credential(name)
            described = Described(name, name, "json")
            yield Default(described, values[name], is_id, is_secret, is_declared=False)


def _box(label: str, default: Default) -> forms.BooleanField:
    """
    A box of one default. To those who hear the page, it says which.
    """
    widget = forms.CheckboxInput(attrs={"aria-label": f"{label}: {default.name}"})
    return forms.BooleanField(label=label, required=False, widget=widget)


def _secret(described: Described, text: str) -> Any:
    if described.kind == "text":
        return text
    for choice in described.choices:
        if choice == text:
            return text
    try:
        return JsonBox().clean(text)
    except ValidationError:
        return text


def _in_order(before: list[str], chosen: list[str]) -> list[str]:
    kept = [one for one in before if one in chosen]
    return [*kept, *(one for one in chosen if one not in kept)]
