"""
What both servers serve: plain LangChain objects that do next to nothing, so that what is measured is the
server round them. Imports neither server.
"""

from collections.abc import AsyncIterator, Iterator
from typing import Any

from langchain_core.callbacks import (
    AsyncCallbackManagerForLLMRun,
    CallbackManagerForLLMRun,
)
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import Runnable, RunnableGenerator, RunnableLambda

TOKENS = tuple(f"word{number} " for number in range(200))


class TokenModel(BaseChatModel):
    """
    A chat model that answers with the same tokens, without delay.
    """

    @property
    def _llm_type(self) -> str:
        return "tokens"

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return whole_answer()

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return whole_answer()

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        yield from answer_chunks()

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        for chunk in answer_chunks():
            yield chunk


def whole_answer() -> ChatResult:
    return ChatResult(generations=[ChatGeneration(message=AIMessage(content="".join(TOKENS)))])


def answer_chunks() -> Iterator[ChatGenerationChunk]:
    for token in TOKENS[:-1]:
        yield ChatGenerationChunk(message=AIMessageChunk(content=token))
    # Said here, or LangChain adds an empty chunk of its own to say it.
    yield ChatGenerationChunk(message=AIMessageChunk(content=TOKENS[-1], chunk_position="last"))


async def add_one(number: int) -> int:
    return number + 1


def add_one_in_a_thread(number: int) -> int:
    return number + 1


def give_tokens(inputs: Iterator[Any]) -> Iterator[str]:
    yield from TOKENS


async def agive_tokens(inputs: AsyncIterator[Any]) -> AsyncIterator[str]:
    for token in TOKENS:
        yield token


prompt = ChatPromptTemplate.from_messages(
    [
        ("system", "You answer in two hundred words."),
        ("human", "Tell me about {topic}."),
    ]
)

trivial: Runnable[int, int] = RunnableLambda(add_one)
trivial_sync: Runnable[int, int] = RunnableLambda(add_one_in_a_thread)
chain: Runnable[dict[str, Any], str] = prompt | TokenModel() | StrOutputParser()
tokens: Runnable[Any, str] = RunnableGenerator(give_tokens, agive_tokens)
