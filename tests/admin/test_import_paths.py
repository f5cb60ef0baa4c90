"""
A name is a key of the registry and nothing else: whatever dotted path staff or a fixture
write into a row, the server imports nothing for it.
"""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.core.management import call_command
from django.test import Client
from django.utils import module_loading

from runnables import snapshot
from runnables.models import Deployment
from tests.admin.conftest import LIST, change_url, form_of
from tests.conftest import Site
from tests.fakes import echo

WELL_KNOWN = [
    *("os.system", "os:system", "posix.system", "subprocess.Popen", "subprocess:run", "pty.spawn"),
    *("builtins.eval", "builtins.exec", "builtins.__import__", "importlib.import_module"),
    *("pickle.loads", "marshal.loads", "ctypes.CDLL", "code.interact", "runpy.run_path"),
    *("examples.joke:chain", "examples.joke.chain", "examples.agent:agent", "tests.served:joke"),
    *("runnables.registry.register", "runnables.deployments.sync", "runnables.conf:conf"),
    *("django.core.management.call_command", "django.conf:settings", "project.settings"),
    *(
        "langchain_core.load.load",
        "langchain_core.prompts.loading.load_prompt",
        "this",
        "antigravity",
    ),
    *("../../etc/passwd", "file:///etc/passwd", "__main__", "__main__.main", "sys:modules", "site"),
    *("{{ os.system }}", "{% load os %}", "${os.system}", "os.system('true')", "os.system;"),
]
PLANTED = [f"planted_{number}" for number in range(20)]
SPELLINGS = (
    *("{0}", "{0}.chain", "{0}:chain", "{0}.chain.invoke", "{0}/chain", " {0}.chain", "{0}.chain "),
    "python:{0}.chain",
    "{0}.__init__",
)
PATHS = [*WELL_KNOWN, *(spelling.format(name) for name in PLANTED for spelling in SPELLINGS)][:210]

# Of the interpreter's own log of what it does; a hook stays for good, so it is switched.
_events: list[tuple[str, Any]] = []
_is_watching = False


def _watch(event: str, arguments: Any) -> None:
    if _is_watching and event in ("import", "os.system", "subprocess.Popen", "pty.spawn", "exec"):
        _events.append((event, arguments[0]))


sys.addaudithook(_watch)


