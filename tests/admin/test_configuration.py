"""
The configuration page: what makes a version is edited, shown as a diff, and saved.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client

from runnables import versions
from runnables.models import AuditEntry, Canary, Deployment, DeploymentVersion
from runnables.registry import default_registry
from tests.admin.pages import confirm, edit, field, form_of, staff, text_of, url
from tests.configured import HOSTILE, broken, settings, spoken
from tests.conftest import Site
from tests.fakes import echo

SECRET = "sk-swordfish-1"
NEW_SECRET = "sk-swordfish-2"


@pytest.fixture
def row(site: Site) -> Deployment:
    return site.serve("it", settings())


@pytest.fixture
def viewer(site: Site) -> Client:
    """
    Staff who may look at deployments and change nothing.
    """
    return staff(site, "viewer", "view_deployment")


def saved(client: Client, row: Deployment, **values: Any) -> DeploymentVersion:
    confirm(client, edit(client, row, **values))
    row.refresh_from_db()
    assert row.version is not None
    return row.version


def set_defaults(site: Site, **configurable: Any) -> None:
    site.change("it", defaults={"configurable": configurable})


# The form


def test_default_is_saved_after_the_diff_and_answers_everybody(
    site: Site, row: Deployment, root: Client
) -> None:
    page = edit(root, row, template="Good day")
    assert "Good day" in text_of(page)
    assert DeploymentVersion.objects.count() == 1
    done = confirm(root, page, note="politer")
    assert "Version 2 was saved" in text_of(done)
    assert site.invoke("/it", 1)["template"] == "Good day"
    version = DeploymentVersion.objects.get(number=2)
    assert (version.note, version.created_by.username) == ("politer", "root")  # type: ignore[union-attr]


def test_save_is_in_both_logs(site: Site, row: Deployment, root: Client) -> None:
    saved(root, row, temperature="0.2")
    entry = AuditEntry.objects.get()
    assert entry.by == "root"
    assert "temperature" in entry.text
    assert LogEntry.objects.get().change_message == entry.text


@pytest.mark.parametrize(
    ("name", "entered", "value"),
    [
        ("template", "a\r\nb", "a\nb"),
        ("temperature", "0.25", 0.25),
        ("tries", "7", 7),
        ("loud", "true", True),
        ("loud", "false", False),
        ("words", "one\n\nthree", ["one", "three"]),
        ("extra", '{"a": [1, null]}', {"a": [1, None]}),
        ("nickname", "bob", "bob"),
    ],
)
def test_each_kind_of_value_reaches_the_runnable(
    site: Site, row: Deployment, root: Client, name: str, entered: str, value: Any
) -> None:
    version = saved(root, row, **{name: entered})
    assert version.defaults == {"configurable": {name: value}}
    assert site.invoke("/it", 1)[name] == value


def test_choice_is_saved(site: Site, root: Client) -> None:
    row = site.serve("tone", spoken())
    saved(root, row, tone='"stern"')
    assert site.invoke("/tone", 1) == "stern"


def test_blank_default_is_not_set_any_more(site: Site, row: Deployment, root: Client) -> None:
    set_defaults(site, template="Good day", tries=5)
    assert saved(root, row, template="").defaults == {"configurable": {"tries": 5}}


def test_what_the_runnable_does_without_a_default_is_said(row: Deployment, root: Client) -> None:
    page = text_of(root.get(url(row, "configuration")))
    assert "Without a default here:" in page
    assert ">0.7<" in page


@pytest.mark.parametrize(
    "content",
    [
        {"defaults": {"configurable": {"template": "", "nickname": None, "tries": 1}}},
        {"defaults": {"configurable": {"temperature": 1, "words": [], "extra": {}}}},
        {"defaults": {"configurable": {"template": "a\nb", "words": ["a\nb", " c "]}}},
        {"defaults": {"configurable": {"template": "a\r\nb", "loud": False}}},
        {"defaults": {"tags": ["b", "a"], "metadata": {"a": {"api_key": SECRET}}}},
        {"defaults": {"configurable": {"api_key": SECRET, "extra": {"token": SECRET}}}},
        {"defaults": {"recursion_limit": 12, "max_concurrency": 2}},
        {"locked": ["tries", "unknown"], "open_configurable": ["api_key", "my_token"]},
        {"config_keys": ["tags", "configurable"], "extra_configurable": ["b", "a"]},
        {"strict_config": True, "validation": "off"},
    ],
)
def test_form_sent_as_it_is_changes_nothing(
    site: Site, row: Deployment, root: Client, content: dict[str, Any]
) -> None:
    site.change("it", **content)
    for query in ("", "?mode=raw"):
        page = edit(root, row, query)
        assert "Nothing was changed" in text_of(page)
    assert DeploymentVersion.objects.count() == 1


def test_misfit_is_said_at_its_field(row: Deployment, root: Client) -> None:
    page = edit(root, row, tries="many", temperature="warm", extra="{")
    errors = page.context["form"].errors
    assert set(errors) == {field(root, row, name) for name in ("tries", "temperature", "extra")}


def test_error_of_the_runnables_model_is_said_at_its_field(
    site: Site, row: Deployment, root: Client
) -> None:
    page = edit(root, row, extra="[1]")
    assert list(page.context["form"].errors) == [field(root, row, "extra")]
    assert DeploymentVersion.objects.count() == 1


def test_bounds_hold_for_defaults_too(row: Deployment, root: Client) -> None:
    page = edit(root, row, recursion_limit="-5")
    assert list(page.context["form"].errors) == [field(root, row, "recursion_limit")]


def test_stored_id_that_is_not_declared_any_more_is_shown_to_be_cleared(
    site: Site, row: Deployment, root: Client
) -> None:
    set_defaults(site, gone=[1], template="x")
    assert "does not declare this any more" in text_of(root.get(url(row, "configuration")))
    assert saved(root, row, gone="").defaults == {"configurable": {"template": "x"}}


def test_defaults_beside_configurable_are_saved(row: Deployment, root: Client) -> None:
    version = saved(root, row, tags="a\nb", metadata='{"team": "x"}', max_concurrency="3")
    assert version.defaults == {"tags": ["a", "b"], "metadata": {"team": "x"}, "max_concurrency": 3}


def test_rules_for_callers_are_saved(row: Deployment, root: Client) -> None:
    version = saved(
        root,
        row,
        config_keys=["configurable", "tags"],
        extra_configurable="session_id\nuser_token",
        open_configurable="user_token",
        strict_config="on",
        validation="lenient",
    )
    assert version.config_keys == ["configurable", "tags"]
    assert version.extra_configurable == ["session_id", "user_token"]
    assert version.open_configurable == ["user_token"]
    assert version.strict_config
    assert version.validation == "lenient"


# Who may set what


def invoke_with(site: Site, **configurable: Any) -> int:
    body = {"input": 1, "config": {"configurable": configurable}}
    return site.post("/it/invoke", body).status_code


def test_box_that_is_taken_away_locks_the_id(site: Site, row: Deployment, root: Client) -> None:
    assert invoke_with(site, tries=1) == 200
    assert saved(root, row, tries__open=None).locked == ["tries"]
    assert invoke_with(site, tries=1) == 422
    assert saved(root, row, tries__open="on").locked == []
    assert invoke_with(site, tries=1) == 200


def test_credential_is_closed_until_its_box_is_set(
    site: Site, row: Deployment, root: Client
) -> None:
    assert invoke_with(site, api_key="mine") == 422
    version = saved(root, row, api_key__open="on")
    assert (version.open_configurable, version.locked) == (["api_key"], [])
    assert invoke_with(site, api_key="mine") == 200
    assert saved(root, row, api_key__open=None).open_configurable == []
    assert invoke_with(site, api_key="mine") == 422


# Secrets


def test_secret_is_in_no_page_and_is_kept(site: Site, row: Deployment, root: Client) -> None:
    set_defaults(
        site, api_key=SECRET, extra={"headers": {"x": SECRET}, "list": [{"token": SECRET}]}
    )
    pages = [
        root.get(url(row, "configuration")),
        root.get(url(row, "configuration") + "?mode=raw"),
        root.get(url(row, "version", 1)),
        edit(root, row, template="new"),
    ]
    done = confirm(root, pages[-1])
    pages += [done, root.get(url(row, "version", 2)), root.get(url(row, "roll_back", 1))]
    for page in pages:
        assert page.status_code == 200
        assert SECRET not in page.content.decode()
    assert "built-in-secret" not in "".join(page.content.decode() for page in pages)
    assert site.invoke("/it", 1)["api_key"] == SECRET
    assert site.invoke("/it", 1)["extra"]["list"] == [{"token": SECRET}]


def test_new_secret_goes_through_the_diff_without_being_in_it(
    site: Site, row: Deployment, root: Client
) -> None:
    set_defaults(site, api_key=SECRET)
    page = edit(root, row, api_key=NEW_SECRET)
    assert "(changed)" in text_of(page)
    back = root.get(url(row, "configuration") + f"?draft={page.context['draft'].key}")
    done = confirm(root, page)
    for one in (page, back, done):
        assert NEW_SECRET not in one.content.decode()
        assert SECRET not in one.content.decode()
    assert site.invoke("/it", 1)["api_key"] == NEW_SECRET
    assert not AuditEntry.objects.filter(text__contains="swordfish").exists()


def test_secret_of_a_form_that_is_wrong_is_not_sent_back(row: Deployment, root: Client) -> None:
    page = edit(root, row, api_key=NEW_SECRET, tries="many")
    assert page.context["form"].errors
    assert NEW_SECRET not in page.content.decode()


def test_secret_is_cleared_by_its_box(site: Site, row: Deployment, root: Client) -> None:
    set_defaults(site, api_key=SECRET)
    assert saved(root, row, api_key__clear="on").defaults == {"configurable": {}}


def test_secret_in_raw_json_is_kept_replaced_or_cleared(
    site: Site, row: Deployment, root: Client
) -> None:
    set_defaults(site, api_key=SECRET)
    raw = json.loads(form_of(root, row, "?mode=raw")["raw"])
    assert raw["defaults"]["configurable"] == {"api_key": {"$secret": "unchanged"}}
    raw["defaults"]["configurable"]["tries"] = 4
    confirm(root, edit(root, row, "?mode=raw", raw=json.dumps(raw)))
    assert site.invoke("/it", 1)["api_key"] == SECRET
    raw["defaults"]["configurable"]["api_key"] = NEW_SECRET
    confirm(root, edit(root, row, "?mode=raw", raw=json.dumps(raw)))
    assert site.invoke("/it", 1)["api_key"] == NEW_SECRET


@pytest.mark.parametrize("where", ["template", "extra", "nothing"])
def test_mark_of_a_secret_moves_none_elsewhere(
    site: Site, row: Deployment, root: Client, where: str
) -> None:
    set_defaults(site, api_key=SECRET)
    raw = json.loads(form_of(root, row, "?mode=raw")["raw"])
    raw["defaults"]["configurable"][where] = {"$secret": "unchanged"}
    page = edit(root, row, "?mode=raw", raw=json.dumps(raw))
    assert "no secret is stored here" in text_of(page)


# Raw JSON


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        ("{", "line 1"),
        ("[]", "object with exactly"),
        ('{"defaults": {}}', "object with exactly"),
    ],
)
def test_raw_json_that_is_wrong_is_refused(
    row: Deployment, root: Client, raw: str, said: str
) -> None:
    assert said in text_of(edit(root, row, "?mode=raw", raw=raw)).lower()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"defaults": []}, "object"),
        ({"defaults": {"configurable": {"tries": "many"}}}, "tries"),
        ({"defaults": {"callbacks": []}}, "no default"),
        ({"locked": "tries"}, "list of texts"),
        ({"config_keys": ["callbacks"]}, "config_keys"),
        ({"validation": "none"}, "validation"),
        ({"strict_config": "x"}, "strict_config"),
    ],
)
def test_content_is_checked_in_raw_json(
    row: Deployment, root: Client, change: dict[str, Any], said: str
) -> None:
    content = {**row.version.content, **change}  # type: ignore[union-attr]
    assert said in text_of(edit(root, row, "?mode=raw", raw=json.dumps(content)))
    assert DeploymentVersion.objects.count() == 1


@pytest.mark.parametrize("is_gone", [True, False])
def test_runnable_that_is_not_there_is_edited_as_json(
    site: Site, root: Client, is_gone: bool
) -> None:
    row = site.serve("it", echo() if is_gone else broken)
    if is_gone:
        default_registry.clear()
    page = root.get(url(row, "configuration"))
    assert ("not installed" if is_gone else "no such index") in text_of(page)
    content = {**row.version.content, "locked": ["a"]}  # type: ignore[union-attr]
    confirm(root, edit(root, row, raw=json.dumps(content)))
    assert DeploymentVersion.objects.get(number=2).locked == ["a"]


def test_why_a_runnable_does_not_build_is_told_to_superusers_alone(site: Site) -> None:
    row = site.serve("it", broken)
    client = staff(site, "carol", "change_deployment")
    page = text_of(client.get(url(row, "configuration")))
    assert "no such index" not in page
    assert "log says why" in page


# Hostile texts


def test_hostile_texts_are_shown_as_text(site: Site, row: Deployment, root: Client) -> None:
    page = edit(root, row, template=HOSTILE, metadata=json.dumps({HOSTILE: HOSTILE}))
    pages = [page, confirm(root, page, note=HOSTILE)]
    pages += [root.get(url(row, name)) for name in ("configuration", "versions", "canary")]
    pages += [root.get(url(row, name, 1)) for name in ("version", "roll_back")]
    pages.append(root.get(url(row, "configuration") + "?mode=raw"))
    for one in pages:
        assert "<script>window" not in one.content.decode()
        assert "<img src=x" not in one.content.decode()
    assert site.invoke("/it", 1)["template"] == HOSTILE


def test_pages_have_no_code_or_style_of_their_own(row: Deployment, root: Client) -> None:
    pages = [root.get(url(row, name)) for name in ("configuration", "versions", "canary")]
    pages.append(edit(root, row, tries="4"))
    for page in pages:
        content = page.content.decode().split('id="content"')[1]
        assert "style=" not in content
        assert "<script" not in content.split("<footer")[0]


# A canary first


def test_configuration_is_tried_on_some_first(site: Site, row: Deployment, root: Client) -> None:
    page = edit(root, row, tries="9")
    values = {"percent": "25", "sticky_by": "user", "stop_min_requests": "20"}
    done = confirm(root, page, how="canary", **values)
    assert "tried on 25 %" in text_of(done)
    row.refresh_from_db()
    assert row.version.number == 1  # type: ignore[union-attr]
    canary = Canary.objects.get()
    assert (canary.version.number, canary.percent) == (2, 25)


def test_share_that_makes_no_sense_saves_nothing(row: Deployment, root: Client) -> None:
    page = edit(root, row, tries="9")
    again = confirm(
        root, page, how="canary", percent="101", sticky_by="user", stop_min_requests="0"
    )
    assert set(again.context["share"].errors) == {"percent", "stop_min_requests"}
    assert DeploymentVersion.objects.count() == 1


# Somebody else saved meanwhile


def save_meanwhile(site: Site, row: Deployment, **content: Any) -> None:
    current = Deployment.objects.get(pk=row.pk).version
    assert current is not None
    versions.save_version(
        Deployment.objects.get(pk=row.pk),
        {**current.content, **content},
        by=site.user(f"other{current.number}"),
        based_on=current.number,
        note="theirs",
    )


def test_conflict_shows_both_and_overwrites_nothing(
    site: Site, row: Deployment, root: Client
) -> None:
    page = edit(root, row, tries="9")
    save_meanwhile(site, row, defaults={"configurable": {"template": "Theirs"}})
    conflict = confirm(root, page)
    text = text_of(conflict)
    for said in ("other1", "theirs", "Theirs", "tries", "v2"):
        assert said in text
    assert DeploymentVersion.objects.count() == 2


def test_change_that_does_not_collide_goes_on_top_of_theirs(
    site: Site, row: Deployment, root: Client
) -> None:
    page = edit(root, row, tries="9", tries__open=None)
    save_meanwhile(
        site, row, defaults={"configurable": {"template": "Theirs"}}, locked=["temperature"]
    )
    conflict = confirm(root, page)
    data = {"draft": conflict.context["draft"].key, "theirs": "2", "how": "apply"}
    diff = root.post(url(row, "configuration_conflict"), data, follow=True)
    assert DeploymentVersion.objects.count() == 2
    confirm(root, diff)
    version = DeploymentVersion.objects.get(number=3)
    assert version.defaults == {"configurable": {"template": "Theirs", "tries": 9}}
    assert version.locked == ["temperature", "tries"]


@pytest.mark.parametrize(("mine", "expected"), [(False, 5), (True, 9)])
def test_collision_is_decided_by_the_editor(
    site: Site, row: Deployment, root: Client, mine: bool, expected: int
) -> None:
    page = edit(root, row, tries="9", template="Mine")
    save_meanwhile(site, row, defaults={"configurable": {"tries": 5}})
    conflict = confirm(root, page)
    data: dict[str, Any] = {
        "draft": conflict.context["draft"].key,
        "theirs": "2",
        "how": "apply",
        "mine": [one.name for one in conflict.context["collisions"]] if mine else [],
    }
    confirm(root, root.post(url(row, "configuration_conflict"), data, follow=True))
    version = DeploymentVersion.objects.get(number=3)
    assert version.defaults["configurable"] == {"tries": expected, "template": "Mine"}


def test_discarded_changes_are_gone(site: Site, row: Deployment, root: Client) -> None:
    page = edit(root, row, tries="9")
    save_meanwhile(site, row, defaults={"configurable": {"template": "Theirs"}})
    conflict = confirm(root, page)
    data = {"draft": conflict.context["draft"].key, "theirs": "2", "how": "discard"}
    done = root.post(url(row, "configuration_conflict"), data, follow=True)
    assert "discarded" in text_of(done)
    assert "Theirs" in text_of(done)
    assert "draft is gone" in text_of(confirm(root, page))


def test_third_version_that_comes_during_the_conflict_is_shown_too(
    site: Site, row: Deployment, root: Client
) -> None:
    page = edit(root, row, tries="9")
    save_meanwhile(site, row, defaults={"configurable": {"template": "Theirs"}})
    conflict = confirm(root, page)
    save_meanwhile(site, row, defaults={"configurable": {"template": "Third"}})
    data = {"draft": conflict.context["draft"].key, "theirs": "2", "how": "apply"}
    again = root.post(url(row, "configuration_conflict"), data, follow=True)
    assert "Yet another version" in text_of(again)
    assert "Third" in text_of(again)


def test_form_that_was_opened_before_theirs_conflicts_at_once(
    site: Site, row: Deployment, root: Client
) -> None:
    data = form_of(root, row)
    data[field(root, row, "tries")] = "9"
    save_meanwhile(site, row, defaults={"configurable": {"template": "Theirs"}})
    page = root.post(url(row, "configuration"), data, follow=True)
    assert "Somebody saved" in text_of(page)


# Who may


PAGES = [
    ("configuration", ()),
    ("configuration_confirm", ()),
    ("configuration_conflict", ()),
    ("versions", ()),
    ("version", (1,)),
    ("roll_back", (1,)),
    ("canary", ()),
    ("canary_promote", ()),
    ("canary_stop", ()),
]
LOOK = {"configuration", "versions", "version", "canary"}


def test_viewer_is_told_that_a_secret_is_set_and_nothing_of_it(
    site: Site, row: Deployment, viewer: Client
) -> None:
    set_defaults(site, api_key=SECRET)
    for query in ("", "?mode=raw"):
        page = viewer.get(url(row, "configuration") + query).content.decode()
        assert SECRET not in page
        assert 'type="password"' not in page


@pytest.mark.parametrize(("name", "further"), PAGES)
def test_viewer_looks_and_changes_nothing(
    row: Deployment, viewer: Client, name: str, further: Any
) -> None:
    page = viewer.get(url(row, name, *further))
    assert page.status_code == (200 if name in LOOK else 403)
    if name in LOOK:
        content = page.content.decode().split('id="content"')[1]
        assert 'type="submit"' not in content
        assert "<button" not in content
    assert viewer.post(url(row, name, *further), {}).status_code == 403
    assert DeploymentVersion.objects.count() == 1


@pytest.mark.parametrize(("name", "further"), PAGES)
def test_staff_without_permission_and_strangers_see_nothing(
    site: Site, row: Deployment, name: str, further: Any
) -> None:
    assert staff(site, "carol").get(url(row, name, *further)).status_code == 403
    assert Client().get(url(row, name, *further)).status_code == 302


@pytest.mark.parametrize(("name", "further"), PAGES)
def test_post_without_csrf_token_is_refused(
    site: Site, row: Deployment, name: str, further: Any
) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(site.user("root2", is_staff=True, is_superuser=True))
    assert client.post(url(row, name, *further), {}).status_code == 403


def test_draft_of_another_session_is_not_found(site: Site, row: Deployment, root: Client) -> None:
    page = edit(root, row, tries="9")
    other = staff(site, "carol", "change_deployment")
    data = {"draft": page.context["draft"].key, "how": "now"}
    done = other.post(url(row, "configuration_confirm"), data, follow=True)
    assert "draft is gone" in text_of(done)
    assert DeploymentVersion.objects.count() == 1
