"""
One trace: its tree, the selected node, and what of both is shown to whom.
"""

from __future__ import annotations

import json as plain_json
import re
import shlex
import time
from datetime import timedelta
from html import unescape
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from feedback.models import Feedback
from tests.conftest import Site
from tests.fakes import echo
from tests.traces.made import (
    SECRET_QUESTION,
    SECRETS,
    Scene,
    browser_of,
    deployment,
    grant,
    json,
    step,
    step_fields,
    trace,
)
from traces.models import Step, Trace
from traces.pages import payloads, tree


@pytest.fixture
def scene(db: None) -> Scene:
    return Scene()


def url(row: Trace, **query: Any) -> str:
    return f"/traces/{row.pk}/" + "".join(
        f"{mark}{name}={value}"
        for mark, (name, value) in zip("?" + "&" * 9, query.items(), strict=False)
    )


def page(client: Client, row: Trace, **query: Any) -> str:
    response = client.get(url(row, **query))
    assert response.status_code == 200, response.text
    return unescape(response.text)


def names(text: str) -> list[tuple[int, str]]:
    """
    The rows of the tree: level and name.
    """
    found = re.findall(r'data-level="(\d+)".*?class="name">(.*?)</span>', text)
    return [(int(level), name) for level, name in found]


def chosen(text: str) -> str:
    [found] = re.findall(r'id="n-([0-9a-f-]+)" aria-current="true"', text)
    return str(found)


# Who sees what


def test_others_traces_look_like_none(scene: Scene) -> None:
    hidden = trace(deployment("other"))
    responses = [scene.as_bob.get(f"/traces/{key}/") for key in (hidden.pk, uuid4())]

    assert [response.status_code for response in responses] == [404, 404]
    bodies = [re.sub(r'value="\w{64}"', "", response.text) for response in responses]
    assert bodies[0] == bodies[1]
    assert "kept for 30 days" in responses[0].text


def test_a_steps_id_leads_to_its_place_in_the_run(scene: Scene) -> None:
    row = scene.mine()
    found = step(row, 1)
    hidden = step(trace(deployment("other")), 1)

    response = scene.as_bob.get(f"/traces/{found.pk}/")
    assert response["Location"] == f"/traces/{row.pk}/?node={found.pk}"
    assert scene.as_bob.get(f"/traces/{hidden.pk}/").status_code == 404
    assert chosen(page(scene.as_bob, row, node=found.pk)) == str(found.pk)


def test_payloads_are_absent_for_who_may_not_see_them(scene: Scene) -> None:
    failed = {"state": "failed", "error_class": "ValueError", "error": "hidden-error-text"}
    row = scene.mine(**failed)
    inner = step(
        row,
        1,
        input=json(SECRET_QUESTION),
        metadata=json({"a": "hidden-metadata"}),
        input_shape="text, 25 characters",
        **failed,
    )
    for node in (row.pk, inner.pk):
        whole = page(scene.as_alice, row, node=node)
        theirs = page(scene.as_bob, row, node=node)
        assert SECRET_QUESTION in whole
        assert "hidden-error-text" in whole
        assert "hidden-metadata" in whole
        assert [word for word in SECRETS if word in theirs] == []
        assert "25 characters" in theirs
        assert "ValueError" in theirs
    assert "see payloads" in theirs
    assert "Call again" not in theirs


def test_payload_is_text_for_who_may_see_it(scene: Scene) -> None:
    row = scene.mine(output=json({"page": "<script>"}))
    inner = step(row, 1, input=json("of the step"))
    response = scene.as_alice.get(f"/traces/{row.pk}/payload/{row.pk}/output/")

    assert response.text == '{"page":"<script>"}'
    assert response["Content-Type"] == "text/plain; charset=utf-8"
    assert response["X-Content-Type-Options"] == "nosniff"
    assert response["Content-Disposition"].startswith("inline; ")
    saved = scene.as_alice.get(f"/traces/{row.pk}/payload/{inner.pk}/input/?download")
    assert saved["Content-Disposition"] == f'attachment; filename="{inner.pk}-input.json"'
    assert saved.text == '"of the step"'


def test_payload_is_not_there_for_others(scene: Scene) -> None:
    row, other = scene.mine(), scene.mine()
    inner = step(other, 1, input=json("elsewhere"))
    for client, node, part in (
        (scene.as_bob, row.pk, "input"),
        (scene.as_alice, row.pk, "metadata"),
        (scene.as_alice, row.pk, "error"),
        (scene.as_alice, inner.pk, "input"),
        (scene.as_alice, uuid4(), "input"),
    ):
        assert client.get(f"/traces/{row.pk}/payload/{node}/{part}/").status_code == 404


