"""
The callback events of one run, flat and in order, for `include_callback_events`.

Only what the Python client can replay is recorded: an event of another kind, or one that
says error, would turn a successful call into a crash at the client.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from langchain_core.documents import Document
from langchain_core.messages import BaseMessage
from langchain_core.outputs import LLMResult

from runnables.inline_handler import InlineHandler


class CallbackEvents(InlineHandler):
    """
    Records the events of a run in `events`; one for each run, never shared.
    """

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []

    def on_chain_start(self, serialized: Any, inputs: Any, **kwargs: Any) -> None:
        self._add("on_chain_start", kwargs, serialized=serialized, inputs=inputs)

    def on_chain_end(self, outputs: Any, **kwargs: Any) -> None:
        self._add("on_chain_end", kwargs, outputs=outputs)

    def on_chat_model_start(
        self, serialized: Any, messages: list[list[BaseMessage]], **kwargs: Any
    ) -> None:
        self._add("on_chat_model_start", kwargs, serialized=serialized, messages=messages)

    def on_llm_start(self, serialized: Any, prompts: list[str], **kwargs: Any) -> None:
        self._add("on_llm_start", kwargs, serialized=serialized, prompts=prompts)

    def on_llm_end(self, response: LLMResult, **kwargs: Any) -> None:
        # With `type` in it the client decodes a class that its own event model refuses.
        fields = {
            "generations": response.generations,
            "llm_output": response.llm_output,
            "run": response.run,
        }
        self._add("on_llm_end", kwargs, response=fields)

    def on_tool_start(self, serialized: Any, input_str: str, **kwargs: Any) -> None:
        self._add("on_tool_start", kwargs, serialized=serialized, input_str=input_str)

    def on_tool_end(self, output: Any, **kwargs: Any) -> None:
        text = output.text if isinstance(output, BaseMessage) else output
        self._add("on_tool_end", kwargs, output=str(text))

    def on_retriever_start(self, serialized: Any, query: str, **kwargs: Any) -> None:
        self._add("on_retriever_start", kwargs, serialized=serialized, query=query)

    def on_retriever_end(self, documents: Sequence[Document], **kwargs: Any) -> None:
        self._add("on_retriever_end", kwargs, documents=documents)

    def _add(self, kind: str, kwargs: dict[str, Any], **fields: Any) -> None:
        run_id: UUID = kwargs["run_id"]
        name = kwargs.get("name")
        # `serialized` describes the server's objects; the client has no use for it but the key.
        if fields.get("serialized"):
            fields["serialized"] = {"name": fields["serialized"].get("name")}
        self.events.append(
            {
                "type": kind,
                "run_id": run_id,
                "parent_run_id": kwargs.get("parent_run_id"),
                "tags": kwargs.get("tags") or [],
                "metadata": kwargs.get("metadata"),
                **fields,
                "kwargs": {"run_type": kwargs.get("run_type"), "name": name} if name else {},
            }
        )
