"""
Traces for a live server, made by `manage.py shell`: one of everything that their pages show.
"""

from __future__ import annotations

from uuid import UUID

from django.contrib.auth import get_user_model

from runnables.models import Deployment
from tests.browser.conftest import PASSWORD
from tests.traces.made import deployment, grant, json, step, step_fields, trace
from traces.models import Step

FAMILY, LONG, RUNNING, WIDE, EVIL, TICKING = (UUID(int=n) for n in range(1, 7))
STEPS = 2_000
EVIL_TEXT = "<img src=x onerror=\"document.body.id='owned'\"><script>owned()</script>"


def furnish() -> None:
    users = get_user_model().objects
    alice = users.get(username="alice")
    bob = users.create_user("bob", password=PASSWORD)
    qa = deployment("traced")
    grant(qa, bob, "see_traces")
    for number in range(12):
        trace(qa, alice, ago=3600 + number, state="failed" if number == 3 else "done")
    _family(qa, alice)
    _long(qa, alice)
    for key in (RUNNING, TICKING):
        running = trace(qa, alice, id=key, ago=30, state="running", duration_ms=None, output="")
        step(running, 1, name="Thinking", state="running", duration_ms=None)
    _wide(qa, alice)
    fields = {"name": EVIL_TEXT, "tags": json([EVIL_TEXT]), "error_class": EVIL_TEXT}
    evil = trace(qa, alice, id=EVIL, ago=500, state="failed", input_preview=EVIL_TEXT, **fields)
    step(evil, 1, state="failed", input=json(EVIL_TEXT), error=EVIL_TEXT, **fields)


def _family(qa: Deployment, alice: object) -> None:
    row = trace(qa, alice, id=FAMILY, ago=100, name="run", steps_count=5)
    parallel = step(row, 1, name="RunnableParallel<a,b>")
    lookup = step(row, 2, parallel, name="Lookup")
    asked = [{"type": "human", "content": "Which door?"}]
    step(row, 3, lookup, name="ChatModel", kind="llm", state="failed", input=json(asked))
    step(row, 4, row, name="RunnableLambda")
    step(row, 5, row, name="Parser", output=json("x" * 100_000), output_size=100_002)


def _long(qa: Deployment, alice: object) -> None:
    row = trace(qa, alice, id=LONG, ago=200, steps_count=STEPS)
    keys: list[UUID] = []
    steps = []
    for number in range(STEPS):
        parent = row.pk if number % 8 == 0 else keys[-1]
        steps.append(Step(**{**step_fields(row, number + 1), "parent": parent}))
        keys.append(steps[-1].pk)
    Step.objects.bulk_create(steps, batch_size=500)


def _wide(qa: Deployment, alice: object) -> None:
    """
    Words that no phone is wide enough for.
    """
    word = "W" * 150
    row = trace(
        qa,
        alice,
        id=WIDE,
        ago=300,
        name=word,
        state="failed",
        error_class=word,
        error=word,
        input_preview=word,
        output_preview=word,
        tags=json([word]),
        thread=word,
        input=json({word: word}),
        output=json({"type": "ai", "content": word, "tool_calls": [{"name": word, "args": {}}]}),
    )
    inner = row
    for number in range(12):
        inner = step(row, number + 1, inner, name=word, model=word)  # type: ignore[assignment]