def test_untrusted_text_stays_text(scene: Scene) -> None:
    evil = "<script>alert(1)</script><img src=x onerror=alert(1)>"
    fields: dict[str, Any] = {
        "name": evil,
        "error_class": evil,
        "error": evil,
        "state": "failed",
        "tags": json([evil]),
        "metadata": json({evil: evil}),
        "output": json({"type": "ai", "content": evil, "tool_calls": [{"name": evil, "args": {}}]}),
        "input": json(evil),
    }
    row = scene.mine(**fields)
    inner = step(row, 1, model=evil, kind="llm", **fields)
    for node in (row.pk, inner.pk):
        text = scene.as_alice.get(url(row, node=node, find=evil[:8])).text
        assert "<script>alert" not in text
        assert "<img" not in text


def test_feedback_is_listed_with_its_words_for_who_may_see_payloads(scene: Scene) -> None:
    row = scene.mine()
    inner = step(row, 1)
    Feedback.objects.create(
        run_id=inner.pk,
        trace_id=row.pk,
        deployment=scene.qa,
        key="helpful",
        author="token",
        score=0.5,
        comment="wrong page",
        correction={"answer": "the other"},
        reasons=["wrong"],
    )

    assert "helpful" not in page(scene.as_alice, row)
    theirs = page(scene.as_bob, row)
    assert "helpful" in theirs
    assert f"?node={inner.pk}" in theirs
    assert "wrong page" not in theirs
    assert "the other" not in theirs
    grant(scene.qa, scene.bob, "see_payloads")
    assert "wrong page" in page(scene.as_bob, row)


# The tree


def test_tree_has_the_run_above_its_steps_in_their_order(scene: Scene) -> None:
    row = scene.mine()
    first = step(row, 1)
    step(row, 2, first)
    third = step(row, 3)
    step(row, 4, first)
    step(row, 5, third)

    assert names(page(scene.as_alice, row)) == [
        (1, "RunnableSequence"),
        (2, "step 1"),
        (3, "step 2"),
        (3, "step 4"),
        (2, "step 3"),
        (3, "step 5"),
    ]


def test_steps_without_a_place_are_shown_all_the_same(scene: Scene) -> None:
    row = scene.mine()
    step(row, 1, parent=Step(id=uuid4()))
    one, two = uuid4(), uuid4()
    Step.objects.create(**{**step_fields(row, 2), "id": one, "parent": two})
    Step.objects.create(**{**step_fields(row, 3), "id": two, "parent": one})
    Step.objects.create(**{**step_fields(row, 4), "id": (own := uuid4()), "parent": own})

    found = names(page(scene.as_alice, row))
    assert {*found[1:]} == {(2, f"step {n}") for n in (1, 2, 3, 4)}


def test_bars_say_when_and_how_long(scene: Scene) -> None:
    row = scene.mine(duration_ms=1000.0)
    step(row, 1, offset_ms=250.0, duration_ms=500.0)
    step(row, 2, offset_ms=1500.0, duration_ms=500.0)  # after the run, as a clock may have it
    bars = re.findall(r'<rect x="([\d.]+)" width="([\d.]+)"', page(scene.as_alice, row))

    assert bars == [("0", "100"), ("25.00", "50.00"), ("99.00", "1.00")]


def test_page_opens_where_it_went_wrong(scene: Scene) -> None:
    row = scene.mine(state="failed")
    assert chosen(page(scene.as_alice, row)) == str(row.pk)
    step(row, 1)
    outer = step(row, 2, state="failed")
    cause = step(row, 3, outer, state="failed")
    step(row, 4, state="failed")

    assert chosen(page(scene.as_alice, row)) == str(cause.pk)
    assert chosen(page(scene.as_alice, row, node=outer.pk)) == str(outer.pk)
    assert chosen(page(scene.as_alice, row, node="nonsense")) == str(cause.pk)


@pytest.fixture
def family(scene: Scene) -> Trace:
    row = scene.mine(name="run")
    parallel = step(row, 1, name="RunnableParallel<a,b>")
    lookup = step(row, 2, parallel, name="Lookup")
    step(row, 3, lookup, name="ChatModel", kind="llm", model="gpt-5", state="failed")
    step(row, 4, row, name="RunnableLambda")
    step(row, 5, row, name="Parser")
    return row


