"""
The `configurable` ids that every call of a runnable has to have. LangChain says that one
is missing only when the run has begun, by a ValueError that nobody can tell from others.
"""

from __future__ import annotations

from inspect import signature
from typing import Any

from langchain_core.runnables import (
    RunnableAssign,
    RunnableBinding,
    RunnableParallel,
    RunnableSequence,
)
from langchain_core.runnables.history import RunnableWithMessageHistory


def needed_ids(runnable: Any) -> frozenset[str]:
    """
    The ids of the histories that every call reads. What only some calls come by, such as
    a branch or a fallback, is not looked into.
    """
    if isinstance(runnable, RunnableWithMessageHistory):
        takes_ids = bool(signature(runnable.get_session_history).parameters)
        return frozenset(spec.id for spec in runnable.history_factory_config if takes_ids)
    if isinstance(runnable, RunnableBinding):
        bound = frozenset((runnable.config.get("configurable") or {}).keys())
        return needed_ids(runnable.bound) - bound
    if isinstance(runnable, RunnableAssign):
        return needed_ids(runnable.mapper)
    parts: list[Any] = []
    if isinstance(runnable, RunnableSequence):
        parts = runnable.steps
    if isinstance(runnable, RunnableParallel):
        parts = list(runnable.steps__.values())
    return frozenset().union(*map(needed_ids, parts))
