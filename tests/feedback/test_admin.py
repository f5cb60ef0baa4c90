"""
The admin's pages of feedback.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.test import Client

from feedback.models import Feedback, FeedbackKey
from runnables.models import Deployment
from tests.conftest import Site
from tests.feedback.test_export import said

KEYS = "/admin/langserve_feedback/feedbackkey/"
ROWS = "/admin/langserve_feedback/feedback/"


@pytest.fixture
def staff(site: Site) -> Client:
    client = Client()
    client.force_login(site.user("root", is_staff=True, is_superuser=True))
    return client


def key_form(**fields: Any) -> dict[str, Any]:
    return {"key": "tone", "kind": "thumbs", "lowest": 1, "highest": 5, **fields}


def test_key_is_made_from_lines(staff: Client) -> None:
    staff.post(f"{KEYS}add/", key_form(kind="category", categories="kind\n\n rude \nkind"))

    row = FeedbackKey.objects.get()
    assert (row.categories, row.reasons) == (["kind", "rude"], [])
    assert "kind\nrude" in staff.get(f"{KEYS}{row.pk}/change/").content.decode()


def test_key_that_cannot_be_answered_is_refused(staff: Client) -> None:
    for fields, text in (
        ({"kind": "category"}, "at least one choice"),
        ({"kind": "scale", "lowest": 5}, "More than the lowest"),
        ({"reasons": "x" * 101}, "longer than 100"),
    ):
        assert text in staff.post(f"{KEYS}add/", key_form(**fields)).content.decode()
    assert FeedbackKey.objects.count() == 0


def test_feedback_is_read_filtered_and_exported(
    site: Site, staff: Client, rated: Deployment
) -> None:
    good = said(rated, comment="<b>Right.</b>")
    bad = said(rated, score=0, comment="=1+1", author="token")

    page = staff.get(f"{ROWS}?score_is=1&who=anonymous").content.decode()
    assert "&lt;b&gt;Right.&lt;/b&gt;" in page
    assert str(bad.pk) not in page
    assert "Right." in staff.get(f"{ROWS}?q={good.run_id}").content.decode()
    assert "Right." in staff.get(f"{ROWS}{good.pk}/change/").content.decode()
    form = {"_selected_action": [good.pk, bad.pk]}
    table = staff.post(ROWS, {"action": "export_csv", **form}).content.decode()
    lines = staff.post(ROWS, {"action": "export_jsonl", **form}).content.decode().splitlines()
    assert "'=1+1" in table
    assert {json.loads(line)["id"] for line in lines} == {str(good.pk), str(bad.pk)}


def test_what_was_said_is_changed_by_nobody(staff: Client, rated: Deployment) -> None:
    row = said(rated)

    for url in (f"{ROWS}add/", f"{ROWS}{row.pk}/delete/"):
        assert staff.post(url, {"post": "yes"}).status_code == 403
    assert staff.post(f"{ROWS}{row.pk}/change/", {"score": 0}).status_code == 403
    assert Feedback.objects.get().score == 1
