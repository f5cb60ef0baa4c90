"""
What leaves the site for LangSmith and OpenTelemetry: nothing unless it was asked for, and
then what was asked for.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from django.db import connection
from langchain_core.prompts import ChatPromptTemplate
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from runnables.models import Deployment
from tests.conftest import Site
from tests.fakes import Words, echo
from tests.live import FOREIGN, ROOT
from tests.traces import rows
from traces import otel
from traces.models import Trace

# LangSmith


class Smith(ThreadingHTTPServer):
    """
    As LangSmith is to its client, as far as that needs it: it keeps the runs it is sent.
    """

    INFO = {
        "version": "0",
        "batch_ingest_config": {
            "use_multipart_endpoint": False,
            "scale_up_qsize_trigger": 1000,
            "scale_up_nthreads_limit": 1,
            "scale_down_nempty_trigger": 4,
            "size_limit": 100,
            "size_limit_bytes": 20_000_000,
        },
    }

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answering)
        self.requests: list[str] = []
        self.runs: dict[str, dict[str, Any]] = {}
        self.sent = ""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Answering(BaseHTTPRequestHandler):
    server: Smith

    def do_GET(self) -> None:
        self._answer(Smith.INFO)

    def do_POST(self) -> None:
        text = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.server.sent += text
        batch = json.loads(text)
        for run in (*batch.get("post", ()), *batch.get("patch", ())):
            known = self.server.runs.setdefault(run["id"], {})
            known.update({name: value for name, value in run.items() if value is not None})
        self._answer({})

    def _answer(self, body: Any) -> None:
        self.server.requests.append(f"{self.command} {self.path}")
        data = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        pass


CALL = """
import asyncio, django, httpx
django.setup()
from runnables.asgi import get_asgi_application

async def call():
    transport = httpx.ASGITransport(get_asgi_application())
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        body = {"input": "a question", "config": {"tags": ["mine"], "metadata": {"theirs": 1}}}
        return await client.post("/mirrored/invoke", json=body)

