"""
Where the buttons of a page lead: for a form, and for a script.
"""

from __future__ import annotations

from typing import Any

from django.test import Client

from feedback.models import Feedback
from runnables.models import Deployment
from tests.conftest import Site
from tests.fakes import echo
from tests.feedback.conftest import made_run

RUN_ID = "0f8fad5b-d9cb-469f-a165-70867728950e"
FORM = {"run_id": RUN_ID, "key": "correctness", "score": "1"}
URL = "/it/feedback/rate"


def signed_in(user: Any) -> Client:
    client = Client()
    client.force_login(user)
    return client


def test_form_saves_removes_and_leads_back(site: Site, rated: Deployment) -> None:
    client = signed_in(site.user("alice"))

    saved = client.post(URL, {**FORM, "comment": " Right. ", "next": "/deployments/"})
    assert (saved.status_code, saved["Location"]) == (302, "/deployments/")
    row = Feedback.objects.get()
    assert (row.score, row.comment, row.author) == (1, "Right.", f"u{row.user_id}")
    away = client.post(URL, {**FORM, "score": "", "next": "https://elsewhere.example/"})
    assert away["Location"] == "/"
    assert Feedback.objects.count() == 0


def test_script_is_answered_in_json(site: Site, rated: Deployment) -> None:
    client = signed_in(site.user("alice"))

    def send(body: Any) -> Any:
        return client.post(URL, body, content_type="application/json")

    assert send({**FORM, "score": 1}).json()["score"] == 1
    assert send({**FORM, "score": None}).json()["id"] is None
    assert send({**FORM, "score": 1e9}).json()["detail"][0]["loc"] == ["body", "score"]
    assert send("[NaN]").status_code == 422


def test_page_works_where_programs_may_send_nothing(site: Site) -> None:
    site.serve("it", echo())
    signed_in(site.user("alice")).post(URL, FORM)

    assert Feedback.objects.count() == 1


def test_only_who_may_call_or_look_may_rate(site: Site) -> None:
    row = site.serve("it", echo(), access="staff")
    alice, bob = site.user("alice"), site.user("bob")
    site.grant("it", alice, may=["see_traces"])
    body = {**FORM, "run_id": str(made_run(row, site.user("carol")).pk), "score": 1}

    answers = [
        signed_in(user).post(URL, body, content_type="application/json") for user in (alice, bob)
    ]
    assert [answer.status_code for answer in answers] == [200, 404]
    assert answers[1].json()["code"] == "unknown_deployment"
    assert Client().post(URL, FORM)["Location"].startswith("/accounts/login/")


def test_form_needs_its_csrf_token(site: Site, rated: Deployment) -> None:
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(site.user("alice"))

    assert strict.post(URL, FORM).status_code == 403
    assert Feedback.objects.count() == 0
