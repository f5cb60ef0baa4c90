"""
Name -> runnable: what `register` takes, and what it says of what it does not take.
"""

from __future__ import annotations

import sys
import threading
from types import ModuleType
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from langchain_core.runnables import Runnable, RunnableLambda
from pydantic import BaseModel

import runnables
from runnables import checks, registry
from runnables.asgi import get_asgi_application
from runnables.paths import ENDPOINT_WORDS, RESERVED
from runnables.registry import (
    ENDPOINTS,
    AlreadyRegistered,
    BadOption,
    BadPath,
    NotARunnable,
    Options,
    Registry,
    default_registry,
)
from tests.conftest import Site
from tests.fakes import SECRET, add_one, echo

it = RunnableLambda(add_one)


def registered(**options: Any) -> Options:
    made = Registry()
    made.register("it", it, **options)
    found = made.find("it")
    assert found is not None
    return found.options


# Bad registrations


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"access": "everybody"}, "access is one of public, authenticated, staff"),
        ({"access": []}, "names one or more groups"),
        ({"access": [""]}, "names one or more groups"),
        ({"access": [3]}, "names one or more groups"),
        ({"validation": "loose"}, "validation is one of strict, lenient, off"),
        ({"playground_type": "fancy"}, "playground_type is one of default, chat"),
        ({"astream_events_version": "v3"}, "astream_events_version is one of v1, v2"),
        ({"config_keys": "tags"}, "config_keys is a list"),
        ({"config_keys": ["run_name"]}, "run_name"),
        ({"config_keys": ["callbacks"]}, "callbacks"),
        ({"config_keys": ["cats"]}, "cats"),
        ({"enabled_endpoints": "invoke"}, "enabled_endpoints is a list of endpoint names"),
        ({"disabled_endpoints": "invoke"}, "disabled_endpoints is a list of endpoint names"),
        ({"enabled_endpoints": ["cats"]}, "unknown endpoint cats"),
        ({"disabled_endpoints": ["cats"]}, "unknown endpoint cats"),
        ({"enabled_endpoints": ["invoke"], "disabled_endpoints": ["batch"]}, "not both"),
        ({"token_feedback_config": {"key_configs": []}}, "exactly one"),
        ({"token_feedback_config": {"key_configs": [{}, {}]}}, "exactly one"),
        ({"max_batch_size": 0}, "at least 1"),
        ({"batch_concurrency": 0}, "at least 1"),
        ({"timeout": 0}, "above 0"),
        ({"cats": True}, "unknown option cats"),
        ({"acess": "public"}, "unknown option acess"),
    ],
)
def test_bad_option_is_refused_with_its_reason(options: dict[str, Any], reason: str) -> None:
    made = Registry()
    with pytest.raises(BadOption, match="'it'") as caught:
        made.register("it", it, **options)
    assert reason in str(caught.value)
    assert isinstance(caught.value, ValueError)
    assert len(made) == 0


@pytest.mark.parametrize(
    "option", ["extra_configurable", "open_configurable", "stream_log_name_allow_list"]
)
def test_text_for_a_list_is_refused(option: str) -> None:
    with pytest.raises(BadOption, match=option):
        Registry().register("it", it, **{option: "session_id"})


@pytest.mark.parametrize(
    "options",
    [
        {"max_batch_size": "5"},
        {"timeout": None},
        {"access": 5},
        {"path": 5},
        {"per_req_config_modifier": "module.function"},
        {"callbacks": "module.function"},
        {"max_input_bytes": 0},
    ],
)
def test_option_of_a_wrong_type_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(registry.RegistrationError):
        Registry().register("it", it, **options)


@pytest.mark.parametrize("value", ["text", 5, {"a": 1}, object(), RunnableLambda])
def test_what_is_no_runnable_is_refused(value: Any) -> None:
    with pytest.raises(TypeError, match=r"^Expected a Runnable, got <class ") as caught:
        Registry().register("it", value)
    assert isinstance(caught.value, NotARunnable)


def test_text_is_refused_in_langserves_words() -> None:
    with pytest.raises(TypeError, match=r"^Expected a Runnable, got <class 'str'>"):
        Registry().register("it", "text")  # type: ignore[call-overload]


@pytest.mark.parametrize("name", ["", "a b", "a/b", "ä", "-a", ".a", "a?", None, 5])
def test_bad_name_is_refused(name: Any) -> None:
    with pytest.raises(ValueError, match="name"):
        Registry().register(name, it)


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("it", "must start with '/'"),
        ("", "must start with '/'"),
        ("/a b", "segment"),
        ("/a//b", "segment"),
        ("/../a", "segment"),
        ("/a?b", "segment"),
        ("/ä", "segment"),
        *((f"/{word}", "route of the site itself") for word in sorted(RESERVED - ENDPOINT_WORDS)),
        ("/admin/it", "route of the site itself"),
        *((f"/{word}", "name of an endpoint") for word in sorted(ENDPOINT_WORDS)),
        *((f"/a/{word}/b", "name of an endpoint") for word in ("c", "ws", "runs", "invoke")),
    ],
)
def test_bad_path_is_refused(path: str, reason: str) -> None:
    with pytest.raises(ValueError, match="'it'") as caught:
        Registry().register("it", it, path=path)
    assert isinstance(caught.value, BadPath)
    assert reason in str(caught.value)


