"""
Versions: append-only, compared with their secrets hidden, chosen by those who may.
"""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from channels.testing import WebsocketCommunicator
from django.core.exceptions import ValidationError
from django.db import connection
from pydantic import SecretStr

from runnables import versions
from runnables.masking import NothingToKeep, masked, unmasked
from runnables.merging import collisions, merged
from runnables.models import AuditEntry, Deployment, DeploymentVersion
from runnables.registry import default_registry
from runnables.versions import HIDDEN, Outdated, differences
from tests.configured import broken, settings
from tests.conftest import Site, events
from tests.fakes import Declaring

SECRET = "sk-swordfish"
EMPTY: dict[str, Any] = {
    "defaults": {},
    "locked": [],
    "config_keys": ["configurable"],
    "extra_configurable": [],
    "open_configurable": [],
    "strict_config": False,
    "validation": "strict",
}


@pytest.fixture
def row(site: Site) -> Deployment:
    return site.serve("it", settings())


def with_ids(**configurable: Any) -> dict[str, Any]:
    return {**EMPTY, "defaults": {"configurable": configurable}}


def save(row: Deployment, based_on: int = 1, **configurable: Any) -> DeploymentVersion:
    return versions.save_version(row, with_ids(**configurable), by="a test", based_on=based_on)


