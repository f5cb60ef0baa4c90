"""
Registered in a process of its own, whose runs a mirror may see.
"""

from __future__ import annotations

from langchain_core.runnables import RunnableConfig, RunnableLambda

from runnables import hooks, register
from tests.fakes import Words

SERVER_SIDE = {"feedback_tokens": ["canary-of-a-token"]}


def ask(question: str, config: RunnableConfig) -> str:
    return str(Words().invoke(question, config).content)


register("mirrored", RunnableLambda(ask), access="public", config_keys=("tags", "metadata"))
hooks.answer_metadata.append(lambda call: SERVER_SIDE)
