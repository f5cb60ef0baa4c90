"""
The preset `final_answer` of `stream_events`: of all that an agent does, the words that are
meant for the reader, and the output at the end.
"""

from __future__ import annotations

from typing import Any

MODEL_STREAMS = ("on_chat_model_stream", "on_llm_stream")


class FinalAnswer:
    """
    Says of each event, in order, whether it belongs to the final answer.

    That are the text chunks of models that are not working for a tool, up to the first
    sign that the model is calling one, and the end of the run itself.
    """

    def __init__(self) -> None:
        self._root: str | None = None
        self._tools: set[str] = set()
        self._calling_tools: set[str] = set()

    def __call__(self, event: dict[str, Any]) -> bool:
        kind, run_id = event["event"], event["run_id"]
        if self._root is None:
            self._root = run_id
        if kind == "on_tool_start":
            self._tools.add(run_id)
        if kind in MODEL_STREAMS:
            return self._is_answer(event)
        return bool(run_id == self._root and kind.endswith("_end"))

    def _is_answer(self, event: dict[str, Any]) -> bool:
        chunk, run_id = event["data"].get("chunk"), event["run_id"]
        if getattr(chunk, "tool_call_chunks", None) or getattr(chunk, "tool_calls", None):
            self._calling_tools.add(run_id)
        if run_id in self._calling_tools or self._tools.intersection(event.get("parent_ids", ())):
            return False
        return bool(_text(chunk))


def _text(chunk: Any) -> str:
    text = getattr(chunk, "text", chunk)
    return text if isinstance(text, str) else ""
