"""
The stock output parsers without a thread per token.

langchain-core hands every chunk to a thread pool, since a parser might block. For these
exact classes `parse_result` is pure and quick, and the hop is 18-25 % of a stream's CPU.
`LANGSERVE["INLINE_PARSERS"] = False` leaves runnables as they are.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from langchain_core.messages import BaseMessage
from langchain_core.output_parsers import JsonOutputParser, StrOutputParser
from langchain_core.outputs import ChatGeneration, Generation
from langchain_core.runnables import RunnableBinding, RunnableParallel, RunnableSequence


class InlineStrOutputParser(StrOutputParser):
    async def aparse_result(self, result: list[Generation], *, partial: bool = False) -> str:
        return self.parse_result(result, partial=partial)

    async def _atransform(self, input: AsyncIterator[str | BaseMessage]) -> AsyncIterator[str]:
        async for chunk in input:
            if isinstance(chunk, BaseMessage):
                yield self.parse_result([ChatGeneration(message=chunk)])
            else:
                yield self.parse_result([Generation(text=chunk)])


class InlineJsonOutputParser(JsonOutputParser):
    async def aparse_result(self, result: list[Generation], *, partial: bool = False) -> Any:
        return self.parse_result(result, partial=partial)


INLINE: dict[type, type] = {
    StrOutputParser: InlineStrOutputParser,
    JsonOutputParser: InlineJsonOutputParser,
}
for _stock, _inline in INLINE.items():
    # Steps are named after their class, in schemas, events and logs.
    _inline.__name__ = _stock.__name__


def with_inline_parsers(runnable: Any) -> Any:
    """
    The same runnable, or a copy in which stock parsers run inline.

    Looks into sequences, parallels and bindings of the exact stock classes; what it does
    not know, or what holds no such parser, is returned as it is, not copied.
    """
    kind = type(runnable)
    if kind in INLINE:
        return INLINE[kind](**dict(runnable))
    if kind is RunnableSequence:
        return _replaced(runnable, _sequence_steps(runnable))
    if kind is RunnableParallel:
        return _replaced(runnable, {"steps__": _same_or_new(runnable.steps__)})
    if kind is RunnableBinding:
        return _replaced(runnable, {"bound": with_inline_parsers(runnable.bound)})
    return runnable


def _same_or_new(steps: dict[str, Any]) -> dict[str, Any]:
    new = {name: with_inline_parsers(step) for name, step in steps.items()}
    return steps if all(new[name] is step for name, step in steps.items()) else new


def _sequence_steps(sequence: Any) -> dict[str, Any]:
    middle = [with_inline_parsers(step) for step in sequence.middle]
    return {
        "first": with_inline_parsers(sequence.first),
        # The list itself where nothing in it changed, so that identity tells.
        "middle": sequence.middle
        if all(a is b for a, b in zip(middle, sequence.middle, strict=True))
        else middle,
        "last": with_inline_parsers(sequence.last),
    }


def _replaced(runnable: Any, parts: dict[str, Any]) -> Any:
    if all(getattr(runnable, name) is part for name, part in parts.items()):
        return runnable
    return runnable.model_copy(update=parts)