@pytest.mark.parametrize("name", ["admin", "invoke", "docs"])
def test_name_that_makes_a_bad_path_is_refused(name: str) -> None:
    with pytest.raises(BadPath):
        Registry().register(name, it)
    made = Registry()
    made.register(name, it, path="/elsewhere")
    assert name in made


@pytest.mark.parametrize(
    ("path", "stored"),
    [
        (None, "it"),
        ("/", ""),
        ("/a", "a"),
        ("/a/", "a"),
        ("/a/b/c2", "a/b/c2"),
        ("/a/admin", "a/admin"),
        ("/v1.2-x~y_z", "v1.2-x~y_z"),
        ("/chats", "chats"),
    ],
)
def test_good_paths(path: str | None, stored: str) -> None:
    made = Registry()
    made.register("it", it, path=path)
    found = made.find("it")
    assert found is not None
    assert found.path == stored


def test_same_name_twice_is_refused() -> None:
    made = Registry()
    made.register("it", it)
    with pytest.raises(AlreadyRegistered, match="registered twice"):
        made.register("it", it, path="/other")


@pytest.mark.parametrize("path", ["/it", "/it/"])
def test_same_path_twice_is_refused(path: str) -> None:
    made = Registry()
    made.register("it", it)
    with pytest.raises(ValueError, match="path '/it' is taken by 'it'"):
        made.register("other", it, path=path)


@pytest.mark.parametrize("option", ["input_type", "output_type", "input_schema", "output_schema"])
def test_model_of_pydantic_1_is_refused(monkeypatch: pytest.MonkeyPatch, option: str) -> None:
    # Imported, the real one warns on newer Pythons.
    v1 = ModuleType("pydantic.v1")
    v1.BaseModel = type("BaseModel", (), {})  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pydantic.v1", v1)
    old = type("Old", (v1.BaseModel,), {})
    with pytest.raises(BadOption, match="Old is a pydantic v1 model"):
        Registry().register("it", it, **{option: old})


def test_model_of_pydantic_2_is_accepted() -> None:
    class New(BaseModel):
        x: int

    assert registered(input_type=New).input_type is New


# Endpoints

FLAGGED = {"feedback", "public_trace_link"}


@pytest.mark.parametrize(
    ("options", "on"),
    [
        ({}, set(ENDPOINTS) - FLAGGED),
        ({"enabled_endpoints": []}, set()),
        ({"enabled_endpoints": ["invoke", "BATCH"]}, {"invoke", "batch"}),
        ({"enabled_endpoints": ("astream_events",)}, {"stream_events"}),
        ({"disabled_endpoints": []}, set(ENDPOINTS) - FLAGGED),
        ({"disabled_endpoints": ["Batch"]}, set(ENDPOINTS) - FLAGGED - {"batch"}),
        ({"enable_feedback_endpoint": True}, set(ENDPOINTS) - {"public_trace_link"}),
        (
            {"enable_feedback_endpoint": True, "disabled_endpoints": ["feedback"]},
            set(ENDPOINTS) - FLAGGED,
        ),
        ({"enabled_endpoints": [], "disabled_endpoints": ["batch"]}, set()),
    ],
)
def test_endpoints_that_are_on(options: dict[str, Any], on: set[str]) -> None:
    assert set(registered(**options).endpoints()) == on


def test_endpoints_have_the_names_of_langserve() -> None:
    assert set(ENDPOINTS) >= {
        "invoke",
        "batch",
        "stream",
        "stream_log",
        "stream_events",
        "playground",
        "feedback",
        "token_feedback",
        "public_trace_link",
        "input_schema",
        "output_schema",
        "config_schema",
        "config_hashes",
    }


def test_defaults_are_those_of_langserve() -> None:
    options = registered()
    assert options.access == "authenticated"
    assert tuple(options.config_keys) == ("configurable",)
    assert options.astream_events_version == "v2"
    assert options.playground_type == "default"
    assert options.include_callback_events is False
    assert (options.max_batch_size, options.batch_concurrency, options.timeout) == (100, 8, 600)


# Good ones


def test_register_returns_what_it_was_given() -> None:
    assert Registry().register("it", it) is it


def test_default_registry_is_behind_the_packages_register() -> None:
    assert runnables.register.__self__ is default_registry  # type: ignore[attr-defined]


def test_registries_know_nothing_of_each_other() -> None:
    one, other = Registry(), Registry()
    one.register("it", it)
    assert "it" in one
    assert "it" not in other
    assert [registration.name for registration in one] == ["it"]
    one.clear()
    assert len(one) == 0


