"""
The example of docs/websocket.md. Alone in its module, so that the demo can have it, too.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from langchain_core.runnables import RunnableLambda

from runnables import register


async def spell(text: str) -> AsyncIterator[str]:
    """
    The letters of a text, one by one; it falls asleep at a "z".
    """
    for letter in text:
        if letter == "z":
            await asyncio.sleep(60)
        yield letter


register("spell", RunnableLambda(spell), access="public")
