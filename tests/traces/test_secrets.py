"""
Secrets that callers send or runnables raise, looked for wherever the site speaks of a run.
"""

from __future__ import annotations

import logging
from typing import Any

from django.test import Client
from langchain_core.runnables import RunnableLambda

from feedback import links
from runnables.models import Deployment
from runnables.permissions import OF_CALLERS
from tests.conftest import Site
from tests.traces.shared import also_may
from traces.models import Trace

KEY = "sk-canary0123456789abcdef"
# As only somebody would write it: no pattern tells it from other text.
PLAIN = "canary-that-looks-like-nothing"


def runs_of_alice(site: Site) -> tuple[Deployment, list[Trace]]:
    """
    A run that went well and one that did not, both of alice, with secrets in all that callers
    send: input, config, headers; and in what the second one raised.
    """

    def work(value: dict[str, Any]) -> dict[str, Any]:
        if value.get("fail"):
            raise RuntimeError(f"no access with password={KEY} for {KEY}")
        return {**value, "said": KEY}

    site.serve(
        "it",
        RunnableLambda(lambda x: x) | RunnableLambda(work),
        access="authenticated",
        config_keys=["configurable", "metadata", "tags"],
        enable_public_trace_link_endpoint=True,
        validation="off",
    )
    alice = site.user("alice", email="alice@example.org")
    site.grant("it", "authenticated", may=(*OF_CALLERS, "share"))
    headers = {**site.token(alice), "X-Api-Version": KEY, "User-Agent": KEY}
    config = {"metadata": {"note": KEY, "password": PLAIN}, "tags": [KEY]}
    for fail in (False, True):
        given = {"api_key": PLAIN, "text": f"use {KEY} here", "fail": fail}
        site.post("/it/invoke", {"input": given, "config": config}, headers=headers)
    return site.row("it"), site.traces()


def _seen_by(user: Any, *paths: str) -> str:
    client = Client()
    if user is not None:
        client.force_login(user)
    pages = []
    for path in paths:
        answer = client.get(path, follow=True)
        assert answer.status_code == 200, path
        pages.append(f"{answer.headers}{answer.content.decode()}")
    return "\n".join(pages)


def test_secrets_are_in_no_table_and_no_log(site: Site, caplog: Any) -> None:
    caplog.set_level(logging.INFO)
    _, traces = runs_of_alice(site)
    assert sorted(trace.state for trace in traces) == ["done", "failed"]
    for row in [*traces, *(step for trace in traces for step in trace.steps.all())]:
        text = str(vars(row))
        assert KEY not in text
        assert PLAIN not in text
    formatter = logging.Formatter()
    logged = "\n".join(formatter.format(record) for record in caplog.records)
    assert "failed" in logged
    assert KEY not in logged
    assert PLAIN not in logged


def test_secrets_are_on_no_public_page(site: Site) -> None:
    deployment, traces = runs_of_alice(site)
    everything = [str(part) for part in ("payloads", "steps", "metadata", "feedback")]
    alice = traces[0].user
    shared = [
        links.share_run(run_id=trace.pk, deployment=deployment, by=alice, parts=everything)
        for trace in traces
    ]
    text = _seen_by(None, *(links.path_of(link) for link in shared))
    for secret in (KEY, PLAIN, "alice", str(traces[0].pk), str(traces[1].pk)):
        assert secret not in text


def test_whoever_may_see_runs_and_not_payloads_sees_shapes(site: Site) -> None:
    deployment, traces = runs_of_alice(site)
    bob = site.user("bob")
    also_may(deployment, bob, "see_traces")
    paths = [f"/traces/{trace.pk}/" for trace in traces]
    paths += [f"/traces/{step.trace_id}/?node={step.pk}" for step in traces[0].steps.all()]
    text = _seen_by(bob, "/traces/", *paths, "/dashboard/")
    assert f"text: text, {len(KEY) + 9} characters" in text
    for secret in (KEY, PLAIN, "no access with", "use [redacted] here"):
        assert secret not in text
