"""
What is recorded of a deployment, set in the admin: followed at once, tried before, and by
those alone who may.
"""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client
from django.urls import reverse

from runnables.models import AuditEntry, Deployment, Revision
from runnables.redaction import _LOOK_LIKE_KEYS, BadPattern
from tests.admin.conftest import change_url, seen, staff
from tests.conftest import Site
from tests.fakes import echo
from tests.traces import rows
from traces import patterns, rules
from traces.models import ModelPrice, Step, Trace, Tracing

KEY = "sk-canary1234567890abcdef"
FORM = {
    "is_on": "on",
    "sample_percent": "100",
    "payloads": "redacted",
    "redact_keys": "",
    "redact_patterns": "",
    "days": "",
}


@pytest.fixture
def root(site: Site) -> Client:
    client = Client()
    client.force_login(site.user("root", is_staff=True, is_superuser=True))
    return client


@pytest.fixture
def it(site: Site) -> Deployment:
    return site.serve("it", echo())


@pytest.fixture(autouse=True)
def short_trials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patterns, "CPU_SECONDS", 0.15)


def url(row: Deployment, name: str = "tracing") -> str:
    return reverse(f"admin:langserve_traces_{name}", args=[row.pk])


def save(client: Client, row: Deployment, **values: Any) -> Any:
    return client.post(url(row), {**FORM, "what": "save", **values}, follow=True)


def try_out(client: Client, row: Deployment, sample: str, **values: Any) -> Any:
    sent = {**FORM, "sample": sample, **values}
    return client.post(url(row, "tracing_try"), sent).json()


# Setting it


def test_deployment_begins_with_what_the_site_says(site: Site, root: Client, it: Any) -> None:
    page = root.get(url(it))
    assert page.context["form"].instance.payloads == "redacted"
    assert "Empty: as the site's settings say, which is 30." in seen(page)
    assert "Follow the site's settings" not in seen(page)
    assert not Tracing.objects.exists()


def test_what_is_saved_is_followed_at_once(site: Site, root: Client, it: Any) -> None:
    before = Revision.objects.get(pk=1).number
    page = save(
        root,
        it,
        sample_percent="12.5",
        payloads="shape",
        redact_keys="iban\n\n  Name \n",
        redact_patterns=r"DE\d{20}" + "\r\n",
        days="7",
    )
    assert "Saved." in seen(page)
    row = Tracing.objects.get(pk=it.pk)
    assert (row.sample_percent, row.payloads, row.days) == (12.5, "shape", 7)
    assert (row.redact_keys, row.redact_patterns) == (["iban", "Name"], [r"DE\d{20}"])
    followed = rules.rules_of(it.pk)
    assert (followed.sample, followed.payloads) == (0.125, "shape")
    assert followed.redactor is not None
    assert followed.redactor.plain({"IBAN": "x"}) == {"IBAN": "[redacted]"}
    # Which other processes hear of too.
    assert Revision.objects.get(pk=1).number > before


def test_recording_is_switched_off(site: Site, root: Client, it: Any) -> None:
    save(root, it, is_on="")
    assert rules.rules_of(it.pk).is_on is False
    assert "Not recorded" in seen(root.get(change_url(it)))


def test_change_is_in_both_logs_without_what_must_not_be_told(
    site: Site, root: Client, it: Any
) -> None:
    save(root, it, payloads="full", redact_keys="canary", redact_patterns="canary", days="3")
    [entry] = AuditEntry.objects.filter(deployment=it, text__startswith="Tracing")
    assert entry.text == (
        "Tracing: inputs and outputs: redacted → full; redact what stands under: changed; "
        "redact what matches: changed; keep for days: the site's → 3."
    )
    [logged] = LogEntry.objects.filter(change_message__startswith="Tracing")
    assert logged.change_message == entry.text
    assert "Nothing was changed." in seen(
        save(root, it, payloads="full", redact_keys="canary", redact_patterns="canary", days="3")
    )
    assert AuditEntry.objects.filter(text__startswith="Tracing").count() == 1


def test_deployment_follows_the_site_again(site: Site, root: Client, it: Any) -> None:
    page = save(root, it, payloads="full")
    assert "Follow the site's settings" in seen(page)
    page = root.post(url(it), {"what": "follow"}, follow=True)
    assert "It follows the site's settings from now on." in seen(page)
    assert not Tracing.objects.exists()
    assert rules.rules_of(it.pk).payloads == "redacted"