@pytest.fixture
def nothing_is_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """
    Modules with the names lie ready on sys.path, and nobody takes them or runs a program.
    """
    global _is_watching
    for name in PLANTED:
        (tmp_path / f"{name}.py").write_text("chain = print\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    asked: list[str] = []

    def spy(original: Any) -> Any:
        def ask(name: str, *rest: Any) -> Any:
            asked.append(name)
            return original(name, *rest)

        return ask

    for module, name in (
        (importlib, "import_module"),
        (module_loading, "import_module"),
        (module_loading, "import_string"),
    ):
        monkeypatch.setattr(module, name, spy(getattr(module, name)))
    _events.clear()
    _is_watching = True
    yield
    _is_watching = False
    assert not set(PLANTED) & set(sys.modules)
    assert not set(asked) & {path.strip() for path in PATHS}
    assert not [event for event in _events if event[0] in ("os.system", "subprocess.Popen")]
    imported = {str(name) for event, name in _events if event == "import"}
    assert not {name for name in imported if name.startswith(("planted", "antigravity", "this"))}


def test_there_are_enough_of_them() -> None:
    assert len(set(PATHS)) >= 200


@pytest.mark.usefixtures("nothing_is_imported")
def test_paths_typed_into_the_form_are_text(site: Site, root: Client) -> None:
    row = site.serve("joke", echo())
    opened = form_of(root, row)
    texts = ("path", "description", "off_reason", "maintenance_message")
    answers = set()
    for path in PATHS:
        saved_at = Deployment.objects.get().updated_at.isoformat()
        fields = dict.fromkeys((*texts, "name", "version", "origin", "runnable"), path)
        data = opened | {
            **fields,
            "opened_at": saved_at,
            "stream_log_name_allow_list": json.dumps([path]),
            "rights:new_users": path,
            "endpoints": [*opened["endpoints"], path],
        }
        answers.add(root.post(change_url(row), data).status_code)
        allowed = opened | {**fields, "opened_at": saved_at, "rights:new_users": ""}
        answers.add(root.post(change_url(row), allowed).status_code)

    assert answers == {200, 302}
    assert Deployment.objects.get().name == "joke"
    assert site.invoke(f"/{Deployment.objects.get().path}", 1) == 1


@pytest.mark.usefixtures("nothing_is_imported")
def test_paths_in_queries_of_the_admin_are_text(site: Site, root: Client) -> None:
    row = site.serve("joke", echo())
    for path in PATHS[::10]:
        assert root.get(LIST, {"q": path, "status": path, "group": path}).status_code in (200, 302)
        url = f"{LIST}{row.pk}/check-user/"
        assert root.get(url, {"username": path}).status_code == 200
        assert root.post(LIST, {"action": path, "_selected_action": [row.pk]}).status_code == 302


@pytest.mark.usefixtures("nothing_is_imported")
def test_paths_sent_to_the_api_are_text(site: Site) -> None:
    site.serve("it", echo(), config_keys=["configurable", "tags", "metadata"])
    refused = []
    for path in PATHS:
        constructor = {"lc": 1, "type": "constructor", "id": path.split("."), "kwargs": {}}
        config = {"configurable": {path: path}, "tags": [path[:100]], "metadata": {"x": path}}
        body = {"input": constructor, "config": config, "kwargs": {"cls": path}}
        response = site.post("/it/invoke", body, headers={"X-Run-Id": path})
        if response.status_code == 200:
            assert response.json()["output"] == constructor
        else:
            refused.append((path, response.json()["code"]))
        query = {"version": path, "preset": path}
        assert site.post("/it/stream_events", body, params=query).status_code in (401, 422)
    # Ids of the server's own making begin so, and are never a caller's.
    assert {path[:2] for path, _ in refused} <= {"__"}
    assert {code for _, code in refused} == {"config_not_allowed"}


@pytest.mark.usefixtures("nothing_is_imported")
def test_paths_loaded_as_names_are_not_served(site: Site, root: Client, tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = []
    for number, path in enumerate(PATHS, start=1):
        row = {"name": path, "path": f"p{number}", "version": number, **_TIMES}
        version = {"deployment": number, "number": 1, "created_at": "2026-01-01T00:00:00Z"}
        grant = {"deployment": number, "audience": "public", "run": True}
        rows += [
            {"model": "langserve.deployment", "pk": number, "fields": row},
            {"model": "langserve.deploymentversion", "pk": number, "fields": version},
            {"model": "langserve.grant", "pk": number, "fields": grant},
        ]
    fixture = tmp_path / "rows.json"
    fixture.write_text(json.dumps(rows))
    call_command("loaddata", str(fixture), verbosity=0)
    snapshot.refresh()

    statuses = {
        site.post(f"/p{number}/invoke", {"input": 1}).status_code
        for number in range(1, len(PATHS) + 1)
    }

    assert statuses == {503}
    assert "Missing in code" in root.get(LIST).content.decode()
    assert root.post(f"{LIST}1/check/", follow=True).status_code == 200


_TIMES = {"created_at": "2026-01-01T00:00:00Z", "updated_at": "2026-01-01T00:00:00Z"}


@pytest.mark.django_db
@pytest.mark.usefixtures("nothing_is_imported")
@pytest.mark.parametrize("path", PATHS)
def test_path_is_no_name_of_a_runnable(path: str) -> None:
    with pytest.raises(ValidationError, match="No runnable with this name is registered"):
        Deployment(name=path, path="somewhere").full_clean()
