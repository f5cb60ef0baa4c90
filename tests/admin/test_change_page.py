"""
The page of one deployment: what it tells, what it saves and how that is told.
"""

from __future__ import annotations

import asyncio
import re
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client
from django.utils import timezone

from runnables.admin import health_check
from runnables.admin.endpoint_switches import EFFECTS
from runnables.models import AuditEntry, Deployment, Health, Revision, ServerProcess
from runnables.registry import ENDPOINTS, default_registry
from tests.admin.conftest import (
    LIST,
    MARKUP,
    change_url,
    changed,
    count_calls,
    form_of,
    save,
    seen,
    staff,
)
from tests.conftest import Site
from tests.fakes import echo

RUN_ID = UUID("01a1fceb-d158-43c1-89eb-358e2001d1cf")


# What it tells


def test_page_links_to_its_sections_and_runs_no_code_of_its_own(site: Site, root: Client) -> None:
    row = site.serve("joke", echo())

    page = root.get(change_url(row)).content.decode()

    for section in [
        "overview",
        "endpoints",
        "access",
        "limits",
        "defaults",
        "versions",
        "canary",
        "history",
    ]:
        assert f'href="#{section}"' in page
        assert f'id="{section}"' in page
    content = page.split('id="content"')[1].split("<footer")[0]
    assert " style=" not in content
    assert " onclick=" not in content
    scripts = [part.split(">")[0] for part in content.split("<script")[1:]]
    assert all("src=" in script for script in scripts)


def test_overview_tells_status_origin_figures_and_the_last_error(site: Site, root: Client) -> None:
    row = site.serve("joke", echo())
    count_calls(row, 200, failed=40)
    Health.objects.create(
        deployment=row,
        recent=[[1, True], [2, False]],
        last_error_at=timezone.now(),
        last_error_class="RateLimitError",
        last_error_run_id=RUN_ID,
    )
    ServerProcess.objects.create(
        boot_id=uuid4(), host="web1", pid=7, seen_at=timezone.now(), running={str(row.pk): 3}
    )

    response = root.get(change_url(row))
    text = seen(response)

    for part in (
        "20.0 % of calls failed; the threshold is 5 %.",
        "registered in tests.conftest",
        "RateLimitError",
        str(RUN_ID),
        "went well",
        "failed",
        "1 is up; 3 runs of this deployment are going on",
        "web1:7",
    ):
        assert part in text
    assert 'href="/joke/input_schema"' in response.content.decode()


def test_overview_of_what_nobody_called_says_so(site: Site, root: Client) -> None:
    row = site.serve("joke", echo())

    text = seen(root.get(change_url(row)))

    for part in ("No calls in 24 hours.", "It was not checked yet.", "None is known."):
        assert part in text


@pytest.mark.parametrize("name", ENDPOINTS)
def test_each_endpoint_says_what_breaks_without_it(site: Site, root: Client, name: str) -> None:
    row = site.serve("joke", echo())

    assert str(EFFECTS[name]) in seen(root.get(change_url(row)))


def test_calls_are_told_of_the_endpoints_that_count_them(site: Site, root: Client) -> None:
    row = site.serve("joke", echo())
    count_calls(row, 7, endpoint="stream")

    text = seen(root.get(change_url(row)))

    assert "7 calls in 24 h" in text
    assert len(re.findall(r"\d calls in 24 h\b", text)) == 5


# What it saves


def test_form_saves_what_it_shows_and_nothing_is_told(site: Site, root: Client) -> None:
    row = site.serve("joke", echo(), access=["editors"], stream_log_name_allow_list=[])
    before = Deployment.objects.values().get(), Revision.objects.get().number
    rights = list(row.grants.values())

    assert save(root, row).status_code == 302

    assert (Deployment.objects.values().get(), Revision.objects.get().number) == before
    assert list(row.grants.values()) == rights
    assert not AuditEntry.objects.exists()
    assert not LogEntry.objects.exists()