def test_tree_is_searched_and_thinned_without_scripts(scene: Scene, family: Trace) -> None:
    above = [(1, "run"), (2, "RunnableParallel<a,b>"), (3, "Lookup"), (4, "ChatModel")]
    client = scene.as_alice

    assert names(page(client, family, find="GPT-5")) == above
    assert names(page(client, family, errors=1)) == above
    assert names(page(client, family, find="nothing")) == []
    assert names(page(client, family, hide="noise")) == [
        (1, "run"),
        (2, "Lookup"),
        (3, "ChatModel"),
        (2, "Parser"),
    ]
    assert names(page(client, family, hide="noise", errors=1)) == [
        (1, "run"),
        (2, "Lookup"),
        (3, "ChatModel"),
    ]


def many_steps(row: Trace, number: int, **last: Any) -> list[UUID]:
    """
    A few branches that are five deep.
    """
    keys: list[UUID] = []
    steps = []
    for n in range(number):
        parent = row.pk if n % 5 == 0 else keys[-1]
        more = last if n == number - 1 else {}
        steps.append(Step(**{**step_fields(row, n + 1), "parent": parent, **more}))
        keys.append(steps[-1].pk)
    Step.objects.bulk_create(steps, batch_size=1000)
    Trace.objects.filter(pk=row.pk).update(steps_count=number)
    return keys


def test_long_traces_have_honest_pages(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree, "WHOLE", 100)
    monkeypatch.setattr(tree, "PAGE", 20)
    row = scene.mine(state="failed")
    keys = many_steps(row, 143, state="failed")

    opened = page(scene.as_alice, row)
    assert "Showing 3 of 143 steps: 141 to 143." in opened
    assert chosen(opened) == str(keys[-1])
    first = page(scene.as_alice, row, **{"from": 0})
    assert "Showing 20 of 143 steps: 1 to 20." in first
    assert len(names(first)) == 21
    assert 'href="?from=20"' in first
    assert names(page(scene.as_alice, row, node=keys[50]))[1] == (2, "step 41")
    assert "141 to 143" not in page(scene.as_alice, row, **{"from": 99999999})


def test_number_of_queries_does_not_grow_with_the_steps(scene: Scene) -> None:
    row = scene.mine()
    many_steps(row, 5)
    with CaptureQueriesContext(connection) as few:
        page(scene.as_bob, row)
    Step.objects.all().delete()
    many_steps(row, 500)
    with CaptureQueriesContext(connection) as many:
        page(scene.as_bob, row)

    assert len(many) == len(few) <= 13
    read = [query["sql"] for query in many if "langserve_traces_step" in query["sql"]]
    assert not any('"input"' in sql for sql in read)


def test_two_thousand_steps_are_drawn_in_time(scene: Scene) -> None:
    row = scene.mine()
    many_steps(row, 2_000)
    page(scene.as_alice, row)
    before = time.process_time()
    assert len(names(page(scene.as_alice, row))) == 2_001

    # The other half of the 1.5 s is the browser's.
    assert time.process_time() - before < 0.75


# The panel


def test_chat_messages_are_read_as_a_conversation(scene: Scene) -> None:
    asked = [
        {"type": "system", "content": "Be brief."},
        {"type": "human", "content": [{"type": "text", "text": "Which door?"}]},
        {"type": "ai", "content": "", "tool_calls": [{"name": "look", "args": {"at": "docs"}}]},
        {"type": "tool", "name": "look", "content": "invoke"},
    ]
    row = scene.mine()
    inner = step(row, 1, kind="llm", input=json(asked), output=json({"content": 1, "type": "ai"}))
    text = page(scene.as_alice, row, node=inner.pk)

    assert re.findall(r'class="message message-(\w+)"', text) == [
        "system",
        "human",
        "ai",
        "tool",
        "ai",
    ]
    assert "Which door?" in text
    assert "calls look" in text
    assert "tool · look" in text


MESSAGE = {"type": "human", "content": "hi"}
WRAPPED = [
    MESSAGE,
    [MESSAGE],
    [[MESSAGE]],
    {"messages": [MESSAGE]},
    {"generations": [[{"text": "hi", "message": MESSAGE}]]},
    {"lc": 1, "type": "constructor", "id": ["HumanMessage"], "kwargs": {**MESSAGE}},
    {"role": "human", "content": "hi"},
    {"type": "HumanMessageChunk", "content": "hi"},
]


def test_messages_are_found_however_they_are_held() -> None:
    for value in WRAPPED:
        assert payloads.messages_of(value) == [payloads.Message("human", "hi")], value


def test_what_is_no_chat_is_json() -> None:
    for value in (
        [],
        {},
        [1, MESSAGE],
        {"type": "Document", "content": "x"},
        None,
        "hi",
        [[[[[[1]]]]]],
    ):
        assert payloads.messages_of(value) is None, value


