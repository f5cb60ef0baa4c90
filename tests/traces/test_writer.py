"""
What is written of runs when, and what becomes of them when that cannot be.
"""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from django.db import OperationalError, connection
from django.utils import timezone
from langchain_core.runnables import RunnableLambda

from runnables import deployments, processes, snapshot
from tests.conftest import Site
from tests.fakes import Waiting, echo, failing
from tests.runnables.asgi import connected, hang_up
from traces import queue, rows, tables, writer
from traces.models import DroppedTraces, Step, Trace, Tracing
from traces.runs import known_run

BODY = {"input": 1}
RUN_ID = "0f8fad5b-d9cb-469f-a165-70867728950e"


def _tracing(site: Site, name: str, **values: Any) -> None:
    Tracing.objects.create(deployment=site.row(name), **values)
    deployments.announce_change()
    snapshot.refresh()


@pytest.mark.parametrize("door", ["invoke", "stream"])
def test_run_whose_client_left_says_so(site: Site, door: str) -> None:
    waiting = Waiting()
    site.serve("it", waiting)
    asyncio.run(hang_up(site, f"/it/{door}", BODY, when=waiting.begun))
    (trace,) = site.traces()
    assert (trace.state, trace.request_state) == ("client_gone", "client_gone")


def test_run_that_took_too_long_has_timed_out(site: Site) -> None:
    site.serve("it", Waiting() | RunnableLambda(lambda x: x), timeout=0.05)
    assert site.post("/it/invoke", BODY).status_code == 504
    (trace,) = site.traces()
    assert (trace.state, trace.error_class) == ("timed_out", "RunTimedOut")
    assert {step.state for step in trace.steps.all()} == {"cancelled"}


def test_run_stopped_by_its_id_is_cancelled(site: Site) -> None:
    waiting = Waiting()
    site.serve("it", waiting)

    async def talk(client: httpx.AsyncClient) -> None:
        async with asyncio.timeout(10):
            headers = {"X-Run-Id": RUN_ID}
            call = asyncio.create_task(client.post("/it/invoke", json=BODY, headers=headers))
            await waiting.begun.wait()
            assert (await client.get(f"/it/runs/{RUN_ID}")).json()["status"] == "running"
            await client.post(f"/it/runs/{RUN_ID}/cancel")
            await call

    asyncio.run(connected(site, talk))
    (trace,) = site.traces()
    assert (str(trace.pk), trace.state) == (RUN_ID, "cancelled")


def test_run_that_goes_on_is_shown_and_then_completed(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "SHOWN_AFTER", 0.0)
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def wait(value: Any) -> Any:
        begun.set()
        await go_on.wait()
        return value

    site.serve("it", RunnableLambda(lambda x: x + 1) | RunnableLambda(wait))

    async def talk(client: httpx.AsyncClient) -> None:
        async with asyncio.timeout(10):
            call = asyncio.create_task(client.post("/it/invoke", json=BODY))
            await begun.wait()
            (seen,) = await asyncio.to_thread(site.traces)
            assert (seen.state, seen.ended_at, seen.duration_ms) == ("running", None, None)
            steps = await asyncio.to_thread(lambda: list(seen.steps.values_list("name", "state")))
            assert steps == [("RunnableLambda", "done"), ("wait", "running")]
            go_on.set()
            assert (await call).status_code == 200

    asyncio.run(connected(site, talk))
    (trace,) = site.traces()
    assert (trace.state, trace.output) == ("done", "2")
    assert [step.state for step in trace.steps.all()] == ["done", "done"]