def test_saved_form_is_felt_at_once(site: Site, root: Client) -> None:
    row = site.serve("joke", echo())

    save(root, row, path="/moved/")

    assert site.post("/joke/invoke", {"input": 1}).status_code == 404
    assert site.invoke("/moved", 1) == 1


def test_endpoint_is_switched_off_and_others_answer(site: Site, root: Client) -> None:
    row = site.serve("joke", echo())
    on = [name for name in form_of(root, row)["endpoints"] if name != "batch"]

    save(root, row, endpoints=on)

    assert site.post("/joke/batch", {"inputs": [1]}).status_code == 404
    assert site.invoke("/joke", 1) == 1


def test_one_entry_tells_in_words_what_was_changed(site: Site, root: Client) -> None:
    row = site.serve("joke", echo())
    on = [name for name in form_of(root, row)["endpoints"] if name != "stream"]

    save(
        root,
        row,
        untick=["listed"],
        endpoints=on,
        daily_quota="50",
        error_detail="class",
        rights__staff__see_traces="on",
    )

    entry = AuditEntry.objects.get()
    assert entry.by == "root"
    assert entry.text == (
        "Switched off stream; Listed: yes → no; "
        "What errors show: Nothing but the run id → The exception's class; "
        "Runs a day per user: not set → 50; Staff may now see traces."
    )
    logged = LogEntry.objects.get()
    assert (logged.get_change_message(), logged.user.username) == (entry.text, "root")


def test_switching_off_keeps_the_reason_and_switching_on_forgets_it(
    site: Site, root: Client
) -> None:
    row = site.serve("joke", echo())
    save(root, row, untick=["is_enabled"], off_reason="reindexing")
    assert site.post("/joke/invoke", {"input": 1}).status_code == 404

    save(root, row, is_enabled="on")

    assert [entry.text for entry in AuditEntry.objects.all()] == [
        "Switched on.",
        "Switched off (reindexing).",
    ]
    assert Deployment.objects.get().off_reason == ""
    assert site.invoke("/joke", 1) == 1


def test_words_of_the_history_are_english_whoever_saves(site: Site, root: Client) -> None:
    row = site.serve("joke", echo())
    data = changed(form_of(root, row), rights__staff__run="on")

    root.post(change_url(row), data, headers={"accept-language": "de"})

    assert AuditEntry.objects.get().text == "Staff may now run."


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"endpoints": ["invoke", "cats"]}, "cats is not one of the available choices"),
        ({"path": "admin"}, "route of the site itself"),
        ({"path": "a/invoke"}, "name of an endpoint"),
        ({"path": "a b"}, "segment"),
        ({"path": "other"}, "already exists"),
        ({"path": "/other/"}, "already exists"),
        ({"stream_log_name_allow_list": '{"a": 1}'}, "list of texts"),
        ({"stream_log_name_allow_list": "not json"}, "valid JSON"),
        ({"max_batch_size": "0"}, "greater than or equal to 1"),
        ({"daily_quota": "many"}, "whole number"),
        ({"timeout": "0"}, "greater than or equal to"),
        ({"timeout": "nan"}, "number"),
        ({"error_detail": "everything"}, "valid choice"),
    ],
)
def test_form_refuses_bad_values_and_says_why(
    site: Site, root: Client, values: dict[str, Any], reason: str
) -> None:
    row = site.serve("joke", echo())
    site.serve("other", echo())
    before = list(Deployment.objects.values())

    response = save(root, row, **values)

    assert response.status_code == 200
    assert reason in seen(response)
    assert list(Deployment.objects.values()) == before


def test_refused_form_is_not_told_of_as_if_it_were_saved(site: Site, root: Client) -> None:
    row = site.serve("joke", echo())

    response = save(root, row, path="moved", timeout="0", untick=["is_enabled"])

    overview = seen(response).split("Of the last 24 hours")
    assert "Unknown" in overview[0]
    assert "URL path /joke" in overview[1]


