"""
Copies at LangSmith, for which a small server of its own stands here.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import transaction
from langsmith import utils

from feedback import langsmith
from feedback.answers import Answer
from feedback.models import Feedback, LangSmithCopy
from feedback.services import ANONYMOUS, record_feedback
from tests.conftest import Site
from tests.live import wait_until

# Read once per process, by a function with a cache.
langsmith_env: Any = utils.get_env_var
RUN_ID = UUID("0f8fad5b-d9cb-469f-a165-70867728950e")


class Remote:
    """
    What LangSmith was told: (method, path, body). While `is_down` it answers 503.
    """

    def __init__(self) -> None:
        self.told: list[tuple[str, str, Any]] = []
        self.tries = 0
        self.is_down = False
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        remote = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                remote.tries += 1
                if remote.is_down:
                    return self.reply(503, {})
                if self.command == "GET":
                    return self.reply(404, {})
                if self.path == "/feedback" and remote.has(json.loads(body)["id"]):
                    return self.reply(409, {})
                remote.told.append((self.command, self.path, json.loads(body) if body else None))
                self.reply(200, {})

            do_GET = do_POST = do_PATCH = do_DELETE = answer

            def reply(self, status: int, content: Any) -> None:
                data = json.dumps(content).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *args: Any) -> None:
                pass

        return Handler

    def has(self, feedback_id: str) -> bool:
        return any(path == "/feedback" and body["id"] == feedback_id for _, path, body in self.told)

    @property
    def spoken(self) -> list[str]:
        return [method for method, _, _ in self.told]


@pytest.fixture
def remote(site: Site, monkeypatch: pytest.MonkeyPatch) -> Iterator[Remote]:
    remote = Remote()
    thread = threading.Thread(target=remote.server.serve_forever, args=(0.01,))
    thread.start()
    for name, value in {
        "LANGSMITH_TRACING": "true",
        "LANGSMITH_API_KEY": "a key for tests",
        "LANGSMITH_ENDPOINT": remote.url,
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(langsmith, "FIRST_RETRY_SECONDS", 0.02)
    langsmith_env.cache_clear()
    yield remote
    langsmith.stop()
    remote.server.shutdown()
    thread.join()
    remote.server.server_close()
    monkeypatch.undo()
    langsmith_env.cache_clear()


def say(score: float | None, run_id: UUID = RUN_ID) -> Feedback:
    return record_feedback(
        run_id=run_id,
        trace_id=run_id,
        deployment=None,
        key="correctness",
        author=ANONYMOUS,
        answer=Answer(score=score, comment="Right." if score else ""),
        source_info={},
    )


def nothing_is_due() -> bool:
    return not LangSmithCopy.objects.filter(is_due=True).exists()


def test_feedback_is_copied_changed_and_deleted(remote: Remote) -> None:
    first = say(1)
    wait_until(lambda: remote.told and nothing_is_due(), 10)
    say(0.5)
    wait_until(lambda: len(remote.told) == 2 and nothing_is_due(), 10)
    say(None)
    wait_until(lambda: len(remote.told) == 3 and not LangSmithCopy.objects.exists(), 10)

    (_, path, body), (_, change, changed), (_, removal, _) = remote.told
    assert remote.spoken == ["POST", "PATCH", "DELETE"]
    assert (path, change, removal) == ("/feedback", *[f"/feedback/{first.pk}"] * 2)
    assert (body["run_id"], body["key"], body["score"]) == (str(RUN_ID), "correctness", 1)
    assert body["comment"] == "Right."
    assert body["feedback_source"]["metadata"]["from_langserve"] is True
    assert changed["score"] == 0.5


def test_what_langsmith_missed_is_sent_when_it_is_back(remote: Remote) -> None:
    remote.is_down = True
    for _ in range(3):
        say(1, uuid4())
    wait_until(lambda: remote.tries > 3, 10)
    assert (remote.told, Feedback.objects.count()) == ([], 3)
    remote.is_down = False
    wait_until(lambda: len(remote.told) == 3 and nothing_is_due(), 10)

    assert {body["run_id"] for _, _, body in remote.told} == {
        str(run_id) for run_id in Feedback.objects.values_list("run_id", flat=True)
    }


def test_what_is_rolled_back_is_not_copied(remote: Remote) -> None:
    with transaction.atomic():
        say(1)
        transaction.set_rollback(True)

    langsmith.deliver()
    assert (remote.tries, LangSmithCopy.objects.count()) == (0, 0)


def test_copy_that_arrived_unanswered_is_changed_instead(remote: Remote) -> None:
    feedback = say(1)
    wait_until(lambda: remote.told and nothing_is_due(), 10)
    LangSmithCopy.objects.update(is_sent=False)
    say(0)
    wait_until(lambda: len(remote.told) == 2 and nothing_is_due(), 10)

    assert remote.told[1][:2] == ("PATCH", f"/feedback/{feedback.pk}")


def test_nothing_is_copied_without_tracing_or_a_key(
    remote: Remote, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LANGSMITH_API_KEY")
    say(1)
    monkeypatch.setenv("LANGCHAIN_API_KEY", "a key for tests")
    monkeypatch.setenv("LANGSMITH_TRACING", "false")
    say(0)
    assert LangSmithCopy.objects.count() == 0
    monkeypatch.setenv("LANGCHAIN_TRACING_V2", "true")
    say(1)
    assert LangSmithCopy.objects.count() == 1
    wait_until(nothing_is_due, 10)


def test_what_an_earlier_process_left_is_sent(remote: Remote) -> None:
    feedback = say(1)
    wait_until(nothing_is_due, 10)
    LangSmithCopy.objects.update(is_due=True, is_sent=False, claimed_until=None)
    remote.told.clear()

    langsmith.resume()

    wait_until(lambda: remote.told and nothing_is_due(), 10)
    assert remote.has(str(feedback.pk))