def test_a_thousand_parallel_runs_do_not_mix(site: Site) -> None:
    async def inner(value: str) -> str:
        await asyncio.sleep(0)
        return value

    site.serve(
        "it", RunnableLambda(inner) | RunnableLambda(inner), config_keys=["tags", "metadata"]
    )

    async def talk(client: httpx.AsyncClient) -> dict[str, str]:
        async def one(nonce: str) -> tuple[str, str]:
            config = {"tags": [nonce], "metadata": {"nonce": nonce}}
            body = {"input": nonce, "config": config}
            answer = await client.post("/it/invoke", json=body)
            assert answer.json()["output"] == nonce
            return answer.headers["x-run-id"], nonce

        return dict(await asyncio.gather(*(one(uuid4().hex) for _ in range(1000))))

    nonces = asyncio.run(connected(site, talk))
    traces = {str(trace.pk): trace for trace in site.traces()}
    assert set(traces) == set(nonces)
    steps: dict[str, list[Step]] = {}
    for step in Step.objects.all():
        steps.setdefault(str(step.trace_id), []).append(step)
    for run_id, nonce in nonces.items():
        trace, text = traces[run_id], json.dumps(nonce)
        assert (trace.input, trace.output, trace.tag_list) == (text, text, [nonce])
        assert trace.metadata_dict == {"nonce": nonce}
        assert [(step.input, step.output) for step in steps[run_id]] == [(text, text)] * 2


def test_recording_asks_the_database_nothing_in_the_request(
    site: Site, django_assert_num_queries: Any
) -> None:
    site.serve("it", echo())
    site.invoke("/it", 1)
    with django_assert_num_queries(0):
        site.invoke("/it", 2)
    assert len(site.traces()) == 2


def test_what_finds_no_room_is_dropped_and_counted(site: Site, settings: Any) -> None:
    settings.LANGSERVE = {**settings.LANGSERVE, "TRACE_QUEUE": 6}
    site.serve("it", echo())
    for number in range(5):
        assert site.invoke("/it", number) == number
    assert [trace.input for trace in site.traces()] == ["2", "1", "0"]
    assert DroppedTraces.objects.get().count == 2
    assert site.invoke("/it", 5) == 5
    assert len(site.traces()) == 4