@pytest.mark.parametrize(
    ("field", "value", "why"),
    [
        ("sample_percent", "101", "less than or equal to 100"),
        ("sample_percent", "-1", "greater than or equal to 0"),
        ("sample_percent", "nan", "Enter a number"),
        ("payloads", "all", "valid choice"),
        ("days", "0", "greater than or equal to 1"),
        ("days", "many", "whole number"),
        ("redact_patterns", "(", "no regular expression"),
        ("redact_patterns", "a*", "matches an empty text"),
        ("redact_patterns", "(a+)+$", "takes too long"),
        ("redact_patterns", "\n".join("abcdef"[n % 6] for n in range(51)), "50 patterns"),
        ("redact_keys", "k" * 201, "200 characters"),
    ],
)
def test_wrong_value_is_refused(
    site: Site, root: Client, it: Any, field: str, value: str, why: str
) -> None:
    page = save(root, it, **{field: value})
    assert "Nothing was saved." in seen(page)
    assert why in str(page.context["form"].errors[field])
    assert not Tracing.objects.exists()
    assert f'name="{field}"' in page.text


def test_what_it_takes_is_estimated_from_the_last_day(site: Site, root: Client, it: Any) -> None:
    assert "what it will take is not known" in seen(root.get(url(it)))
    for _ in range(4):
        rows.step(rows.trace(it, input="x" * 9_000), input="y" * 1_000)
    rows.trace(it, days=2, input="z" * 10**6)
    rows.trace(None, input="z" * 10**6)
    save(root, it, days="10")
    text = seen(root.get(url(it)))
    found = re.search(
        r"About ([\d.]+) KB at today's rate: 4 runs in the last 24 hours, ([\d.]+) KB each", text
    )
    assert found, text
    assert 10 < float(found[2]) < 13
    assert 400 < float(found[1]) < 520
    assert "kept for 10 days" in text


# Trying it


@pytest.mark.parametrize(
    ("sample", "kept"),
    [
        (f'{{"key":"{KEY}","n":1}}', '{\n  "key": "[redacted]",\n  "n": 1\n}'),
        (
            '{"password": "x", "iban": "DE1"}',
            '{\n  "password": "[redacted]",\n  "iban": "[redacted]"\n}',
        ),
        (f"use {KEY} and P-12", "use [redacted] and [redacted]"),
        ("", ""),
        ("<script>alert(1)</script> größe", "<script>alert(1)</script> größe"),
        ("[" * 900 + f'"{KEY}"' + "]" * 900, '"[redacted]"'),
    ],
)
def test_sample_is_redacted_as_traces_would_be(
    site: Site, root: Client, it: Any, sample: str, kept: str
) -> None:
    fields = {"redact_keys": "iban", "redact_patterns": r"P-\d\d"}
    assert try_out(root, it, sample, **fields) == {"kept": kept, "problem": ""}
    assert not Tracing.objects.exists()


def test_it_says_what_happens_to_the_others(site: Site, root: Client, it: Any) -> None:
    assert try_out(root, it, KEY, payloads="full") == {"kept": KEY, "problem": ""}
    shape = try_out(root, it, f'{{"question": "{KEY}", "k": 3}}', payloads="shape")
    assert shape == {"kept": "question: text, 25 characters; k: number", "problem": ""}
    assert "no regular expression" in try_out(root, it, KEY, redact_patterns="(")["problem"]
    assert "At most 100000" in try_out(root, it, "x" * 100_001)["problem"]


def test_it_is_tried_without_scripts_too(site: Site, root: Client, it: Any) -> None:
    sample = f"<b>{KEY}</b>"
    page = root.post(url(it), {**FORM, "what": "try", "sample": sample, "redact_keys": "mine"})
    assert "&lt;b&gt;[redacted]&lt;/b&gt;</pre>" in page.text
    # What was filled in stays, and nothing is saved.
    assert "&lt;b&gt;sk-canary" in page.text
    assert ">\nmine</textarea>" in page.text
    assert not Tracing.objects.exists()


@pytest.mark.parametrize(
    "pattern",
    [
        *("(a+)+$", "(a|a)*b", r"(\w+\s?)*!", r"\w+@", "a.*b.*c", r"\s+$", "[^x]+x", r"x-[^y]*y"),
        r"(?<!\w)secret-(\d+)*z",
    ],
)
def test_pattern_that_would_stop_the_process_is_refused(pattern: str) -> None:
    with pytest.raises(BadPattern, match="takes too long"):
        patterns.check((), [pattern])


