"""
Multipart forms as payloads: the part `input` (and `config`) is JSON, each file fills the
base64 field of its name. `document.file` is the field `file` of the object `document`.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from io import BytesIO
from typing import Any

from django.core.exceptions import SuspiciousOperation
from django.core.files.uploadhandler import FileUploadHandler, StopFutureHandlers
from django.http import QueryDict
from django.http.multipartparser import MultiPartParser, MultiPartParserError
from django.utils.datastructures import MultiValueDict

from runnables.exceptions import InvalidInput, PayloadRefused, UnsupportedType
from runnables.payload import BadPayload, Limits, parse

JSON_PARTS = ("input", "config", "kwargs")
MAX_FILES = 20

FileFields = Mapping[str, Mapping[str, Any]]


def payload_of_form(
    meta: Mapping[str, Any], body: bytes, limits: Limits, fields: FileFields | None
) -> dict[str, Any]:
    """
    The payload in a multipart body.

    `fields` are the input's file fields by dotted name, each with its widget; None where
    the schema does not say. Raises PayloadRefused, InvalidInput and UnsupportedType.
    """
    if len(body) > limits.size:
        raise PayloadRefused(
            f"The form is larger than {limits.size:,} bytes; send less at once.",
            code="too_large",
            status=413,
        )
    texts, files = _parts(meta, body)
    payload: dict[str, Any] = {
        name: _json(name, texts[name], limits) for name in JSON_PARTS if name in texts
    }
    for name, file in files:
        _check(name, file, fields)
        payload["input"] = _filled(payload.get("input"), name.split("."), file.content, name)
    return payload


class _File:
    def __init__(self, content: bytes, content_type: str) -> None:
        self.content = base64.b64encode(content).decode()
        self.size = len(content)
        self.content_type = content_type


class _InMemory(FileUploadHandler):
    """
    Keeps files in memory: the whole body is there already, and it is bounded.
    """

    def new_file(self, *args: Any, **kwargs: Any) -> None:
        super().new_file(*args, **kwargs)
        self._chunks: list[bytes] = []
        raise StopFutureHandlers

    def receive_data_chunk(self, raw_data: bytes, start: int) -> None:
        self._chunks.append(raw_data)

    def file_complete(self, file_size: int) -> Any:
        return _File(b"".join(self._chunks), (self.content_type or "").lower())


def _parts(meta: Mapping[str, Any], body: bytes) -> tuple[QueryDict, list[tuple[str, _File]]]:
    try:
        parser = MultiPartParser(dict(meta), BytesIO(body), [_InMemory()], "utf-8")
        texts, files = parser.parse()
    except SuspiciousOperation as error:
        # Django's own limits on the size and number of form fields.
        raise PayloadRefused(str(error), code="too_large", status=413) from None
    except (MultiPartParserError, ValueError) as error:
        raise PayloadRefused(
            f"This is not a multipart form: {error}.", code="invalid_form"
        ) from None
    found: MultiValueDict[str, Any] = files
    listed = [(name, file) for name, several in found.lists() for file in several]
    if len(listed) > MAX_FILES:
        raise PayloadRefused(f"A form may bring {MAX_FILES} files at most.", code="too_many_files")
    return texts, listed


def _json(name: str, text: Any, limits: Limits) -> Any:
    try:
        return parse(str(text).encode("utf-8", "surrogatepass"), limits)
    except BadPayload as error:
        raise PayloadRefused(
            f"{name}: {error.message}", code=error.code, status=error.status
        ) from None


def _check(name: str, file: _File, fields: FileFields | None) -> None:
    if fields is None:
        return
    if name not in fields:
        known = ", ".join(sorted(fields)) or "none"
        message = f"there is no file field {name!r}; the file fields of this input are: {known}"
        raise InvalidInput([{"type": "value_error", "loc": [*name.split(".")], "msg": message}])
    widget = fields[name]
    accepted = widget.get("accept") or []
    if accepted and not any(_matches(file.content_type, pattern) for pattern in accepted):
        raise UnsupportedType(
            f"{name}: a file of type {file.content_type or 'unknown'} is not taken; send one of {', '.join(accepted)}."
        )
    most = widget.get("max_bytes")
    if most and file.size > most:
        raise PayloadRefused(
            f"{name}: the file is larger than {most:,} bytes.", code="too_large", status=413
        )


def _matches(content_type: str, pattern: str) -> bool:
    """
    `text/*` and `text/csv` match a content type `text/csv`.
    """
    return content_type == pattern or (
        pattern.endswith("/*") and content_type.startswith(pattern[:-1])
    )


def _filled(value: Any, path: list[str], text: str, name: str) -> Any:
    """
    `value` with `text` at the path; objects on the way are made where missing.
    """
    if path == ["input"] and value is None:
        return text
    if value is not None and not isinstance(value, dict):
        message = "the part `input` has no object where this file belongs"
        raise InvalidInput([{"type": "value_error", "loc": [*name.split(".")], "msg": message}])
    head, *rest = path
    filled = dict(value or {})
    filled[head] = _filled(filled.get(head), rest, text, name) if rest else text
    return filled
