"""
A runnable with configurable ids of every kind; what it answers with says what reached it.
"""

from __future__ import annotations

from typing import Any

from langchain_core.runnables import (
    ConfigurableField,
    ConfigurableFieldSingleOption,
    Runnable,
    RunnableConfig,
    RunnableLambda,
    RunnableSerializable,
)

HOSTILE = '"><script>window.PWNED=1</script>{{ 7*7 }}<img src=x onerror="window.PWNED=1">'


class Settings(RunnableSerializable[Any, Any]):
    """
    Answers with its own fields.
    """

    template: str = "Hello"
    temperature: float = 0.7
    tries: int = 3
    loud: bool = False
    words: list[str] = ["one", "two"]
    extra: dict[str, Any] = {}
    nickname: str | None = None
    api_key: str = "built-in-secret"
    fails: bool = False

    def invoke(self, input: Any, config: RunnableConfig | None = None, **_: Any) -> Any:
        if self.fails:
            raise RuntimeError("told to fail")
        return {name: getattr(self, name) for name in type(self).model_fields if name != "name"}


def settings() -> Runnable[Any, Any]:
    """
    Ids: template, temperature, tries, loud, words, extra, nickname, api_key, fails and tone.
    """
    plain = ("temperature", "tries", "loud", "words", "extra", "nickname", "api_key", "fails")
    fields: dict[str, Any] = {
        **{name: ConfigurableField(id=name) for name in plain},
        "template": ConfigurableField(
            id="template", name="Template", description=f"What to say {HOSTILE}"
        ),
    }
    return Settings().configurable_fields(**fields)


class Spoken(RunnableSerializable[Any, Any]):
    tone: str = "kind"

    def invoke(self, input: Any, config: RunnableConfig | None = None, **_: Any) -> Any:
        return self.tone


def spoken() -> Runnable[Any, Any]:
    """
    One id with a choice of values.
    """
    option = ConfigurableFieldSingleOption(
        id="tone", options={"kind": "kind", "stern": "stern"}, default="kind"
    )
    return Spoken().configurable_fields(tone=option)


def broken() -> Runnable[Any, Any]:
    raise RuntimeError("no such index")


def answering(text: str) -> RunnableLambda[Any, Any]:
    def answer(_: Any) -> str:
        return text

    return RunnableLambda(answer)
