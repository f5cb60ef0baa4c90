"""
What every door has in common: methods, slashes, bodies, hosts, CORS and errors.
"""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from django.db import OperationalError
from django.test import Client
from langchain_core.runnables import RunnableLambda

from runnables import PublicError, snapshot
from tests.conftest import Site
from tests.fakes import SECRET, add_one, echo, failing, failing_midway

POSTS = ("invoke", "batch", "stream", "stream_log", "stream_events")
GETS = ("input_schema", "output_schema", "config_schema")
BODY = {"input": 1, "inputs": [1]}
RUN_ID = "0f8fad5b-d9cb-469f-a165-70867728950e"
PAGE = "https://page.example"


@pytest.fixture
def it(site: Site) -> Site:
    site.serve("it", RunnableLambda(add_one))
    return site


def is_problem(response: httpx.Response) -> bool:
    """
    Whether this is the one error body, which both official clients can read.
    """
    body = response.json()
    return (
        response.headers["content-type"] == "application/json"
        and isinstance(body["message"], str)
        and isinstance(body["code"], str)
        and isinstance(body["detail"], str | list)
    )


# Methods and slashes


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize("door", POSTS)
def test_wrong_method_is_405_with_allow(it: Site, method: str, door: str) -> None:
    response = it.request(method, f"/it/{door}")
    assert response.status_code == 405
    assert "POST" in response.headers["Allow"]
    assert "GET" not in response.headers["Allow"]
    assert response.json()["detail"] == "Method Not Allowed"
    assert is_problem(response)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
@pytest.mark.parametrize("door", GETS)
def test_schemas_are_for_reading(it: Site, method: str, door: str) -> None:
    response = it.request(method, f"/it/{door}")
    assert response.status_code == 405
    assert "GET" in response.headers["Allow"]
    assert is_problem(response)


@pytest.mark.parametrize("door", GETS)
def test_head_of_a_schema_is_as_get(it: Site, door: str) -> None:
    response = it.request("HEAD", f"/it/{door}")
    assert response.status_code == 200


@pytest.mark.parametrize(
    "door",
    [
        *("invoke", "batch", *GETS),
        *((name) for name in ("stream", "stream_log", "stream_events")),
    ],
)
def test_options_says_what_is_allowed(it: Site, door: str) -> None:
    response = it.request("OPTIONS", f"/it/{door}")
    assert response.status_code in (200, 204)
    assert ("POST" if door in POSTS else "GET") in response.headers["Allow"]


@pytest.mark.parametrize("door", [*POSTS, "astream_events"])
def test_trailing_slash_of_a_post_is_optional_and_not_redirected(it: Site, door: str) -> None:
    statuses = {it.post(f"/it/{door}{slash}", BODY).status_code for slash in ("", "/")}
    assert statuses == {200}


@pytest.mark.parametrize("door", GETS)
def test_trailing_slash_of_a_get_is_optional(it: Site, door: str) -> None:
    assert it.get(f"/it/{door}").json() == it.get(f"/it/{door}/").json()


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/nothing/invoke"),
        ("POST", "/nothing/stream"),
        ("GET", "/nothing/input_schema"),
        *(
            (method, path)
            for method in ("GET", "POST")
            for path in ("/nothing", "/it/nothing", "/it", "/it/x/y/")
        ),
    ],
)
def test_unknown_path_is_404_in_json(it: Site, method: str, path: str) -> None:
    response = it.request(method, path)
    assert response.status_code == 404
    assert response.json()["detail"] == "Not Found"
    assert is_problem(response)


@pytest.mark.parametrize("door", ["invoke", "batch"])
def test_unknown_path_is_404_whatever_the_method(it: Site, door: str) -> None:
    assert it.get(f"/nothing/{door}").status_code == 404


def test_same_doors_are_behind_djangos_own_resolver(it: Site) -> None:
    response = Client().post("/it/invoke", json.dumps({"input": 1}), "application/json")
    assert response.json()["output"] == 2
    assert Client().get("/it/input_schema/").json()["type"] == "integer"


# Bodies


@pytest.mark.parametrize(
    "content_type",
    ["application/json", "text/plain", "application/x-www-form-urlencoded", "cat", "", None],
)
@pytest.mark.parametrize("door", POSTS)
def test_body_is_json_whatever_its_type(it: Site, door: str, content_type: Any) -> None:
    headers = {} if content_type is None else {"Content-Type": content_type}
    content = json.dumps(BODY).encode()
    assert it.post(f"/it/{door}", content=content, headers=headers).status_code == 200


