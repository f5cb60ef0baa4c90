import logging
import runpy
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from langchain_core.runnables import Runnable, RunnableLambda

import runnables.registry
from examples import extras, providers
from runnables.registry import Registry

ROOT = Path(providers.__file__).parents[1]
KEYS = (
    "OPENAI_API_KEY",
    "OPENAI_BASE_URL",
    "OPENAI_MODEL",
    "ANTHROPIC_API_KEY",
    "ANTHROPIC_MODEL",
)
PUBLIC = {"joke", "configurable", "files", "chat_history", "handbook", "qa", "agent"}
OFFLINE = {*PUBLIC, "documents"}


@pytest.fixture(autouse=True)
def without_keys(monkeypatch):
    for key in KEYS:
        monkeypatch.delenv(key, raising=False)


@pytest.fixture
def packages(monkeypatch):
    """
    Which packages count as installed.
    """
    present = {"rank_bm25", "langgraph", "langchain_openai", "langchain_anthropic"}
    monkeypatch.setattr(extras, "find_spec", lambda name: name if name in present else None)
    return present


@pytest.fixture
def discovered(monkeypatch):
    """
    The registrations of `examples.runnables`, made in a registry of their own.
    """
    registry = Registry()
    monkeypatch.setattr(runnables, "register", registry.register)
    monkeypatch.setattr(runnables.registry, "default_registry", registry)

    def run():
        runpy.run_module("examples.runnables")
        return registry

    return run


def names(registry):
    return {registration.name for registration in registry}


def test_every_offline_example_is_described_and_can_be_built(discovered):
    registry = discovered()

    assert names(registry) == OFFLINE
    for registration in registry:
        is_public = registration.name in PUBLIC
        assert registration.options.access == ("public" if is_public else "authenticated")
        assert registration.options.description
        assert isinstance(registration.build(), Runnable)


def test_without_the_demo_extra_the_others_are_served_and_the_log_names_it(
    discovered, packages, caplog
):
    packages -= {"rank_bm25"}

    assert names(discovered()) == OFFLINE - {"handbook", "qa", "agent"}
    assert "django-langserve[demo]" in caplog.text


def test_registering_imports_nothing_heavy():
    program = "import sys, examples.runnables; print({'langgraph', 'rank_bm25', 'numpy', 'examples.chat_model'} & {*sys.modules})"

    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )

    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("OPENAI_API_KEY", "openai"),
        ("OPENAI_BASE_URL", "openai"),
        ("ANTHROPIC_API_KEY", "anthropic"),
    ],
)
def test_a_provider_with_a_key_is_served_to_signed_in_users(monkeypatch, packages, key, name):
    monkeypatch.setenv(key, "something")
    registry = Registry()

    providers.register_providers(registry)

    (registration,) = registry
    assert (registration.name, registration.options.access) == (name, "authenticated")


def test_without_keys_no_provider_is_served_and_nothing_is_logged(packages, caplog):
    registry = Registry()

    providers.register_providers(registry)

    assert (names(registry), caplog.text) == (set(), "")


def test_a_key_without_its_package_is_a_warning_and_the_rest_goes_on(monkeypatch, packages, caplog):
    monkeypatch.setenv("OPENAI_API_KEY", "secret-value")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "secret-value")
    packages -= {"langchain_openai"}
    registry = Registry()

    providers.register_providers(registry)

    assert names(registry) == {"anthropic"}
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "pip install 'django-langserve[openai]'" in caplog.text
    assert "secret-value" not in caplog.text


def made_with(monkeypatch, package, cls, factory):
    """
    The arguments a factory gives to a provider's class.
    """
    seen = {}

    def model(**options):
        seen.update(options)
        return RunnableLambda(str)

    monkeypatch.setitem(sys.modules, package, SimpleNamespace(**{cls: model}))
    factory()
    return seen


def test_openai_takes_its_model_and_address_from_the_environment(monkeypatch):
    monkeypatch.setenv("OPENAI_BASE_URL", "http://localhost:1234/v1")
    monkeypatch.setenv("OPENAI_MODEL", "own-model")

    seen = made_with(monkeypatch, "langchain_openai", "ChatOpenAI", providers.openai_model)

    assert seen == {
        "model": "own-model",
        "base_url": "http://localhost:1234/v1",
        "api_key": "none",
    }


def test_with_a_key_alone_openais_own_address_and_a_default_model_are_used(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "key")

    seen = made_with(monkeypatch, "langchain_openai", "ChatOpenAI", providers.openai_model)

    assert seen == {"model": providers.OPENAI_MODEL}


def test_anthropic_takes_its_model_from_the_environment(monkeypatch):
    monkeypatch.setenv("ANTHROPIC_MODEL", "own-model")

    seen = made_with(monkeypatch, "langchain_anthropic", "ChatAnthropic", providers.anthropic_model)

    assert seen == {"model": "own-model"}