def test_decorator_registers_a_factory_and_leaves_it_alone() -> None:
    made = Registry()

    @made.register("it", access="public")
    def factory() -> Runnable[Any, Any]:
        return it

    found = made.find("it")
    assert found is not None
    assert found.options.access == "public"
    assert factory() is it
    assert found.build() is it


def test_factory_is_called_once_and_only_when_needed() -> None:
    calls: list[int] = []
    made = Registry()

    @made.register("it")
    def factory() -> Runnable[Any, Any]:
        calls.append(1)
        return echo()

    found = made.find("it")
    assert found is not None
    assert (calls, found.built) == ([], None)
    built: list[Any] = []
    threads = [threading.Thread(target=lambda: built.append(found.build())) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(calls) == 1
    assert len({id(runnable) for runnable in built}) == 1


def test_factory_that_returns_no_runnable_says_so() -> None:
    made = Registry()
    text: Any = lambda: "text"  # noqa: E731
    made.register("it", text)
    found = made.find("it")
    assert found is not None
    with pytest.raises(TypeError, match="Expected a Runnable, got <class 'str'>"):
        found.build()


def test_origin_is_the_module_that_registered() -> None:
    made = Registry()
    made.register("it", it)
    found = made.find("it")
    assert found is not None
    assert found.origin == __name__


# Modules


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> Any:
    monkeypatch.syspath_prepend(str(tmp_path))

    def write(name: str, text: str) -> str:
        (tmp_path / f"{name}.py").write_text(text)
        monkeypatch.delitem(sys.modules, name, raising=False)
        return name

    return write


def test_module_that_cannot_be_imported_hides_no_other(module: Any) -> None:
    made = Registry()
    names = [
        module("rn_broken", "import rn_no_such_module"),
        module("rn_wrong", "1 / 0"),
        module("rn_good", ""),
    ]
    made.discover(names)
    assert [problem.module for problem in made.problems] == ["rn_broken", "rn_wrong"]


def test_problems_are_system_checks_with_stable_ids(
    monkeypatch: pytest.MonkeyPatch, site: Site, module: Any
) -> None:
    register = "from runnables import register\nfrom tests.fakes import echo\n"
    names = {
        module("rn_type", f"{register}register('a', 'text')"): "langserve.E002",
        module("rn_path", f"{register}register('a', echo(), path='a')"): "langserve.E003",
        module(
            "rn_twice", f"{register}register('b', echo())\nregister('b', echo())"
        ): "langserve.E004",
        module("rn_option", f"{register}register('d', echo(), cats=1)"): "langserve.E005",
        module("rn_import", "import rn_no_such_module"): "langserve.W001",
    }
    default_registry.discover(names)
    found = {
        message.msg.split()[0].rstrip(":"): message for message in checks.check_registrations()
    }
    assert {name: message.id for name, message in found.items()} == names
    with pytest.raises(ImproperlyConfigured, match=r"langserve\.E002(?s:.*)langserve\.E005"):
        get_asgi_application()
    assert "b" in default_registry


def test_apps_have_their_runnables_module_found() -> None:
    assert registry.modules_of_apps(["runnables", "django.contrib.auth"]) == []
    assert registry.modules_of_apps(["examples"]) == ["examples.runnables"]


# Served


def test_factory_that_fails_takes_down_its_own_deployment_alone(site: Site) -> None:
    def broken() -> Any:
        raise RuntimeError(SECRET)

    site.serve("broken", broken)
    site.serve("it", it)
    response = site.post("/broken/invoke", {"input": 1})
    assert response.status_code == 503
    assert response.json()["code"] == "unavailable"
    assert SECRET not in response.text
    assert site.post("/broken/stream", {"input": 1}).status_code == 503
    assert site.get("/broken/input_schema").status_code == 503
    assert site.invoke("/it", 1) == 2


def test_factory_is_not_called_before_the_first_call(site: Site) -> None:
    calls: list[int] = []

    def factory() -> Any:
        calls.append(1)
        return it

    site.serve("it", factory)
    assert calls == []
    assert site.invoke("/it", 1) == 2
    assert site.invoke("/it", 1) == 2
    assert calls == [1]


@pytest.mark.parametrize("path", ["/", "/a", "/a/b/d"])
def test_deployment_is_served_at_its_path(site: Site, path: str) -> None:
    site.serve("it", it, path=path)
    base = path.rstrip("/")
    assert site.invoke(base, 1) == 2
    assert site.get(f"{base}/input_schema").status_code == 200
    assert site.post(f"{base}/stream", {"input": 1}).status_code == 200
    assert site.post(f"{base}/c/N4XyA/invoke", {"input": 1}).status_code == 200


def test_deployment_at_the_root_hides_no_other(site: Site) -> None:
    site.serve("root", RunnableLambda(lambda x: "root"), path="/")
    site.serve("it", it)
    assert site.invoke("", 1) == "root"
    assert site.invoke("/it", 1) == 2
    assert site.get("/admin/login/").status_code == 200
    assert [row["name"] for row in site.get("/deployments/").json()] == ["root", "it"]
