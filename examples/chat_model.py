"""
A chat model that needs no network and no key: it answers by rules, streams token by token and calls tools.
It behaves like a provider's model towards LangChain, so a chain tried on it can be moved to a real one.
"""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any

from langchain_core.callbacks import (
    AsyncCallbackManagerForLLMRun,
    CallbackManagerForLLMRun,
)
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import Field

from examples.answers import Answer, chunks_of, cut_at, offered, usage
from examples.rules import Conversation, Tone, reply_to
from examples.words import tokens

DEFAULT_DELAY = 0.02


def delay_from_environment() -> float:
    return float(os.environ.get("EXAMPLES_TOKEN_DELAY", DEFAULT_DELAY))


class RuleBasedChatModel(BaseChatModel):
    """
    The same messages always get the same answer. Only a stream is slowed down: there somebody watches.
    """

    model_name: str = "rule-based"
    tone: Tone = "plain"
    max_tokens: int | None = Field(default=None, ge=1)
    token_delay: float = Field(default_factory=delay_from_environment, ge=0)

    @property
    def _llm_type(self) -> str:
        return "rule-based"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {
            "model_name": self.model_name,
            "tone": self.tone,
            "max_tokens": self.max_tokens,
        }

    def bind_tools(
        self,
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool],
        *,
        tool_choice: str | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        described = [convert_to_openai_tool(tool) for tool in tools]
        return self.bind(tools=described, tool_choice=tool_choice, **kwargs)

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        answer = self._answer(messages, stop, **kwargs)
        message = AIMessage(
            content="".join(answer.words),
            tool_calls=list(answer.tool_calls),
            usage_metadata=answer.usage,
            response_metadata=answer.metadata,
        )
        return ChatResult(generations=[ChatGeneration(message=message)])

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        # Nothing here waits, so the base class's hop into a thread would only cost time.
        return self._generate(messages, stop, **kwargs)

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        for chunk in chunks_of(self._answer(messages, stop, **kwargs)):
            time.sleep(self.token_delay)
            yield ChatGenerationChunk(message=chunk)

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        for chunk in chunks_of(self._answer(messages, stop, **kwargs)):
            # Also without a delay: every token is a chance to cancel the run.
            await asyncio.sleep(self.token_delay)
            yield ChatGenerationChunk(message=chunk)

    def _answer(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None,
        tools: Sequence[dict[str, Any]] = (),
        tool_choice: str | None = None,
        **_: Any,
    ) -> Answer:
        reply = reply_to(Conversation(messages, offered(tools, tool_choice)), self.tone)
        words = tokens(cut_at(reply.text, stop or []))
        kept = words[: self.max_tokens]
        reason = (
            "length" if len(kept) < len(words) else "tool_calls" if reply.tool_calls else "stop"
        )
        return Answer(
            words=kept,
            tool_calls=reply.tool_calls,
            usage=usage(messages, kept, reply.tool_calls),
            metadata={"model_name": self.model_name, "finish_reason": reason},
        )