print(asyncio.run(call()).text)
from langchain_core.tracers.langchain import wait_for_all_tracers
wait_for_all_tracers()
"""


@pytest.fixture
def smith() -> Iterator[Smith]:
    with Smith() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def served_once(smith: Smith, **more: str) -> dict[str, Any]:
    """
    The answer of another process to one call; it knows where LangSmith is.
    """
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(FOREIGN)}
    env = {
        **inherited,
        "DJANGO_SETTINGS_MODULE": "project.settings",
        "DATABASE_URL": f"sqlite:///{connection.settings_dict['NAME']}",
        "RUNNABLES_MODULES": "tests.traces.mirrored",
        "SECRET_KEY": "0123456789" * 5,
        "LANGSMITH_ENDPOINT": smith.url,
        "LANGSMITH_API_KEY": "a key",
        **more,
    }
    command = [sys.executable, "-c", CALL]
    done = subprocess.run(
        command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    assert answer["output"] == "one two three"
    return answer


def test_langsmith_is_sent_the_run_where_langchain_is_told_so(site: Site, smith: Smith) -> None:
    site.serve("mirrored", echo(), config_keys=("tags", "metadata"))
    answer = served_once(smith, LANGCHAIN_TRACING_V2="true")

    root = smith.runs[answer["metadata"]["run_id"]]
    assert root["inputs"] == {"input": "a question"}
    assert root["outputs"] == {"output": "one two three"}
    assert "mine" in root["tags"]
    kinds = sorted(run["run_type"] for run in smith.runs.values())
    assert kinds == ["chain", "llm"]
    # What the answer has for its caller alone stays here.
    assert answer["metadata"]["feedback_tokens"] == ["canary-of-a-token"]
    assert "canary" not in smith.sent
    # Of the server's own what LangServe sends too.
    own = {key for key in root["extra"]["metadata"] if key.startswith("__")}
    assert own == {"__useragent", "__langserve_version", "__langserve_endpoint"}


def test_langsmith_is_sent_nothing_otherwise(site: Site, smith: Smith) -> None:
    site.serve("mirrored", echo(), config_keys=("tags", "metadata"))
    served_once(smith)
    assert smith.requests == []


def test_langsmith_s_own_switches_hide_what_was_said(site: Site, smith: Smith) -> None:
    site.serve("mirrored", echo(), config_keys=("tags", "metadata"))
    hidden = {"LANGSMITH_HIDE_INPUTS": "true", "LANGSMITH_HIDE_OUTPUTS": "true"}
    served_once(smith, LANGSMITH_TRACING="true", **hidden)
    assert len(smith.runs) == 2
    assert "a question" not in smith.sent
    assert "one two three" not in smith.sent


# OpenTelemetry


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(otel, "_provider", provider)
    return exporter


@pytest.fixture
def it(site: Site) -> Deployment:
    return site.serve("it", echo())


def made(it: Deployment, **fields: Any) -> Trace:
    values = {"thread": "t1", "input": '"canary-in"', "output": '"canary-out"'}
    return rows.trace(it, **{**values, **fields})


def named(spans: InMemorySpanExporter) -> dict[str, Any]:
    return {span.name: span for span in spans.get_finished_spans()}


def test_spans_have_the_tree_and_the_times_of_the_trace(
    site: Site, it: Deployment, spans: InMemorySpanExporter
) -> None:
    trace = made(it)
    chain = rows.step(trace, 1, name="sequence", offset_ms=1.5, duration_ms=100)
    model = rows.step(
        *(trace, 2, chain), kind="llm", name="FakeChat", model="gpt-5-mini", first_token_ms=5,
        offset_ms=2, duration_ms=50, input_tokens=11, output_tokens=7,
    )  # fmt: skip
    tool = rows.step(trace, 3, chain, kind="tool", name="search")
    otel.export(trace, [tool, model, chain])

    found = named(spans)
    assert set(found) == {"it", "sequence", "chat gpt-5-mini", "execute_tool search"}
    root, sequence, chat = found["it"], found["sequence"], found["chat gpt-5-mini"]
    assert root.parent is None
    assert len({span.context.trace_id for span in found.values()}) == 1
    assert sequence.parent.span_id == root.context.span_id
    assert chat.parent.span_id == sequence.context.span_id
    assert found["execute_tool search"].parent.span_id == sequence.context.span_id

    began = round(trace.started_at.timestamp() * 1e6) * 1000
    assert (root.start_time, root.end_time) == (began, began + 120_000_000)
    assert (sequence.start_time, sequence.end_time) == (began + 1_500_000, began + 101_500_000)
    [first] = chat.events
    assert (first.name, first.timestamp) == ("gen_ai.first_token", began + 7_000_000)


def test_spans_speak_the_words_of_the_conventions(
    site: Site, it: Deployment, spans: InMemorySpanExporter
) -> None:
    trace = made(it, input_tokens=11, output_tokens=7)
    rows.step(trace, 1, kind="llm", model="gpt-5-mini", input_tokens=11, output_tokens=7)
    rows.step(trace, 2, kind="tool", name="search")
    otel.export(trace, list(trace.steps.all()))

    found = named(spans)
    root, chat, tool = found["it"], found["chat gpt-5-mini"], found["execute_tool search"]
    assert root.attributes["gen_ai.operation.name"] == "invoke_agent"
    assert root.attributes["gen_ai.conversation.id"] == "t1"
    assert root.attributes["langserve.run_id"] == str(trace.pk)
    assert root.attributes["langserve.deployment"] == "it"
    assert root.attributes["langserve.version"] == 1
    assert (root.kind, chat.kind, tool.kind) == (
        SpanKind.SERVER,
        SpanKind.CLIENT,
        SpanKind.INTERNAL,
    )
    assert chat.attributes["gen_ai.operation.name"] == "chat"
    assert chat.attributes["gen_ai.request.model"] == "gpt-5-mini"
    assert chat.attributes["gen_ai.usage.input_tokens"] == 11
    assert chat.attributes["gen_ai.usage.output_tokens"] == 7
    # Once: backends add them up.
    assert "gen_ai.usage.input_tokens" not in root.attributes
    assert tool.attributes["gen_ai.tool.name"] == "search"
    assert {span.status.status_code for span in found.values()} == {StatusCode.UNSET}


@pytest.mark.parametrize(
    ("state", "error", "expected"),
    [("failed", "ValueError", "ValueError"), ("timed_out", "", "timed_out")],
)
def test_what_went_wrong_is_an_error(
    site: Site, it: Deployment, spans: InMemorySpanExporter, state: str, error: str, expected: str
) -> None:
    otel.export(made(it, state=state, error_class=error, error="canary"), [])
    [root] = spans.get_finished_spans()
    assert root.attributes is not None
    assert root.attributes["error.type"] == expected
    assert (root.status.status_code, root.status.description) == (StatusCode.ERROR, state)


@pytest.mark.parametrize("is_content", [False, True])
def test_content_leaves_the_site_only_where_it_should(
    site: Site, it: Deployment, spans: InMemorySpanExporter, settings: Any, is_content: bool
) -> None:
    settings.LANGSERVE = {**settings.LANGSERVE, "OTEL_CONTENT": is_content}
    trace = made(it, state="failed", error="canary", metadata='{"a":"canary"}')
    rows.step(trace, 1, input='"canary"', output='"canary"', error="canary", state="failed")
    otel.export(trace, list(trace.steps.all()))
    sent = "".join(span.to_json() for span in spans.get_finished_spans())
    assert ("canary" in sent) is is_content
    assert ("canary-in" in sent) is is_content


def test_run_of_the_site_has_its_spans(site: Site, spans: InMemorySpanExporter) -> None:
    site.serve("talk", ChatPromptTemplate.from_template("about {topic}") | Words())
    site.post("/talk/invoke", {"input": {"topic": "cats"}})
    [trace] = site.traces()
    otel.export(trace, list(trace.steps.all()))
    found = named(spans)
    assert {"talk", "ChatPromptTemplate", "chat Words"} <= set(found)
    assert "cats" not in "".join(span.to_json() for span in found.values())
    assert all(
        found["talk"].start_time <= span.start_time <= span.end_time <= found["talk"].end_time
        for span in found.values()
    )


def test_step_without_its_parent_is_the_trace_s(
    site: Site, it: Deployment, spans: InMemorySpanExporter
) -> None:
    trace = made(it)
    lost = rows.step(trace, 1)
    kept = rows.step(trace, 2, lost, name="kept")
    otel.export(trace, [kept])
    found = named(spans)
    assert found["kept"].parent.span_id == found["it"].context.span_id


def test_spans_are_made_only_where_they_are_wanted(settings: Any) -> None:
    assert not otel.wanted()
    settings.LANGSERVE = {**settings.LANGSERVE, "OTEL": True}
    assert otel.wanted()


def test_what_goes_wrong_is_logged_alone(
    site: Site, it: Deployment, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    trace = made(it)
    monkeypatch.setattr(otel, "_provider", object())
    otel.export(trace, [])
    assert f"no spans were made of run {trace.pk}" in caplog.text


def test_collector_is_the_one_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_SERVICE_NAME", "mine")
    provider = otel._made()
    assert provider.resource.attributes["service.name"] == "mine"
    monkeypatch.delenv("OTEL_SERVICE_NAME")
    other = otel._made()
    assert other.resource.attributes["service.name"] == "langserve"
    provider.shutdown()
    other.shutdown()
