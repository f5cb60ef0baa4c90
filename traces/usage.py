"""
What a model says of its answer: the answer itself, its tokens, and which model it was.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from langchain_core.outputs import LLMResult

Tokens = tuple[int, int] | None


def answer(response: LLMResult) -> Any:
    """
    The message, or the text, of a model's only generation; else all of them.
    """
    generations = response.generations
    if len(generations) == 1 and len(generations[0]) == 1:
        one = generations[0][0]
        return getattr(one, "message", None) or one.text
    return [[getattr(one, "message", None) or one.text for one in each] for each in generations]


def of(response: LLMResult, metadata: Mapping[str, Any] | None) -> tuple[Tokens, str]:
    """
    Tokens in and out, None where the model did not say, and the model's name.
    """
    told, model = None, ""
    for generation in (one for each in response.generations for one in each):
        message = getattr(generation, "message", None)
        if used := getattr(message, "usage_metadata", None):
            before = told or (0, 0)
            told = (
                before[0] + _count(used.get("input_tokens")),
                before[1] + _count(used.get("output_tokens")),
            )
        named = getattr(message, "response_metadata", None) or {}
        model = model or named.get("model_name") or named.get("model") or ""
    output = response.llm_output or {}
    if told is None and isinstance(used := output.get("token_usage"), Mapping):
        told = _count(used.get("prompt_tokens")), _count(used.get("completion_tokens"))
    model = model or output.get("model_name") or (metadata or {}).get("ls_model_name") or ""
    return told, str(model)


def _count(value: Any) -> int:
    return value if isinstance(value, int) and 0 <= value < 1 << 50 else 0