@pytest.mark.parametrize("accept", ["text/event-stream", "text/html", "image/png", "*/*", ""])
@pytest.mark.parametrize("door", POSTS)
def test_accept_is_not_looked_at(it: Site, door: str, accept: str) -> None:
    assert it.post(f"/it/{door}", BODY, headers={"Accept": accept}).status_code == 200


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "invalid_json"),
        (b" ", "invalid_json"),
        (b"{", "invalid_json"),
        (b"input=1", "invalid_json"),
        (b'{"input": 1}}', "invalid_json"),
        (b"\xff\xfe", "invalid_encoding"),
        (b'{"input": "\xe9"}', "invalid_encoding"),
        (b'{"input": NaN}', "invalid_number"),
        (b'{"input": 1e999}', "invalid_number"),
        (b'{"input": "\\ud800"}', "invalid_encoding"),
        (b'{"input": 1, "input": 2}', "duplicate_key"),
        (b'{"input": ' + b"[" * 100 + b"]" * 100 + b"}", "too_deep"),
        (b"[" * 100_000, "too_deep"),
    ],
)
@pytest.mark.parametrize("door", POSTS)
def test_broken_body_is_refused_in_langserves_words(
    it: Site, door: str, content: bytes, code: str
) -> None:
    response = it.post(f"/it/{door}", content=content)
    assert response.status_code == 422
    assert response.json()["detail"] == ["Invalid JSON body"]
    assert response.json()["code"] == code
    assert response.json()["message"].endswith(".")


@pytest.mark.parametrize("door", POSTS)
def test_too_large_body_is_413(site: Site, door: str) -> None:
    site.serve("it", echo(), max_input_bytes=1000)
    response = site.post(f"/it/{door}", {"input": "x" * 1000})
    assert response.status_code == 413
    assert response.json()["code"] == "too_large"
    assert isinstance(response.json()["detail"], str)
    assert is_problem(response)


@pytest.mark.parametrize("door", POSTS)
def test_body_over_every_limit_is_413(it: Site, settings: Any, door: str) -> None:
    settings.LANGSERVE = {"MAX_INPUT_BYTES": 500, "MAX_FILE_INPUT_BYTES": 1000}
    response = it.post(f"/it/{door}", {"input": "x" * 2000})
    assert response.status_code == 413
    assert is_problem(response)


def test_limit_is_a_mebibyte_unless_set(site: Site) -> None:
    site.serve("it", echo())
    room = 1024 * 1024 - len('{"input": ""}')
    fits, large = (json.dumps({"input": "x" * n}).encode() for n in (room, room + 1))
    assert site.post("/it/invoke", content=fits).status_code == 200
    assert site.post("/it/invoke", content=large).status_code == 413


def test_limit_may_be_raised_above_that_of_files(site: Site, settings: Any) -> None:
    settings.LANGSERVE = {"MAX_INPUT_BYTES": 100, "MAX_FILE_INPUT_BYTES": 200}
    site.serve("it", echo(), max_input_bytes=5000)
    assert site.post("/it/invoke", {"input": "x" * 1000}).status_code == 200


@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate"])
@pytest.mark.parametrize("door", POSTS)
def test_compressed_body_is_415(it: Site, door: str, encoding: str) -> None:
    response = it.post(f"/it/{door}", BODY, headers={"Content-Encoding": encoding})
    assert response.status_code == 415
    assert is_problem(response)


def test_body_that_is_not_compressed_may_say_so(it: Site) -> None:
    response = it.post("/it/invoke", BODY, headers={"Content-Encoding": "identity"})
    assert response.status_code == 200


# Hosts


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "a b", ""])
@pytest.mark.parametrize("door", ["invoke", "stream"])
def test_unknown_host_is_refused(it: Site, door: str, host: str) -> None:
    response = it.post(f"/it/{door}", BODY, headers={"Host": host})
    assert response.status_code == 400
    assert is_problem(response)