def test_long_payload_is_begun_and_the_rest_is_linked(scene: Scene) -> None:
    text = json("é" * 50_000)
    row = scene.mine(output=text, output_size=len(text.encode()))
    shown = page(scene.as_alice, row)

    assert "The first 64 KB of 97.7\xa0KB." in shown
    assert f"/traces/{row.pk}/payload/{row.pk}/output/" in shown
    assert len(shown) < 120_000


def test_payload_that_was_cut_when_recorded_says_so(scene: Scene) -> None:
    row = scene.mine(output='{"answer":"it is', output_size=3 * 1024 * 1024)
    shown = page(scene.as_alice, row)

    assert '{"answer":"it is' in shown
    assert "the first 16\xa0bytes of 3.0\xa0MB were kept" in shown


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"state": "cancelled"}, "was cancelled"),
        ({"state": "client_gone"}, "caller went away"),
        ({"state": "client_too_slow"}, "did not read"),
        ({"state": "timed_out"}, "longer than its deployment allows"),
        ({"state": "lost"}, "is not known"),
        ({"steps_dropped": 3}, "Partial: 3 further steps"),
        ({"kept": "timing", "input": "", "output": ""}, "only times were kept"),
        ({"kept": "shape", "input": "", "output": ""}, "only their shapes are kept"),
    ],
)
def test_page_says_what_became_of_the_run(scene: Scene, fields: dict[str, Any], said: str) -> None:
    assert said in page(scene.as_alice, scene.mine(**fields))


def test_running_trace_is_read_without_scripts(scene: Scene) -> None:
    running = {"state": "running", "duration_ms": None, "ended_at": None, "output": ""}
    row = scene.mine(ago=10, **running)
    step(row, 1, state="running", duration_ms=None)
    shown = page(scene.as_alice, row)

    assert "so far 10" in shown
    assert "Running" in shown
    assert "so far" in page(scene.as_alice, row, fragment="live")


def test_fragments_are_parts_of_the_page(scene: Scene) -> None:
    row = scene.mine()
    inner = step(row, 1)
    panel = page(scene.as_alice, row, fragment="panel", node=inner.pk)

    assert f'data-node="{inner.pk}"' in panel
    assert "<html" not in panel
    assert "<html" not in page(scene.as_alice, row, fragment="live")


# Again


def test_same_run_is_had_again_by_its_curl(site: Site) -> None:
    alice = site.user("alice")
    qa = site.serve("qa", echo(), access="public")
    row = trace(qa, alice, input=json('it\'s "$HOME"'), config=json({"tags": ["a"]}))
    text = page(browser_of(alice), row)
    [curl] = re.findall(r'<textarea id="again-curl".*?>(.*?)</textarea>', text, re.DOTALL)
    [body] = re.findall(r'<textarea id="again-json".*?>(.*?)</textarea>', text, re.DOTALL)
    words = shlex.split(curl)
    sent = plain_json.loads(words[-1])

    assert words[:2] == ["curl", "http://testserver/qa/invoke"]
    assert sent == plain_json.loads(body) == {"input": 'it\'s "$HOME"', "config": {"tags": ["a"]}}
    assert site.post("/qa/invoke", sent).json()["output"] == 'it\'s "$HOME"'


def test_again_names_the_version_for_who_may_choose_one(scene: Scene) -> None:
    row = scene.mine(version=3)
    assert "?version=3" not in page(scene.as_alice, row)
    grant(scene.qa, scene.alice, "pin_version")

    assert "/qa/invoke?version=3" in page(scene.as_alice, row)


@pytest.mark.parametrize(
    "fields",
    [{"input": ""}, {"input": '{"cut', "input_size": 9}, {"input_size": 10**6}],
)
def test_again_needs_the_exact_input(scene: Scene, fields: dict[str, Any]) -> None:
    assert "again-curl" not in page(scene.as_alice, scene.mine(**fields))


def test_deleting_is_offered_to_who_may(scene: Scene) -> None:
    row = scene.mine()

    assert "Delete this trace" in page(scene.as_alice, row)
    assert "Delete this trace" not in page(scene.as_bob, row)


def test_page_has_the_policy_and_is_kept_by_no_cache(scene: Scene) -> None:
    row = scene.mine(ended_at=timezone.now() + timedelta(seconds=1))
    for address in (url(row), f"{url(row)}payload/{row.pk}/input/"):
        response = scene.as_alice.get(address)
        assert response["Cache-Control"] == "no-store"
        assert "default-src 'none'" in response["Content-Security-Policy"]