def lines(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    return [str(one) for one in differences(before, after)]


# Saving


def test_each_change_is_a_version_more_and_the_old_ones_stay(site: Site, row: Deployment) -> None:
    first = DeploymentVersion.objects.values().get()
    save(row, template="Good day")
    save(row, 2, template="Hey")
    assert DeploymentVersion.objects.filter(number=1).values().get() == first
    assert [one.number for one in row.versions.all()] == [3, 2, 1]
    assert site.invoke("/it", 1)["template"] == "Hey"


def test_change_of_an_outdated_version_is_refused(row: Deployment) -> None:
    save(row, template="Theirs")
    with pytest.raises(Outdated) as caught:
        save(row, 1, template="Mine")
    assert caught.value.current.number == 2
    assert row.versions.count() == 2


def test_of_two_who_save_at_once_one_is_outdated(row: Deployment) -> None:
    outcomes: list[str] = []
    ready = threading.Barrier(2)

    def try_to_save(name: str) -> None:
        ready.wait()
        try:
            save(Deployment.objects.get(pk=row.pk), template=name)
            outcomes.append("saved")
        except Outdated:
            outcomes.append("outdated")
        finally:
            connection.close()

    threads = [threading.Thread(target=try_to_save, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["outdated", "saved"]
    assert row.versions.count() == 2


@pytest.mark.parametrize(
    "content",
    [
        {"defaults": []},
        {"defaults": {"configurable": {"tries": "many"}}},
        {"defaults": {"configurable": {"unknown": 1}}},
        {"defaults": {"recursion_limit": 0}},
        {"defaults": {"tags": ["x" * 101]}},
        {"defaults": {"run_name": "x"}},
        {"config_keys": ["callbacks"]},
        {"locked": "tries"},
        {"validation": "none"},
    ],
)
def test_content_that_does_not_fit_is_not_saved(row: Deployment, content: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        versions.save_version(row, {**EMPTY, **content}, by="a test", based_on=1)
    assert row.versions.count() == 1


def test_secret_by_its_type_is_kept_only_where_its_id_hides_it(site: Site) -> None:
    row = site.serve("secretive", Declaring(api_key=SecretStr, harmless=SecretStr, mood=str))
    saved = save(row, api_key=SECRET, mood="good")
    assert saved.defaults["configurable"]["api_key"] == SECRET
    with pytest.raises(ValidationError, match="secret by its type") as caught:
        save(row, 2, harmless=SECRET)
    assert SECRET not in str(caught.value)
    assert not AuditEntry.objects.filter(text__contains=SECRET).exists()


def test_misfit_of_a_default_names_its_place_and_never_its_value(row: Deployment) -> None:
    with pytest.raises(ValidationError) as caught:
        versions.check_content(row, with_ids(tries=SECRET))
    [error] = caught.value.error_dict["defaults"]
    assert error.params is not None
    assert error.params["loc"] == ["configurable", "tries"]
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("is_gone", [True, False])
def test_defaults_of_a_runnable_that_is_not_there_are_not_checked(
    site: Site, is_gone: bool
) -> None:
    row = site.serve("it", settings() if is_gone else broken)
    if is_gone:
        default_registry.clear()
    assert save(row, anything=1).number == 2


def test_version_for_a_trial_answers_nobody(site: Site, row: Deployment) -> None:
    versions.save_version(
        row, with_ids(template="new"), by="a test", based_on=1, make_current=False
    )
    assert site.invoke("/it", 1)["template"] == "Hello"
    assert Deployment.objects.get().version.number == 1  # type: ignore[union-attr]


def test_roll_back_is_a_version_more(site: Site, row: Deployment) -> None:
    save(row, template="Good day")
    site.change("it", access="staff", endpoints=["invoke"], max_batch_size=3)
    before: dict[str, Any] = dict(Deployment.objects.values().get())
    made = versions.roll_back(row, 1, by="a test", based_on=2, note="back")
    assert (made.number, made.copy_of, made.content) == (3, 1, EMPTY)
    after: dict[str, Any] = dict(Deployment.objects.values().get())
    assert {name for name in before if before[name] != after[name]} == {"version_id", "updated_at"}
    assert row.access == "staff"
    assert "Rolled back to version 1 as version 3 (back)" in AuditEntry.objects.latest("pk").text


# Differences


def test_difference_says_before_and_after() -> None:
    before = {**with_ids(tries=3, loud=True), "locked": ["a"]}
    after = {**with_ids(tries=4, words=["a", "b"]), "locked": ["a", "c"]}
    assert lines(before, after) == [
        "defaults.configurable.tries: 3 → 4",
        "defaults.configurable.loud: no longer yes",
        "locked: a → a, c",
        "defaults.configurable.words: set to a, b",
    ]


def test_empty_lists_say_nothing_but_an_empty_text_of_an_id_does() -> None:
    assert lines(EMPTY, {**EMPTY, "defaults": {"tags": [], "configurable": {}}}) == []
    assert len(lines(EMPTY, with_ids(template=""))) == 1
    assert len(lines(EMPTY, with_ids(nickname=None))) == 1


@pytest.mark.parametrize(
    "secret",
    [
        {"api_key": SECRET},
        {"headers": {"Authorization": SECRET}},
        {"extra": {"a": {"token": SECRET}}},
        {"extra": [{"password": SECRET}]},
        {"servers": {"list": [[{"base_url": SECRET}]]}},
    ],
)
def test_secret_is_hidden_wherever_it_stands(secret: dict[str, Any]) -> None:
    changed = differences(with_ids(**secret), with_ids())
    changed += differences(with_ids(), with_ids(**secret))
    assert changed
    assert SECRET not in str(changed)
    assert HIDDEN in str(changed)
    assert SECRET not in str(masked(with_ids(**secret)))
    assert unmasked(masked(with_ids(**secret)), with_ids(**secret)) == with_ids(**secret)


def test_changed_secret_shows_as_changed() -> None:
    [one] = differences(with_ids(api_key="a"), with_ids(api_key="b"))
    assert one.after == f"{HIDDEN} (changed)"


@pytest.mark.parametrize(
    "content",
    [
        with_ids(template={"$secret": "unchanged"}),
        with_ids(token={"$secret": "unchanged"}),
        with_ids(extra=[{"$secret": "unchanged"}]),
        with_ids(api_key={"below": {"$secret": "unchanged"}}),
        {**EMPTY, "defaults": {"$secret": "unchanged"}},
    ],
)
def test_mark_keeps_a_secret_in_its_place_alone(content: dict[str, Any]) -> None:
    with pytest.raises(NothingToKeep):
        unmasked(content, with_ids(api_key=SECRET))


# Two changes at once


def test_changes_of_different_places_are_put_together() -> None:
    base = {**with_ids(tries=1, template="a"), "locked": ["x"]}
    mine = {**with_ids(tries=2, template="a"), "locked": ["x", "y"]}
    theirs = {**with_ids(template="a", loud=True, tries=1), "locked": ["z"], "validation": "off"}
    assert collisions(base, mine, theirs) == []
    assert merged(base, mine, theirs) == {
        **with_ids(template="a", loud=True, tries=2),
        "locked": ["z", "y"],
        "validation": "off",
    }


def test_same_change_on_both_sides_does_not_collide() -> None:
    assert collisions(EMPTY, with_ids(tries=2), with_ids(tries=2)) == []


@pytest.mark.parametrize(
    ("mine", "theirs"),
    [
        (with_ids(tries=2), with_ids(tries=3)),
        (with_ids(), with_ids(tries=3)),
        (with_ids(extra={"a": 1}, tries=1), with_ids(extra=5, tries=1)),
    ],
)
def test_theirs_stays_where_both_changed_unless_mine_is_preferred(
    mine: dict[str, Any], theirs: dict[str, Any]
) -> None:
    base = with_ids(tries=1)
    names = [one.name for one in collisions(base, mine, theirs)]
    assert names
    assert merged(base, mine, theirs) == theirs
    assert merged(base, mine, theirs, prefer_mine=names) == mine


def test_colliding_secrets_are_hidden() -> None:
    [one] = collisions(with_ids(api_key="a"), with_ids(api_key="b"), with_ids(api_key=SECRET))
    assert SECRET not in str(one)
    assert (one.mine.after, one.theirs.after) == (f"{HIDDEN} (changed)",) * 2


# Choosing one


@pytest.fixture
def pinner(site: Site, row: Deployment) -> dict[str, str]:
    """
    Headers of somebody who may choose the version; the second one is current.
    """
    save(row, template="two")
    alice = site.user("alice")
    site.grant("it", alice, may=["run", "pin_version"])
    return site.token(alice)


def test_pinned_version_answers_on_every_endpoint(
    site: Site, row: Deployment, pinner: dict[str, str]
) -> None:
    for number, template in (("1", "Hello"), ("2", "two")):
        query = f"?version={number}"
        response = site.post(f"/it/invoke{query}", {"input": 1}, headers=pinner)
        assert response.json()["output"]["template"] == template
        assert response.headers["X-Deployment-Version"] == number
        batch = site.post(f"/it/batch{query}", {"inputs": [1]}, headers=pinner)
        assert batch.json()["output"][0]["template"] == template
        stream = site.post(f"/it/stream{query}", {"input": 1}, headers=pinner)
        assert stream.headers["X-Deployment-Version"] == number
        assert dict(events(stream))["data"]["template"] == template


def test_pinned_version_has_schemas_of_its_own(
    site: Site, row: Deployment, pinner: dict[str, str]
) -> None:
    content = {**EMPTY, "config_keys": ["tags"]}
    versions.save_version(row, content, by="a test", based_on=2)
    old, new = (
        site.get(f"/it/config_schema?version={number}", headers=pinner).json()["properties"]
        for number in (2, 3)
    )
    assert ("tags" in old, "tags" in new) == (False, True)


async def frame_of(site: Site, headers: dict[str, str], **params: Any) -> Any:
    """
    What a WebSocket answers to an invoke with these params.
    """
    named = {"Host": "localhost", **headers}
    pairs = [(name.lower().encode(), value.encode()) for name, value in named.items()]
    socket = WebsocketCommunicator(site.application, "/it/ws", headers=pairs)
    is_open, _ = await socket.connect()
    assert is_open
    command = {"id": "a", "method": "invoke", "params": {"input": 1, **params}}
    await socket.send_json_to(command)
    frame = await socket.receive_json_from(timeout=10)
    await socket.disconnect()
    return frame


def test_version_is_chosen_on_a_socket(site: Site, row: Deployment, pinner: dict[str, str]) -> None:
    for version, template in ((1, "Hello"), ("2", "two"), (None, "two")):
        frame = asyncio.run(frame_of(site, pinner, version=version))
        assert frame["result"]["output"]["template"] == template
    frame = asyncio.run(frame_of(site, pinner, version=9))
    assert frame["error"]["code"] == "unknown_version"
    site.grant("it", "public")
    frame = asyncio.run(frame_of(site, {}, version=1))
    assert frame["error"]["code"] == "not_authenticated"


def test_version_is_not_chosen_without_the_permission(site: Site, row: Deployment) -> None:
    response = site.post("/it/invoke?version=1", {"input": 1})
    assert response.status_code == 401
    bob = site.user("bob")
    site.grant("it", bob)
    for path in ("invoke", "stream"):
        response = site.post(f"/it/{path}?version=1", {"input": 1}, headers=site.token(bob))
        assert response.status_code == 403
        assert "pin_version" in response.text
    response = site.get("/it/input_schema?version=1", headers=site.token(bob))
    assert response.status_code == 403


@pytest.mark.parametrize("wanted", ["9", "0", "-1", "x", "1.0", "9" * 40, "%00", "²"])
@pytest.mark.parametrize("endpoint", ["invoke", "stream"])
def test_unknown_version_is_404(
    site: Site, row: Deployment, pinner: dict[str, str], wanted: str, endpoint: str
) -> None:
    response = site.post(f"/it/{endpoint}?version={wanted}", {"input": 1}, headers=pinner)
    assert response.status_code == 404
    assert response.json()["code"] == "unknown_version"