def test_allow_list_may_be_all_none_or_some(site: Site, root: Client) -> None:
    row = site.serve("joke", echo())
    for text, stored in (('["a"]', ["a"]), ("[]", []), ("", None)):
        save(root, row, stream_log_name_allow_list=text)
        assert Deployment.objects.get().stream_log_name_allow_list == stored


def test_name_cannot_be_changed(site: Site, root: Client) -> None:
    row = site.serve("joke", echo())

    save(root, row, name="os.system", version="9", id="9")

    assert Deployment.objects.get(pk=row.pk).name == "joke"


def test_row_whose_code_is_gone_can_still_be_edited(site: Site, root: Client) -> None:
    row = site.serve("joke", echo())
    default_registry.clear()

    save(root, row, description="gone")

    assert Deployment.objects.get().description == "gone"
    assert "No code registers a runnable of this name" in seen(root.get(change_url(row)))


def test_markup_is_text(site: Site, root: Client) -> None:
    row = site.serve("joke", echo(), description=MARKUP)
    save(root, row, untick=["is_enabled"], off_reason=MARKUP, maintenance_message=MARKUP)

    for url in (change_url(row), f"{LIST}{row.pk}/history/"):
        response = root.get(url)
        assert MARKUP not in response.content.decode()
        assert MARKUP in seen(response)


# Who may


def test_who_may_only_look_sees_it_in_words_and_saves_nothing(site: Site) -> None:
    row = site.serve("joke", echo(), enabled_endpoints=["invoke", "batch"])
    client = staff(site, "view_deployment")

    response = client.get(change_url(row))
    text = seen(response)

    assert "invoke, batch" in text
    assert "Everybody: run, playground, override config" in text
    assert "Run check now" not in text
    assert 'name="_save"' not in response.content.decode()
    assert client.post(change_url(row), {"path": "x"}).status_code == 403
    assert Deployment.objects.get().path == "joke"


def test_staff_without_a_permission_see_nothing(site: Site) -> None:
    row = site.serve("joke", echo())
    client = staff(site)

    for page in ("change", "history", "check-user"):
        assert client.get(f"{LIST}{row.pk}/{page}/").status_code == 403
    assert client.post(f"{LIST}{row.pk}/check/").status_code == 403


# The health check


def test_check_is_run_by_hand_and_its_result_kept(site: Site, root: Client) -> None:
    row = site.serve("joke", echo(), health_check=lambda: True)

    response = root.post(f"{LIST}{row.pk}/check/", follow=True)

    assert "Passed The health check passed." in seen(response)
    assert Health.objects.get().check_passed
    assert AuditEntry.objects.get().text == "Health check by hand passed: The health check passed."


def test_check_that_fails_is_told_as_it_is(site: Site, root: Client) -> None:
    def check() -> None:
        raise ConnectionError(MARKUP)

    row = site.serve("joke", echo(), health_check=check)

    response = root.post(f"{LIST}{row.pk}/check/", follow=True)

    assert f"ConnectionError: {MARKUP}" in seen(response)
    assert MARKUP not in response.content.decode()


def test_check_that_hangs_is_given_up(
    site: Site, root: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hang() -> None:
        await asyncio.Event().wait()

    row = site.serve("joke", echo(), health_check=hang)
    monkeypatch.setattr(health_check, "SECONDS", 0.01)

    assert "No answer within 0.01 s." in seen(root.post(f"{LIST}{row.pk}/check/", follow=True))


def test_check_works_for_what_is_off_and_without_code(site: Site, root: Client) -> None:
    row = site.serve("joke", echo())
    site.change("joke", is_enabled=False)
    url = f"{LIST}{row.pk}/check/"
    assert "It builds; it has no health check." in seen(root.post(url, follow=True))
    default_registry.clear()

    assert "not installed on this server" in seen(root.post(url, follow=True))


def test_check_is_a_form_and_takes_the_permission_to_change(site: Site, root: Client) -> None:
    row = site.serve("joke", echo())

    assert root.get(f"{LIST}{row.pk}/check/").status_code == 405
    client = staff(site, "view_deployment")
    assert client.post(f"{LIST}{row.pk}/check/").status_code == 403
