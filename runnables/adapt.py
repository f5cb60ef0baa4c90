"""
A runnable made fit to be served: stock parsers run inline, synchronous generators can be
streamed, signatures are known. What needs neither is served as it was registered, not copied.
"""

from __future__ import annotations

import inspect
from typing import Any

from langchain_core.runnables import (
    RunnableBinding,
    RunnableGenerator,
    RunnableLambda,
    RunnableParallel,
    RunnableSequence,
)

from runnables.generators import async_generator, async_transform
from runnables.parsers import INLINE
from runnables.signatures import remember_signatures


def adapted(runnable: Any, *, inline_parsers: bool = True) -> Any:
    """
    The same runnable, or a copy with the replacements in it.

    Looks into sequences, parallels and bindings of the exact stock classes, no others.
    """
    remember_signatures(runnable)
    kind = type(runnable)
    if kind in INLINE and inline_parsers:
        return INLINE[kind](**dict(runnable))
    if kind is RunnableGenerator and not hasattr(runnable, "_atransform"):
        transform = runnable._transform
        return RunnableGenerator(transform, async_transform(transform), name=runnable.name)
    if kind is RunnableLambda and _is_sync_generator(runnable):
        return RunnableLambda(runnable.func, async_generator(runnable.func), name=runnable.name)
    if kind is RunnableSequence:
        middle = [adapted(step, inline_parsers=inline_parsers) for step in runnable.middle]
        parts = {
            "first": adapted(runnable.first, inline_parsers=inline_parsers),
            "middle": _same_if_unchanged(middle, runnable.middle),
            "last": adapted(runnable.last, inline_parsers=inline_parsers),
        }
        return _replaced(runnable, parts)
    if kind is RunnableParallel:
        old = runnable.steps__
        steps = {name: adapted(step, inline_parsers=inline_parsers) for name, step in old.items()}
        same = all(steps[name] is step for name, step in old.items())
        return _replaced(runnable, {"steps__": old if same else steps})
    if kind is RunnableBinding:
        return _replaced(
            runnable, {"bound": adapted(runnable.bound, inline_parsers=inline_parsers)}
        )
    return runnable


def _is_sync_generator(runnable: Any) -> bool:
    function = getattr(runnable, "func", None)
    return inspect.isgeneratorfunction(function) and not hasattr(runnable, "afunc")


def _same_if_unchanged(new: list[Any], old: list[Any]) -> list[Any]:
    return old if all(a is b for a, b in zip(new, old, strict=True)) else new


def _replaced(runnable: Any, parts: dict[str, Any]) -> Any:
    if all(getattr(runnable, name) is part for name, part in parts.items()):
        return runnable
    return runnable.model_copy(update=parts)
