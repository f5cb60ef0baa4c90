"""
Models of paid providers, served only where the environment holds the way to them. Never public: each call costs money.
"""

import os
from collections.abc import Callable
from typing import Any, Protocol

from langchain_core.runnables import Runnable

from examples.extras import has_package

OPENAI_MODEL = "gpt-5-mini"
ANTHROPIC_MODEL = "claude-sonnet-5"


class Registry(Protocol):
    """
    What we need of a registry.
    """

    @property
    def register(self) -> Callable[..., Any]: ...


def openai_model() -> Runnable[Any, Any]:
    from langchain_openai import ChatOpenAI  # noqa: PLC0415 - an extra, and slow to import

    options: dict[str, Any] = {"model": os.environ.get("OPENAI_MODEL") or OPENAI_MODEL}
    if base_url := os.environ.get("OPENAI_BASE_URL"):
        options["base_url"] = base_url
    if not os.environ.get("OPENAI_API_KEY"):
        # A server of one's own behind OPENAI_BASE_URL often wants no key, but the client insists on one.
        options["api_key"] = "none"
    model: Runnable[Any, Any] = ChatOpenAI(**options)
    return model


def anthropic_model() -> Runnable[Any, Any]:
    from langchain_anthropic import ChatAnthropic  # noqa: PLC0415 - an extra, and slow to import

    options: dict[str, Any] = {"model": os.environ.get("ANTHROPIC_MODEL") or ANTHROPIC_MODEL}
    model: Runnable[Any, Any] = ChatAnthropic(**options)
    return model


def register_providers(registry: Registry) -> None:
    if is_set("OPENAI_API_KEY", "OPENAI_BASE_URL") and has_package(
        "langchain_openai",
        wanted_by="OPENAI_API_KEY or OPENAI_BASE_URL",
        extra="openai",
    ):
        registry.register(
            "openai",
            openai_model,
            access="authenticated",
            description="OpenAI's chat model.",
        )
    if is_set("ANTHROPIC_API_KEY") and has_package(
        "langchain_anthropic", wanted_by="ANTHROPIC_API_KEY", extra="anthropic"
    ):
        registry.register(
            "anthropic",
            anthropic_model,
            access="authenticated",
            description="Anthropic's chat model.",
        )


def is_set(*names: str) -> bool:
    return any(os.environ.get(name) for name in names)
