"""
Runnables that echo, remember, count, wait and fail, and a small streaming chat model.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import (
    ConfigurableFieldSpec,
    RunnableConfig,
    RunnableGenerator,
    RunnableLambda,
)

SECRET = "the-password-is-swordfish"
HASH_OF_TEMPLATE = (
    "N4IgLghg5gziBcACA2uEBdANIkBjA9gHYBmAllAK4BOEARgDYCmCioYjAtgA70TssgAGq0IQOjAL6sAnhJASJQA"
)


def add_one(x: int) -> int:
    return x + 1


def echo() -> RunnableLambda[Any, Any]:
    """
    Gives back what it got.
    """

    def same(x: Any) -> Any:
        return x

    return RunnableLambda(same)


def returning(value: Any) -> RunnableLambda[Any, Any]:
    def answer(_: Any) -> Any:
        return value

    return RunnableLambda(answer)


def failing(error: BaseException | None = None) -> RunnableLambda[Any, Any]:
    """
    Fails at once; with a text that no caller may see, unless told otherwise.
    """

    def fail(_: Any) -> Any:
        raise error or RuntimeError(SECRET)

    return RunnableLambda(fail)


def failing_midway(
    error: BaseException | None = None, *, after: int = 2
) -> RunnableGenerator[Any, Any]:
    """
    Yields some numbers, then fails.
    """

    async def some(_: AsyncIterator[Any]) -> AsyncIterator[int]:
        for number in range(after):
            yield number
        raise error or RuntimeError(SECRET)

    return RunnableGenerator(some)


def chunks(*values: Any) -> RunnableGenerator[Any, Any]:
    """
    Streams these values, whatever it gets.
    """

    async def some(_: AsyncIterator[Any]) -> AsyncIterator[Any]:
        for value in values:
            yield value

    return RunnableGenerator(some)


class Spy(RunnableLambda[Any, Any]):
    """
    Echoes, and keeps each input with the config it came with.
    """

    inputs: list[Any]
    configs: list[RunnableConfig]

    def __init__(self) -> None:
        self.inputs, self.configs = [], []

        def remember(x: Any, config: RunnableConfig) -> Any:
            self.inputs.append(x)
            self.configs.append(config)
            return x

        super().__init__(remember, name="spy")

    @property
    def last_config(self) -> RunnableConfig:
        return self.configs[-1]

    @property
    def configurable(self) -> dict[str, Any]:
        return self.last_config.get("configurable", {})

    @property
    def metadata(self) -> dict[str, Any]:
        """
        What reached the runnable, without what the server adds for itself.
        """
        return {k: v for k, v in self.last_config["metadata"].items() if not k.startswith("__")}


class Declaring(Spy):
    """
    A spy that declares configurable ids.
    """

    ids: dict[str, type]

    def __init__(self, **ids: type) -> None:
        super().__init__()
        self.ids = ids

    @property
    def config_specs(self) -> list[ConfigurableFieldSpec]:
        return [
            ConfigurableFieldSpec(id=name, annotation=annotation | None, default=None)
            for name, annotation in self.ids.items()
        ]


class Counter(RunnableLambda[Any, Any]):
    """
    Counts its calls, and how many of them went on at the same time.
    """

    def __init__(self) -> None:
        self.calls = self.now = self.most = 0

        async def count(x: Any) -> int:
            self.calls += 1
            self.now += 1
            self.most = max(self.most, self.now)
            await asyncio.sleep(0)
            self.now -= 1
            return self.calls

        super().__init__(count, name="counter")


class Waiting(RunnableGenerator[Any, Any]):
    """
    Says "begun", then waits for ever; knows when it began and whether its `finally` ran.
    """

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.ended = False

        async def wait(_: AsyncIterator[Any]) -> AsyncIterator[str]:
            try:
                self.begun.set()
                yield "begun"
                await asyncio.Event().wait()
            finally:
                self.ended = True

        super().__init__(wait, name="waiting")


class Words(BaseChatModel):
    """
    A chat model that says its reply word by word.
    """

    reply: str = "one two three"

    @property
    def _llm_type(self) -> str:
        return "words"

    def _words(self) -> list[str]:
        first, *rest = self.reply.split(" ")
        return [first, *(f" {word}" for word in rest)]

    def _generate(self, messages: list[BaseMessage], *_: Any, **__: Any) -> ChatResult:
        message = AIMessage(content=self.reply)
        return ChatResult(generations=[ChatGeneration(message=message)])

    def _stream(
        self, messages: list[BaseMessage], *_: Any, **__: Any
    ) -> Iterator[ChatGenerationChunk]:
        for word in self._words():
            yield ChatGenerationChunk(message=AIMessageChunk(content=word))

    async def _astream(
        self, messages: list[BaseMessage], *_: Any, **__: Any
    ) -> AsyncIterator[ChatGenerationChunk]:
        for word in self._words():
            yield ChatGenerationChunk(message=AIMessageChunk(content=word))


class Hearing(Words):
    """
    The same, and it keeps the messages it was given.
    """

    heard: list[Any] = []

    def _generate(self, messages: list[BaseMessage], *_: Any, **__: Any) -> ChatResult:
        self.heard.append(messages)
        return super()._generate(messages)