@pytest.mark.parametrize(
    "pattern",
    [r"\b\w+@", r"\w{1,64}@example\.com", r"DE\d{20}", r"(?:\d[ -]*){13,16}", "[äöü]ß{2}"],
)
def test_pattern_that_does_no_harm_is_taken(pattern: str) -> None:
    assert patterns.check((), [pattern])


def test_our_own_patterns_do_no_harm() -> None:
    assert patterns.check((), [pattern for _hints, pattern in _LOOK_LIKE_KEYS])


# Who may


def test_tab_is_there_for_who_may_see_it(site: Site, root: Client, it: Any) -> None:
    assert 'href="#tracing"' in root.get(change_url(it)).text
    sam = staff(site, "view_deployment")
    assert "#tracing" not in sam.get(change_url(it)).text
    assert [sam.get(url(it)).status_code, save(sam, it).status_code] == [403, 403]
    assert sam.post(url(it, "tracing_try"), FORM).status_code == 403


def test_who_may_look_alone_changes_nothing(site: Site, it: Any) -> None:
    kim = staff(site, "view_tracing", "view_deployment", name="kim")
    page = kim.get(url(it))
    assert page.status_code == 200
    assert "disabled" in page.text
    assert 'value="save"' not in page.text
    assert "What is recorded and redacted" in seen(kim.get(change_url(it)))
    assert save(kim, it, is_on="").status_code == 403
    assert kim.post(url(it), {"what": "follow"}).status_code == 403
    assert kim.post(url(it, "tracing_try"), FORM).status_code == 403
    assert not Tracing.objects.exists()


def test_who_may_change_it_can(site: Site, it: Any) -> None:
    lee = staff(site, "change_tracing", name="lee")
    assert save(lee, it, is_on="").status_code == 200
    assert not Tracing.objects.get().is_on


def test_forms_need_a_csrf_token_and_a_deployment(site: Site, it: Any) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(site.user("root", is_staff=True, is_superuser=True))
    for name in ("tracing", "tracing_try"):
        assert client.post(url(it, name), FORM).status_code == 403
    assert client.get("/admin/langserve_traces/tracing/999/").status_code == 404
    assert client.get(url(it, "tracing_try")).status_code == 405


# Prices and traces


def test_price_is_followed_at_once(site: Site, root: Client) -> None:
    base = "/admin/langserve_traces/modelprice/"
    sent = {"pattern": "gpt-5*", "input_price": "2", "output_price": "10"}
    root.post(f"{base}add/", sent)
    assert rules.cost("gpt-5-mini", 1_000_000, 0) == 2
    [price] = ModelPrice.objects.all()
    root.post(f"{base}{price.pk}/change/", {**sent, "input_price": "3"})
    assert rules.cost("gpt-5-mini", 1_000_000, 0) == 3
    root.post(base, {"action": "delete_selected", "_selected_action": [price.pk], "post": "yes"})
    assert rules.cost("gpt-5-mini", 1, 1) is None
    assert "greater than or equal to 0" in seen(
        root.post(f"{base}add/", {**sent, "input_price": "-1"})
    )


def test_list_of_traces_shows_no_payload(site: Site, root: Client, it: Any) -> None:
    fields: dict[str, Any] = dict.fromkeys(
        ("input", "output", "error", "input_preview", "output_preview"), "canary"
    )
    made = rows.trace(
        it, **fields, state="failed", error_class="ValueError", metadata='{"a":"canary"}'
    )
    rows.trace(it)
    listed = root.get("/admin/langserve_traces/trace/?state__exact=failed")
    assert "ValueError" in seen(listed)
    assert "1 trace" in seen(listed)
    shown = root.get(f"/admin/langserve_traces/trace/{made.pk}/change/")
    assert str(made.pk) in seen(shown)
    assert "canary" not in listed.text + shown.text
    for query, count in ((str(made.pk), 1), ("nothing", 0)):
        assert (
            root.get(f"/admin/langserve_traces/trace/?q={query}").context["cl"].result_count
            == count
        )


def test_trace_is_deleted_with_its_steps_by_who_may(site: Site, root: Client, it: Any) -> None:
    made = rows.trace(it)
    rows.step(made)
    sent = {"action": "delete_selected", "_selected_action": [made.pk], "post": "yes"}
    sam = staff(site, "view_trace")
    sam.post("/admin/langserve_traces/trace/", sent)
    assert Trace.objects.count() == 1
    assert "Steps: 1" in seen(
        root.post("/admin/langserve_traces/trace/", {k: v for k, v in sent.items() if k != "post"})
    )
    root.post("/admin/langserve_traces/trace/", sent)
    assert (Trace.objects.count(), Step.objects.count()) == (0, 0)