@pytest.mark.parametrize("host", ["localhost", "localhost:8000", "127.0.0.1:80", "[::1]:8000"])
def test_own_hosts_are_accepted(it: Site, host: str) -> None:
    assert it.post("/it/invoke", BODY, headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("door", ["invoke", "stream"])
def test_plain_http_is_refused_where_https_is_asked_for(it: Site, settings: Any, door: str) -> None:
    settings.SECURE_SSL_REDIRECT = True
    response = it.post(f"/it/{door}", BODY)
    assert response.status_code == 403
    assert response.json()["code"] == "https_required"


@pytest.mark.parametrize("door", ["invoke", "stream"])
def test_answers_carry_security_headers(it: Site, door: str) -> None:
    headers = it.post(f"/it/{door}", BODY).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"


# CORS


@pytest.fixture
def shared(it: Site, settings: Any) -> Site:
    settings.CORS_ALLOWED_ORIGINS = [PAGE]
    return it


def preflight(site: Site, door: str, origin: str) -> httpx.Response:
    asked = {
        "Origin": origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization, content-type, x-run-id, x-api-key",
    }
    return site.request("OPTIONS", f"/it/{door}", headers=asked)


@pytest.mark.parametrize("door", [*POSTS, *GETS])
def test_preflight_of_a_known_page_is_answered(shared: Site, door: str) -> None:
    response = preflight(shared, door, PAGE)
    assert response.status_code in (200, 204)
    assert response.headers["access-control-allow-origin"] == PAGE
    assert "POST" in response.headers["access-control-allow-methods"]
    allowed = response.headers["access-control-allow-headers"].lower()
    assert all(name in allowed for name in ("authorization", "x-run-id", "x-api-key"))


@pytest.mark.parametrize("door", [*POSTS, *GETS])
def test_preflight_of_a_strange_page_allows_nothing(shared: Site, door: str) -> None:
    response = preflight(shared, door, "https://evil.example")
    assert "access-control-allow-origin" not in response.headers


@pytest.mark.parametrize("door", POSTS)
@pytest.mark.parametrize(("origin", "is_allowed"), [(PAGE, True), ("https://evil.example", False)])
def test_answer_to_a_page_names_it_if_it_is_known(
    shared: Site, door: str, origin: str, is_allowed: bool
) -> None:
    headers = shared.post(f"/it/{door}", BODY, headers={"Origin": origin}).headers
    assert ("access-control-allow-origin" in headers) is is_allowed
    assert "origin" in headers["vary"].lower()
    if is_allowed:
        assert headers["access-control-allow-origin"] == PAGE
        assert "x-run-id" in headers["access-control-expose-headers"]


@pytest.mark.parametrize("path", ["/it/invoke", "/it/stream", "/nothing/stream", "/nothing/invoke"])
def test_errors_can_be_read_by_a_known_page(shared: Site, path: str) -> None:
    response = shared.post(path, {}, headers={"Origin": PAGE})
    assert response.status_code in (404, 422)
    assert response.headers["access-control-allow-origin"] == PAGE


# Errors


def test_4xx_has_no_run_id_before_there_is_a_run(it: Site) -> None:
    assert set(it.post("/it/invoke", {}).json()) == {"detail", "message", "code"}


@pytest.mark.parametrize("door", ["invoke", "batch", "stream"])
def test_5xx_names_the_run(site: Site, door: str) -> None:
    site.serve("it", failing())
    response = site.post(f"/it/{door}", BODY, headers={"X-Run-Id": RUN_ID})
    assert response.status_code == 500
    assert response.json()["run_id"] == response.headers["X-Run-Id"] == RUN_ID
    assert is_problem(response)


@pytest.mark.parametrize("door", POSTS)
@pytest.mark.parametrize(
    ("error_detail", "shows_class", "shows_text"),
    [("none", False, False), ("class", True, False), ("message", True, True)],
)
def test_text_of_an_exception_is_shown_only_where_it_was_opened(
    site: Site, door: str, error_detail: str, shows_class: bool, shows_text: bool
) -> None:
    site.serve("it", failing(LookupError(SECRET)))
    site.change("it", error_detail=error_detail)
    text = site.post(f"/it/{door}", BODY).text
    assert ("LookupError" in text) is shows_class
    assert (SECRET in text) is shows_text


@pytest.mark.parametrize("error_detail", ["none", "class"])
def test_text_of_an_exception_midway_is_not_shown(site: Site, error_detail: str) -> None:
    site.serve("it", failing_midway())
    site.change("it", error_detail=error_detail)
    for door in ("stream", "stream_log", "stream_events"):
        assert SECRET not in site.post(f"/it/{door}", BODY).text


def test_cause_of_a_public_error_is_not_shown(site: Site) -> None:
    def fail(_: Any) -> Any:
        try:
            raise RuntimeError(SECRET)
        except RuntimeError as error:
            raise PublicError("Try again.") from error

    site.serve("it", RunnableLambda(fail))
    for door in POSTS:
        text = site.post(f"/it/{door}", BODY).text
        assert SECRET not in text
        assert "Try again." in text


@pytest.mark.parametrize("status", [399, 600, 200, 0])
def test_public_error_wants_an_error_status(status: int) -> None:
    with pytest.raises(ValueError, match="400 to 599"):
        PublicError("x", status=status)


def test_answers_while_the_database_is_away_are_503(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away() -> None:
        raise OperationalError(SECRET)

    snapshot.forget()
    monkeypatch.setattr(snapshot, "refresh", away)
    for door in ("invoke", "stream"):
        response = site.post(f"/it/{door}", BODY)
        assert response.status_code == 503
        assert SECRET not in response.text
        assert response.headers["Retry-After"]
