from __future__ import annotations

import base64
from typing import Any

import pytest
from langchain_core.runnables import RunnableLambda
from pydantic import Field

from runnables import CustomUserType
from tests.conftest import Site, events

TEXT: dict[str, Any] = {"widget": {"type": "base64file", "accept": ["text/*"], "max_bytes": 10}}
ANY: dict[str, Any] = {"widget": {"type": "base64file"}}


class Document(CustomUserType):
    file: str = Field(json_schema_extra={"extra": TEXT})


class Upload(CustomUserType):
    number: int = 1
    photo: str = Field("", json_schema_extra={"extra": ANY})
    document: Document


def describe(upload: Any) -> list[Any]:
    return [upload.number, base64.b64decode(upload.document.file).decode()]


@pytest.fixture
def uploads(site: Site) -> Site:
    site.serve("upload", RunnableLambda(describe), input_type=Upload)
    return site


def form(
    name: str = "document.file", content: bytes = b"hello", kind: str = "text/plain"
) -> dict[str, Any]:
    return {"files": {name: ("a.txt", content, kind)}}


def test_a_file_part_fills_the_field_of_its_dotted_name(uploads: Site) -> None:
    answer = uploads.post("/upload/invoke", data={"input": '{"number": 3}'}, **form())
    assert answer.json()["output"] == [3, "hello"]


def test_the_input_part_may_be_missing(uploads: Site) -> None:
    assert uploads.post("/upload/invoke", **form()).json()["output"] == [1, "hello"]


def test_a_form_is_streamed_too(uploads: Site) -> None:
    answer = uploads.post("/upload/stream", **form())
    assert events(answer)[1] == ("data", [1, "hello"])


@pytest.mark.parametrize(
    ("options", "status", "code"),
    [
        (form("document.fil"), 422, "validation_error"),
        (form(kind="image/png"), 415, "unsupported_type"),
        (form(content=b"hello" * 3), 413, "too_large"),
        (form("photo", b"x" * (10 * 1024 * 1024)), 413, "too_large"),
        ({"data": {"input": "{"}, **form()}, 422, "invalid_json"),
        ({"data": {"input": "[]"}, **form()}, 422, "validation_error"),
    ],
)
@pytest.mark.parametrize("endpoint", ["invoke", "stream"])
def test_what_does_not_fit_is_refused(
    uploads: Site, endpoint: str, options: dict[str, Any], status: int, code: str
) -> None:
    answer = uploads.post(f"/upload/{endpoint}", **options)
    assert (answer.status_code, answer.json()["code"]) == (status, code)


def test_a_refused_file_name_is_answered_with_those_there_are(uploads: Site) -> None:
    message = uploads.post("/upload/invoke", **form("photos")).json()["message"]
    assert "'photos'" in message
    assert "document.file, photo" in message


@pytest.mark.parametrize("boundary", ["", "; boundary=", "; boundary=abc"])
def test_a_broken_form_is_a_clear_4xx(uploads: Site, boundary: str) -> None:
    headers = {"Content-Type": f"multipart/form-data{boundary}"}
    answer = uploads.post("/upload/invoke", content=b"--abc\r\nno form", headers=headers)
    assert answer.status_code == 422
    assert answer.json()["code"] in ("invalid_form", "validation_error")


def test_other_endpoints_take_no_forms(uploads: Site) -> None:
    for endpoint in ("batch", "stream_log", "stream_events"):
        answer = uploads.post(f"/upload/{endpoint}", **form())
        assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_type")


def test_a_session_sends_its_csrf_token_by_header(uploads: Site) -> None:
    bob = uploads.user("bob")
    for endpoint in ("invoke", "stream"):
        path = f"/upload/{endpoint}"
        assert uploads.post(path, headers=uploads.session(bob), **form()).status_code == 200
        assert (
            uploads.post(path, headers=uploads.session(bob, csrf=False), **form()).status_code
            == 403
        )


def test_an_input_without_a_schema_takes_files_of_any_name(site: Site) -> None:
    site.serve("any", RunnableLambda(lambda x: x), input_type=Any, output_type=Any)
    answer = site.post("/any/invoke", **form("a.b"))
    assert answer.json()["output"] == {"a": {"b": base64.b64encode(b"hello").decode()}}
    whole = site.post("/any/invoke", **form("input"))
    assert whole.json()["output"] == base64.b64encode(b"hello").decode()
