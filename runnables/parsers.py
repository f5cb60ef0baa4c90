"""
The stock output parsers without a thread per token.

langchain-core hands every chunk to a thread pool, since a parser might block. For these
exact classes `parse_result` is pure and quick, and the hop is 18-25 % of a stream's CPU.
`LANGSERVE["INLINE_PARSERS"] = False` leaves them as they are.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from langchain_core.messages import BaseMessage
from langchain_core.output_parsers import JsonOutputParser, StrOutputParser
from langchain_core.outputs import ChatGeneration, Generation


class InlineStrOutputParser(StrOutputParser):
    async def aparse_result(self, result: list[Generation], *, partial: bool = False) -> str:
        return self.parse_result(result, partial=partial)

    async def _atransform(
        self,
        input: AsyncIterator[str | BaseMessage],
    ) -> AsyncIterator[str]:
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