def test_database_that_is_down_costs_callers_nothing(
    site: Site, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.LANGSERVE = {**settings.LANGSERVE, "TRACE_QUEUE": 4}
    site.serve("it", echo())
    real = tables._execute

    def down(*_: Any) -> int:
        raise OperationalError("no such server")

    monkeypatch.setattr(tables, "_execute", down)
    for number in range(5):
        assert site.invoke("/it", number) == number
        with pytest.raises(OperationalError):
            writer.write()
    assert queue.length() == 2
    monkeypatch.setattr(tables, "_execute", real)
    assert len(site.traces()) == 2
    assert DroppedTraces.objects.get().count == 3


def test_one_run_that_cannot_be_written_is_not_all_of_them(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.serve("it", echo())
    real = rows.trace_row

    def unwritable(recorder: Any, *arguments: Any, **named: Any) -> Any:
        if recorder.input == 2:
            raise RecursionError
        return real(recorder, *arguments, **named)

    monkeypatch.setattr(rows, "trace_row", unwritable)
    for number in (1, 2, 3):
        site.invoke("/it", number)
    assert [trace.input for trace in site.traces()] == ["3", "1"]
    assert DroppedTraces.objects.get().count == 1
    assert queue.length() == 0


def test_an_id_that_was_used_before_stays_with_the_first_run(site: Site) -> None:
    site.serve("it", echo())
    headers = {"X-Run-Id": RUN_ID}
    site.invoke("/it", "first", headers=headers)
    site.traces()
    site.invoke("/it", "second", headers=headers)
    site.invoke("/it", "third", headers=headers)
    traces = {trace.input: trace for trace in site.traces()}
    assert str(traces['"first"'].pk) == RUN_ID
    assert {str(traces[name].reused_id) for name in ('"second"', '"third"')} == {RUN_ID}


def test_an_id_used_twice_within_a_batch_of_writes_is_told_apart(site: Site) -> None:
    site.serve("it", RunnableLambda(lambda x: x) | RunnableLambda(lambda x: x))
    for word in ("first", "second"):
        site.invoke("/it", word, headers={"X-Run-Id": RUN_ID})
    traces = {trace.input: trace for trace in site.traces()}
    assert str(traces['"first"'].pk) == RUN_ID
    assert [step.input for step in traces['"second"'].steps.all()] == ['"second"'] * 2


def test_run_of_a_user_who_was_deleted_since_keeps_its_trace(site: Site) -> None:
    alice = site.user("alice")
    site.serve("it", echo(), access="authenticated")
    site.serve("gone", echo())
    site.invoke("/it", 1, headers=site.token(alice))
    site.invoke("/gone", 2)
    site.invoke("/it", 3, headers=site.token(site.user("bob")))
    alice.delete()
    site.row("gone").delete()
    traces = {trace.input: trace for trace in site.traces()}
    assert (traces["1"].user, traces["2"].deployment) == (None, None)
    assert traces["3"].user is not None
    assert traces["1"].principal


def test_runs_whose_process_is_gone_are_lost(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.serve("it", echo())
    long_ago = timezone.now() - timedelta(minutes=5)
    common = {"deployment_name": "it", "endpoint": "invoke", "state": "running"}
    lost = Trace.objects.create(**common, started_at=long_ago, boot_id=uuid4())
    mine = Trace.objects.create(**common, started_at=long_ago, boot_id=processes.boot_id())
    young = Trace.objects.create(**common, started_at=timezone.now(), boot_id=uuid4())
    monkeypatch.setattr(writer, "_next_look", 0.0)
    site.traces()
    states = dict(Trace.objects.values_list("pk", "state"))
    assert states == {lost.pk: "lost", mine.pk: "running", young.pk: "running"}


def test_deployment_that_is_not_recorded_leaves_nothing(site: Site) -> None:
    site.serve("it", echo())
    _tracing(site, "it", is_on=False)
    site.invoke("/it", 1)
    assert site.traces() == []


def test_of_runs_outside_the_sample_only_times_are_kept(site: Site) -> None:
    site.serve("it", RunnableLambda(lambda x: x) | RunnableLambda(lambda x: x))
    _tracing(site, "it", sample_percent=0)
    site.invoke("/it", "hello")
    (trace,) = site.traces()
    assert (trace.kept, trace.state, trace.request_state) == ("timing", "done", "done")
    assert trace.duration_ms is not None
    assert (trace.input, trace.output, trace.input_shape, trace.steps.count()) == ("", "", "", 0)


def test_of_shapes_no_value_is_kept(site: Site) -> None:
    site.serve("it", RunnableLambda(lambda x: {"a": x["question"]}), validation="off")
    _tracing(site, "it", payloads="shape")
    site.post("/it/invoke", {"input": {"question": "canary-question", "k": 3}})
    (trace,) = site.traces()
    assert trace.input_shape == "question: text, 15 characters; k: number"
    assert "canary" not in _everything()
    site.serve("bad", failing(RuntimeError("canary in the error")))
    _tracing(site, "bad", payloads="shape")
    site.post("/bad/invoke", BODY)
    site.traces()
    assert "canary" not in _everything()
    assert Trace.objects.get(deployment_name="bad").error_class == "RuntimeError"


def test_secrets_are_redacted_before_they_are_written(site: Site) -> None:
    site.serve("it", RunnableLambda(lambda x: x) | RunnableLambda(lambda x: {**x, "more": 1}))
    given = {
        "api_key": "canary-one",
        "nested": [{"password": "canary-two"}],
        "text": "call with sk-canary3canary3canary3 please",
        "max_tokens": 5,
    }
    site.post("/it/invoke", {"input": given})
    (trace,) = site.traces()
    assert "canary" not in _everything()
    kept = json.loads(trace.input)
    assert kept["api_key"] == "[redacted]"
    assert kept["text"] == "call with [redacted] please"
    assert kept["max_tokens"] == 5


def test_own_keys_and_patterns_are_redacted_too(site: Site) -> None:
    site.serve("it", echo())
    _tracing(site, "it", redact_keys=["Name"], redact_patterns=[r"\d{4}-\d{4}"])
    site.post("/it/invoke", {"input": {"name": "canary", "card": "no 1234-5678."}})
    (trace,) = site.traces()
    assert json.loads(trace.input) == {"name": "[redacted]", "card": "no [redacted]."}


def test_full_payloads_are_kept_as_they_are(site: Site) -> None:
    site.serve("it", echo())
    _tracing(site, "it", payloads="full")
    site.post("/it/invoke", {"input": {"api_key": "kept"}})
    (trace,) = site.traces()
    assert json.loads(trace.input) == {"api_key": "kept"}


def test_long_payloads_are_cut_and_their_size_is_told(site: Site, settings: Any) -> None:
    settings.LANGSERVE = {**settings.LANGSERVE, "TRACE_BYTES": 100}
    site.serve("it", echo())
    site.invoke("/it", "ä" * 100)
    (trace,) = site.traces()
    assert trace.input_size == 202
    assert trace.input == '"' + "ä" * 49
    assert trace.input_preview


def test_steps_beyond_the_limit_are_counted(site: Site, settings: Any) -> None:
    settings.LANGSERVE = {**settings.LANGSERVE, "TRACE_STEPS": 3}

    def five(value: int) -> list[int]:
        return [value] * 5

    site.serve("it", RunnableLambda(five) | RunnableLambda(lambda x: x).map())
    site.invoke("/it", 1)
    (trace,) = site.traces()
    assert (trace.steps_count, trace.steps_dropped) == (2, 5)


def test_nul_and_lone_surrogates_do_not_stop_the_writer(site: Site) -> None:
    site.serve("it", RunnableLambda(lambda _: "a\0b \ud800 c", name="name"))
    site.post("/it/invoke", BODY)
    (trace,) = site.traces()
    assert "\0" not in trace.output + trace.name + trace.output_preview


def test_config_is_kept_as_the_caller_may_send_it_again(site: Site) -> None:
    site.serve(
        "it", echo(), extra_configurable=["session_id"], config_keys=["configurable", "tags"]
    )
    config = {"tags": ["a"], "configurable": {"session_id": "mine"}}
    alice = site.user("alice")
    body = {"input": 1, "config": config}
    answer = site.post("/it/invoke", body, headers=site.token(alice))
    assert answer.status_code == 200
    (trace,) = site.traces()
    assert trace.config_dict == config
    assert (trace.thread, trace.principal, trace.user) == ("mine", f"u{alice.pk}", alice)


def test_run_is_told_to_whoever_made_it(site: Site) -> None:
    site.serve("it", echo(), access="authenticated")
    alice, bob = site.token(site.user("alice")), site.token(site.user("bob"))
    run_id = site.post("/it/invoke", BODY, headers=alice).headers["x-run-id"]
    for written in (False, True):
        told = site.get(f"/it/runs/{run_id}", headers=alice).json()
        assert (told["run_id"], told["status"], told["version"]) == (run_id, "done", 1)
        assert (told["usage"], told["cost"], told["error"]) == (None, None, None)
        assert told["duration_ms"] > 0
        refused = site.get(f"/it/runs/{run_id}", headers=bob)
        assert (refused.status_code, refused.json()["code"]) == (404, "unknown_run")
        if not written:
            site.traces()
    site.serve("other", echo(), access="authenticated")
    assert site.get(f"/other/runs/{run_id}", headers=alice).status_code == 404


def test_run_that_nobody_knows_is_404(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("traces.views.WAIT_SECONDS", 0.0)
    site.serve("it", echo())
    assert site.get(f"/it/runs/{RUN_ID}").status_code == 404
    assert site.get("/it/runs/nonsense").status_code == 404


def test_steps_are_known_by_their_ids_before_and_after_they_are_written(site: Site) -> None:
    site.serve("it", RunnableLambda(lambda x: x) | RunnableLambda(lambda x: x))
    run_id = UUID(site.post("/it/invoke", BODY).headers["x-run-id"])
    recorder = queue.followed[run_id]
    step = next(one for one in recorder.steps if one != run_id)
    before = known_run(step)
    site.traces()
    assert before == known_run(step)
    assert before is not None
    assert (before.run_id, before.state) == (run_id, "done")
    assert known_run(uuid4()) is None


def _everything() -> str:
    """
    All that stands in the tables of traces.
    """
    found = []
    with connection.cursor() as cursor:
        for model in (Trace, Step):
            cursor.execute(f"SELECT * FROM {model._meta.db_table}")
            found += [str(row) for row in cursor.fetchall()]
    return "\n".join(found)
