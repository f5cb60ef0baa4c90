"""
Signatures, told once. LangChain inspects what it is about to call at every call, four times
for a function: a quarter of the time that a small one takes (measured).
"""

from __future__ import annotations

import inspect
from contextlib import suppress
from typing import Any

# The methods of its own that LangChain asks about before it calls them.
_METHODS = (
    "_ainvoke",
    "_invoke",
    "_atransform",
    "_transform",
    "_aformat_prompt_with_error_handling",
)
_FUNCTIONS = ("func", "afunc", "_atransform", "_transform")


def remember_signatures(runnable: Any) -> None:
    """
    Have `inspect.signature` find what it would work out: of the functions in a runnable, and of
    the methods that call them.
    """
    for name in _METHODS:
        _remember(getattr(type(runnable), name, None))
    for name in _FUNCTIONS:
        _remember(vars(runnable).get(name) if hasattr(runnable, "__dict__") else None)


def _remember(function: Any) -> None:
    if inspect.isfunction(function) and not hasattr(function, "__signature__"):
        with suppress(TypeError, ValueError):
            function.__signature__ = inspect.signature(function)  # type: ignore[attr-defined]
