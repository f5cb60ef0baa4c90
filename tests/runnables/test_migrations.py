"""
What an older site had set is what it has after `migrate`, and after going back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

BEFORE = "0001_initial"
AFTER = "0004_drop_what_moved"
CONTENT = {
    "config_keys": ["configurable", "tags"],
    "extra_configurable": ["session_id"],
    "open_configurable": ["api_key"],
    "strict_config": True,
    "validation": "lenient",
}


@pytest.fixture
def migrate(transactional_db: None) -> Iterator[Callable[[str], Any]]:
    """
    Migrates to a migration; the apps as they are there.
    """

    def to(name: str) -> Any:
        executor = MigrationExecutor(connection)
        return executor.migrate([("langserve", name)]).apps

    yield to
    executor = MigrationExecutor(connection)
    # All of them: what stands on ours went with it.
    executor.migrate(executor.loader.graph.leaf_nodes())


def old_row(apps: Any, access: str, *groups: str) -> Any:
    row = apps.get_model("langserve", "Deployment").objects.create(
        name=access, path=access, access=access, endpoints=["invoke", "playground"], **CONTENT
    )
    Group = apps.get_model("auth", "Group")
    row.groups.set(Group.objects.get_or_create(name=name)[0] for name in groups)
    return row


def test_who_may_call_and_what_changes_results_are_kept(migrate: Any) -> None:
    apps = migrate(BEFORE)
    for access in ("public", "authenticated", "staff"):
        old_row(apps, access)
    old_row(apps, "groups", "editors", "authors")
    apps = migrate(AFTER)
    Deployment = apps.get_model("langserve", "Deployment")
    Grant = apps.get_model("langserve", "Grant")

    assert Deployment.objects.count() == 4
    for row in Deployment.objects.select_related("version"):
        assert row.version.number == 1
        assert {name: getattr(row.version, name) for name in CONTENT} == CONTENT
        assert row.version.defaults == {}
        assert set(row.endpoints) == {"invoke", "playground", "chat"}
    for access in ("public", "authenticated", "staff"):
        grant = Grant.objects.get(deployment__name=access)
        assert (grant.audience, grant.run, grant.playground) == (access, True, True)
        assert (grant.override_config, grant.see_traces) == (True, False)
    groups = Grant.objects.filter(deployment__name="groups", audience="group")
    assert {grant.group.name for grant in groups} == {"editors", "authors"}


def test_going_back_keeps_them_too(migrate: Any) -> None:
    apps = migrate(BEFORE)
    old_row(apps, "staff")
    old_row(apps, "groups", "editors")
    migrate(AFTER)
    apps = migrate(BEFORE)
    rows = {row.name: row for row in apps.get_model("langserve", "Deployment").objects.all()}

    assert {name: row.access for name, row in rows.items()} == {
        "staff": "staff",
        "groups": "groups",
    }
    assert [group.name for group in rows["groups"].groups.all()] == ["editors"]
    for row in rows.values():
        assert {name: getattr(row, name) for name in CONTENT} == CONTENT
        assert row.endpoints == ["invoke", "playground"]
