"""
`/{path}/feedback`: LangServe's shapes, without LangSmith.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import httpx

from feedback.models import Feedback, FeedbackKey
from runnables import hooks
from runnables.models import Deployment
from tests.conftest import Site
from tests.fakes import echo
from tests.feedback.conftest import made_run, made_step

RUN_ID = "0f8fad5b-d9cb-469f-a165-70867728950e"
THUMB = {"run_id": RUN_ID, "key": "correctness", "score": 1}


def refused(response: httpx.Response, field: str) -> str:
    """
    What is wrong with one field of the body.
    """
    assert response.status_code == 422, response.text
    (error,) = response.json()["detail"]
    assert error["loc"] == ["body", field]
    return str(error["msg"])


def test_reply_is_what_langserve_replies(site: Site, rated: Deployment) -> None:
    body = site.post("/it/feedback", {**THUMB, "comment": "Right."}).json()

    row = Feedback.objects.get()
    assert {name: body[name] for name in ("run_id", "key", "score", "value", "comment")} == {
        **THUMB,
        "value": None,
        "comment": "Right.",
    }
    assert (body["id"], body["correction"]) == (str(row.pk), None)
    assert body["created_at"] == row.created_at.isoformat()
    assert body["modified_at"] == row.modified_at.isoformat()
    assert (row.deployment, row.author, row.trace_id) == (rated, "anonymous", row.run_id)
    assert row.source_info == {"from_langserve": True}


def test_head_says_whether_it_can_be_used(site: Site, rated: Deployment) -> None:
    site.serve("other", echo())

    assert site.request("HEAD", "/it/feedback").status_code == 200
    assert site.request("HEAD", "/other/feedback").status_code == 400
    assert site.request("HEAD", "/nothing/feedback").status_code == 404


def test_switched_off_it_is_400_with_a_text(site: Site) -> None:
    site.serve("it", echo())

    response = site.post("/it/feedback", THUMB)

    assert response.status_code == 400
    assert isinstance(response.json()["detail"], str)
    assert response.json()["code"] == "endpoint_off"


def test_deployment_at_the_root_takes_feedback(site: Site) -> None:
    site.serve("it", echo(), path="/", enable_feedback_endpoint=True)

    assert site.post("/feedback", THUMB).status_code == 200


def test_same_author_and_key_is_one_row(site: Site, rated: Deployment) -> None:
    alice, bob = site.token(site.user("alice")), site.token(site.user("bob"))
    first = site.post("/it/feedback", THUMB, headers=alice).json()
    second = site.post("/it/feedback", {**THUMB, "score": 0}, headers=alice).json()
    site.post("/it/feedback", THUMB, headers=bob)
    site.post("/it/feedback", {**THUMB, "key": "tone"}, headers=alice)

    assert (second["id"], second["created_at"]) == (first["id"], first["created_at"])
    assert second["modified_at"] > first["modified_at"]
    assert Feedback.objects.filter(score=0).count() == 1
    assert Feedback.objects.count() == 3


def test_hundred_at_once_are_one_row(site: Site, rated: Deployment) -> None:
    def say(score: int) -> int:
        return site.post("/it/feedback", {**THUMB, "score": score % 2}).status_code

    with ThreadPoolExecutor(20) as pool:
        statuses = set(pool.map(say, range(100)))

    assert statuses == {200}
    assert Feedback.objects.count() == 1


def test_true_and_false_are_scores(site: Site, rated: Deployment) -> None:
    assert site.post("/it/feedback", {**THUMB, "score": True}).json()["score"] == 1
    assert site.post("/it/feedback", {**THUMB, "score": False}).json()["score"] == 0
    assert site.post("/it/feedback", {**THUMB, "score": 0.25}).json()["score"] == 0.25


def test_own_feedback_is_there_after_a_reload(site: Site, rated: Deployment) -> None:
    alice, bob = site.token(site.user("alice")), site.token(site.user("bob"))
    said = site.post("/it/feedback", THUMB, headers=alice).json()

    mine = site.get(f"/it/feedback?run_id={RUN_ID}", headers=alice).json()

    assert mine == [said]
    assert site.get(f"/it/feedback?run_id={RUN_ID}", headers=bob).json() == []
    assert site.get("/it/feedback?run_id=cats", headers=bob).json()["detail"][0]["loc"] == [
        "query",
        "run_id",
    ]


def test_what_was_said_is_taken_back_by_saying_nothing(site: Site, rated: Deployment) -> None:
    site.post("/it/feedback", THUMB)
    reply = site.post("/it/feedback", {**THUMB, "score": None, "value": None})

    assert reply.status_code == 200
    assert reply.json()["score"] is None
    assert Feedback.objects.count() == 0


def test_what_was_said_is_deleted_by_its_author_alone(site: Site, rated: Deployment) -> None:
    alice, bob = site.token(site.user("alice")), site.token(site.user("bob"))
    url = f"/it/feedback/{site.post('/it/feedback', THUMB, headers=alice).json()['id']}"

    assert site.request("DELETE", url, headers=bob).json()["code"] == "unknown_feedback"
    assert site.request("DELETE", url, headers=alice).status_code == 204
    assert site.request("DELETE", url, headers=alice).status_code == 404


# (body, status, code); %s is the run's id.
BAD_BODIES = [
    ('{"run_id": "%s", "key": "k", "score": NaN}', 422, "invalid_number"),
    ('{"run_id": "%s", "key": "k", "score": Infinity}', 422, "invalid_number"),
    ('{"run_id": "%s", "key": "k", "score": 1e999}', 422, "invalid_number"),
    ('{"run_id": "%s", "key": "k", "score": 1' + "0" * 400 + "}", 422, "invalid_number"),
    ('{"run_id": "%s", "key": "\\u0000"}', 422, "invalid_character"),
    ("[1]", 422, "validation_error"),
    ("not json", 422, "invalid_json"),
    ('{"comment": "' + "x" * 300_000 + '"}', 413, "too_large"),
]
FOREIGN_VALUES: list[tuple[str, Any]] = [
    *(("run_id", value) for value in ("cats", None, 7)),
    *(("key", value) for value in ("", None, "k" * 101, "a\nb")),
    *(("score", value) for value in ("1", 1e9, 10**300, [1])),
    *(("value", value) for value in ([1], {"deep": 10**30}, "x" * 20_000)),
    *(("comment", value) for value in (7, "x" * 10_001)),
    ("correction", 7),
    *(("reasons", value) for value in ("wrong", ["x" * 101])),
]


def test_bad_bodies_are_refused(site: Site, rated: Deployment) -> None:
    for raw, status, code in BAD_BODIES:
        response = site.post("/it/feedback", content=raw.replace("%s", RUN_ID))
        assert (response.status_code, response.json()["code"]) == (status, code), raw[:80]
    assert Feedback.objects.count() == 0


def test_foreign_values_are_refused_with_their_place(site: Site, rated: Deployment) -> None:
    for field, value in FOREIGN_VALUES:
        assert refused(site.post("/it/feedback", {**THUMB, field: value}), field)
    assert Feedback.objects.count() == 0


def test_missing_fields_are_named(site: Site, rated: Deployment) -> None:
    errors = site.post("/it/feedback", {"score": 1}).json()["detail"]

    assert [error["loc"] for error in errors] == [["body", "run_id"], ["body", "key"]]


# Keys that staff have defined


def test_keys_take_what_they_were_made_for(site: Site, rated: Deployment) -> None:
    FeedbackKey.objects.create(key="thumb", reasons=["wrong"], takes_comment=False)
    FeedbackKey.objects.create(key="stars", kind="scale", lowest=1, highest=5)
    FeedbackKey.objects.create(key="tone", kind="category", categories=["kind", "rude"])
    FeedbackKey.objects.create(key="note", kind="text", takes_correction=True)

    def say(key: str, **fields: Any) -> httpx.Response:
        return site.post("/it/feedback", {"run_id": RUN_ID, "key": key, **fields})

    assert say("thumb", score=0, reasons=["wrong"]).status_code == 200
    assert "0 or 1" in refused(say("thumb", score=0.5), "score")
    assert "no comment" in refused(say("thumb", score=1, comment="x"), "comment")
    assert "'slow'" in refused(say("thumb", score=0, reasons=["slow"]), "reasons")
    assert say("stars", score=5, comment="x").status_code == 200
    assert "1 to 5" in refused(say("stars", score=6), "score")
    assert "no correction" in refused(say("stars", score=3, correction="x"), "correction")
    assert say("tone", value="kind").status_code == 200
    assert "kind, rude" in refused(say("tone", value="odd"), "value")
    assert say("note", value="Long.", correction={"output": 1}).status_code == 200
    assert "text" in refused(say("note", value=7), "value")


def test_undefined_keys_are_open_unless_closed(
    site: Site, rated: Deployment, settings: Any
) -> None:
    assert site.post("/it/feedback", THUMB).status_code == 200
    settings.LANGSERVE = {**settings.LANGSERVE, "FEEDBACK_KEYS_ONLY": True}
    assert "no such key" in refused(site.post("/it/feedback", THUMB), "key")
    theirs = FeedbackKey.objects.create(key="correctness")
    assert site.post("/it/feedback", THUMB).status_code == 200
    theirs.deployments.add(site.serve("other", echo()))
    assert refused(site.post("/it/feedback", THUMB), "key")


# Whose run it is


def test_run_of_somebody_else_is_unknown(site: Site, rated: Deployment) -> None:
    alice, bob, carol = (site.user(name) for name in ("alice", "bob", "carol"))
    site.grant("it", bob, alice)
    run = made_run(rated, alice)
    body = {**THUMB, "run_id": str(run.pk)}

    response = site.post("/it/feedback", body, headers=site.token(bob))
    assert (response.status_code, response.json()["code"]) == (404, "unknown_run")
    assert site.post("/it/feedback", body, headers=site.token(alice)).status_code == 200
    site.grant("it", carol, may=("run", "review"))
    assert site.post("/it/feedback", body, headers=site.token(carol)).status_code == 200


def test_run_of_another_deployment_is_unknown(site: Site, rated: Deployment) -> None:
    other = site.serve("other", echo(), enable_feedback_endpoint=True)
    body = {**THUMB, "run_id": str(made_run(other).pk)}

    assert site.post("/it/feedback", body).status_code == 404
    assert site.post("/other/feedback", body).status_code == 200


def test_run_that_nobody_recorded_stays_with_its_deployment(site: Site, rated: Deployment) -> None:
    site.serve("other", echo(), enable_feedback_endpoint=True)
    site.post("/it/feedback", THUMB)

    assert site.post("/other/feedback", THUMB).status_code == 404
    assert Feedback.objects.get().deployment == rated


def test_step_is_rated_for_its_run(site: Site, rated: Deployment) -> None:
    step = made_step(made_run(rated))
    site.post("/it/feedback", {**THUMB, "run_id": str(step.pk)})

    row = Feedback.objects.get()
    assert (row.run_id, row.trace_id) == (step.pk, step.trace_id)


def test_token_of_another_scope_opens_nothing(site: Site, rated: Deployment) -> None:
    site.grant("it", "authenticated")
    alice = site.user("alice")

    closed = site.token(alice, scopes=["invoke"])
    opened = site.token(alice, scopes=["feedback"])
    assert site.post("/it/feedback", THUMB, headers=closed).json()["code"] == "token_scope"
    assert site.post("/it/feedback", THUMB, headers=opened).status_code == 200


def test_session_needs_its_csrf_token(site: Site, rated: Deployment) -> None:
    alice = site.user("alice")

    bare = site.session(alice, csrf=False)
    assert site.post("/it/feedback", THUMB, headers=bare).json()["code"] == "csrf_failed"
    assert site.post("/it/feedback", THUMB, headers=site.session(alice)).status_code == 200


def test_feedback_of_a_forgotten_user_is_gone(site: Site, rated: Deployment) -> None:
    alice = site.user("alice")
    site.post("/it/feedback", THUMB, headers=site.token(alice))
    site.post("/it/feedback", {**THUMB, "run_id": str(uuid4())})

    deleted: dict[str, int] = {}
    for forget in hooks.forgotten:
        deleted |= forget(alice)

    assert (deleted["feedback"], Feedback.objects.count()) == (1, 1)
