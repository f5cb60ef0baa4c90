"""
What people said as files.
"""

from __future__ import annotations

import csv
import io
import json
from datetime import timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from feedback import export
from feedback.models import Feedback
from runnables.models import Deployment
from tests.conftest import Site
from tests.fakes import echo
from tests.feedback.conftest import made_run, made_step

FORMULAS = ("=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1")


def said(deployment: Deployment | None, **fields: Any) -> Feedback:
    run_id = fields.pop("run_id", None) or uuid4()
    return Feedback.objects.create(
        **{
            "run_id": run_id,
            "trace_id": run_id,
            "deployment": deployment,
            "key": "correctness",
            "author": "anonymous",
            "score": 1,
            **fields,
        }
    )


def rows_of(response: httpx.Response | str) -> list[dict[str, Any]]:
    text = response if isinstance(response, str) else response.text
    return [json.loads(line) for line in text.splitlines()]


@pytest.fixture
def reviewer(site: Site, rated: Deployment) -> dict[str, str]:
    alice = site.user("alice")
    site.grant("it", alice, may=("run", "review"))
    return site.token(alice)


def test_file_has_what_the_database_has(
    site: Site, rated: Deployment, reviewer: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "BATCH", 3)
    at = timezone.now()
    # Seven at the same moment: batches must not lose or repeat one.
    rows = [said(rated, created_at=at, comment=f"no. {n}") for n in range(7)]
    said(site.serve("other", echo()))

    found = site.get("/it/feedback/export?format=jsonl", headers=reviewer)
    table = site.get("/it/feedback/export", headers=reviewer)

    assert found.headers["content-type"].startswith("application/jsonl")
    assert 'filename="feedback.jsonl"' in found.headers["content-disposition"]
    assert sorted(row["id"] for row in rows_of(found)) == sorted(str(row.pk) for row in rows)
    assert {row["comment"] for row in rows_of(found)} == {row.comment for row in rows}
    cells = list(csv.DictReader(io.StringIO(table.text)))
    assert [cell["id"] for cell in cells] == [row["id"] for row in rows_of(found)]
    assert {(cell["deployment"], cell["score"]) for cell in cells} == {("it", "1")}


def test_file_is_chosen_by_key_and_time(
    site: Site, rated: Deployment, reviewer: dict[str, str]
) -> None:
    old = said(rated, created_at=timezone.now() - timedelta(days=9))
    tone = said(rated, key="tone")
    day = (timezone.now() - timedelta(days=1)).date().isoformat()

    def ids(query: str) -> list[str]:
        response = site.get(f"/it/feedback/export?format=jsonl&{query}", headers=reviewer)
        return [row["id"] for row in rows_of(response)]

    assert ids("key=tone") == ids(f"since={day}") == [str(tone.pk)]
    assert ids(f"until={day}") == [str(old.pk)]
    for query in ("format=xml", "as=cats", "since=cats", "until=2030-02-31"):
        response = site.get(f"/it/feedback/export?{query}", headers=reviewer)
        assert response.json()["detail"][0]["loc"] == ["query", query.split("=")[0]]


def test_spreadsheet_runs_no_cell(site: Site, rated: Deployment, reviewer: dict[str, str]) -> None:
    for formula in FORMULAS:
        said(rated, comment=formula, value=formula, key=formula.strip(), score=-1)

    cells = csv.DictReader(io.StringIO(site.get("/it/feedback/export", headers=reviewer).text))

    for cell in cells:
        assert not any(
            cell[name].startswith(export.FORMULA) for name in ("comment", "value", "key")
        )
        assert cell["score"] == "-1"


def test_only_those_who_review_may_export(site: Site, rated: Deployment) -> None:
    bob = site.user("bob")
    site.grant("it", bob)

    refused = site.get("/it/feedback/export", headers=site.token(bob))
    assert (refused.status_code, refused.json()["code"]) == (403, "not_permitted")
    assert site.get("/it/feedback/export").status_code == 401
    site.grant("it", bob, may=("run", "review"))
    closed = site.token(bob, scopes=["invoke"])
    assert site.get("/it/feedback/export", headers=closed).json()["code"] == "token_scope"


def test_dataset_has_input_output_and_correction(
    site: Site, rated: Deployment, reviewer: dict[str, str]
) -> None:
    run = made_run(rated, input='{"q": 1}', output='"two"')
    step = made_step(run)
    said(rated, run_id=run.pk, correction={"answer": "three"})
    said(rated, run_id=step.pk)
    # Not kept, cut, unknown, and another deployment's, named before it was recorded.
    said(rated, run_id=made_run(rated, input="", output="").pk)
    said(rated, run_id=made_run(rated, input='{"q": "cut o').pk)
    said(rated)
    said(rated, run_id=made_run(site.serve("other", echo())).pk)
    url = "/it/feedback/export?format=jsonl&as=dataset"

    refused = site.get(url, headers=reviewer)
    alice = site.user("carol")
    site.grant("it", alice, may=("run", "review", "see_payloads"))
    first, second = rows_of(site.get(url, headers=site.token(alice)))

    assert (refused.status_code, refused.json()["code"]) == (403, "not_permitted")
    assert (first["input"], first["output"], first["correction"]) == (
        {"q": 1},
        "two",
        {"answer": "three"},
    )
    assert (second["run_id"], second["input"]) == (str(step.pk), "to the model")


def test_command_prints_the_same(
    site: Site, rated: Deployment, capsys: pytest.CaptureFixture[str]
) -> None:
    run = made_run(rated)
    row = said(rated, run_id=run.pk, correction="better")
    said(site.serve("other", echo()))

    call_command("feedback", "export", "--format", "jsonl", "--deployment", "it")
    printed = capsys.readouterr()
    call_command("feedback", "export", "--as", "dataset", "--format", "jsonl")
    dataset = capsys.readouterr()

    assert [one["id"] for one in rows_of(printed.out)] == [str(row.pk)]
    assert "1 exported" in printed.err
    assert [one["correction"] for one in rows_of(dataset.out)] == ["better"]
    with pytest.raises(CommandError, match="no deployment"):
        call_command("feedback", "export", "--deployment", "cats")
    with pytest.raises(CommandError, match="since"):
        call_command("feedback", "export", "--since", "cats")
