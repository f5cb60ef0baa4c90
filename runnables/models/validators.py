from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

from runnables.paths import normalize
from runnables.registry import ENDPOINTS, BadOption, check_config_keys
from runnables.scopes import BadScope, check_scopes


def validate_path(value: str) -> None:
    try:
        normalize(value)
    except ValueError as error:
        raise ValidationError(str(error)) from None


def validate_endpoints(value: Any) -> None:
    if not isinstance(value, list) or (unknown := [v for v in value if v not in ENDPOINTS]):
        known = ", ".join(ENDPOINTS)
        raise ValidationError(
            _("This is a list of endpoint names. Unknown: %(unknown)s. Known: %(known)s."),
            params={"unknown": unknown if isinstance(value, list) else value, "known": known},
        )


def validate_names(value: Any) -> None:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ValidationError(_("This is a list of texts."))


def validate_config_keys(value: Any) -> None:
    validate_names(value)
    try:
        check_config_keys(value)
    except BadOption as error:
        raise ValidationError(str(error)) from None


def validate_scopes(value: Any) -> None:
    validate_names(value)
    try:
        check_scopes(value)
    except BadScope as error:
        raise ValidationError(str(error)) from None
