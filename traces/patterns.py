"""
Patterns of staff's own, tried before they are used. Each is matched with everything that any
caller sends, by the one thread that writes traces, and Python's `re` keeps all others waiting
meanwhile: one that is slow on bad input would stop the whole process.

A pattern is read, and for each of its unbounded repeats a long text is made that almost
matches; another process has half a second of CPU time for all of them. What may escape it: a
pattern that is slow on other texts alone, as those with lookarounds can be.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable, Iterator
from functools import lru_cache
from importlib import import_module
from typing import Any

from runnables.redaction import BadPattern, Redactor

LENGTH = 50_000
CPU_SECONDS = 0.5
# A busy machine gives a process little of its time.
WALL_SECONDS = 10
MOST_PATTERNS = 50
MANY = 1000
_CHARACTERS = "a0 -_.,:;/@\n\tAéÀ'\"()[]{}<>=+*?!#%&\\|~^$`"

_TRIAL = """
import json, re, signal, sys
pattern, texts, seconds = json.load(sys.stdin)
found = re.compile(pattern)
if hasattr(signal, "setitimer"):
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
for text in texts:
    for _ in found.finditer(text):
        pass
"""


def check(keys: Iterable[str], patterns: Iterable[str]) -> Redactor:
    """
    The redactor of these; raises BadPattern.
    """
    patterns = tuple(patterns)
    if len(patterns) > MOST_PATTERNS:
        raise BadPattern(f"{MOST_PATTERNS} patterns at most")
    redactor = Redactor(keys, patterns)
    for pattern in patterns:
        if problem := _problem(pattern):
            raise BadPattern(problem)
    return redactor


@lru_cache(maxsize=512)
def _problem(pattern: str) -> str:
    """
    What is wrong with the pattern's speed; an empty text if nothing is.
    """
    texts = list(_hostile_texts(pattern))
    try:
        done = subprocess.run(  # noqa: S603 - our own code; the pattern goes in as data
            [sys.executable, "-I", "-c", _TRIAL],
            input=json.dumps([pattern, texts, CPU_SECONDS]).encode(),
            capture_output=True,
            timeout=WALL_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return _slow(pattern)
    except (OSError, TypeError):
        return f"{pattern!r} cannot be tried here, and so is not taken"
    if done.returncode == 0:
        return ""
    if done.returncode < 0:
        return _slow(pattern)
    return f"{pattern!r} cannot be tried here, and so is not taken"


def _slow(pattern: str) -> str:
    return (
        f"{pattern!r} takes too long on a text made to be bad for it. Bound what repeats, as in "
        r"\w{1,64}, begin with \b, and repeat nothing that repeats itself"
    )


def _hostile_texts(pattern: str) -> Iterator[str]:
    # Private, and all there is: where it changes, only plain repeats are tried.
    try:
        tree = import_module("re._parser").parse(pattern)
        found = [*_walk(tree, "")]
    except (ImportError, AttributeError, LookupError, TypeError, ValueError):
        found = []
    yield from dict.fromkeys([*found, *(_long("", one) for one in ("a", "0", " ", "a "))])


def _walk(tree: Any, before: str) -> Iterator[str]:
    """
    For each unbounded repeat in it, what comes before, the repeat, and then what never fits.
    """
    for operation, argument in tree:
        name = str(operation)
        if name in ("MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT"):
            _lowest, highest, inner = argument
            if int(highest) >= MANY:
                unit = _sample(inner) or "a"
                yield _long(before, unit)
                # Where it begins again and again, and each time looks at all the rest.
                yield _long("", before + unit)
                yield _long("", f"{before}{unit}-")
        for inner in _inner(name, argument):
            yield from _walk(inner, before)
        before += _sample([(operation, argument)])


def _long(before: str, unit: str) -> str:
    return before + unit * (LENGTH // len(unit)) + "\0"


def _inner(name: str, argument: Any) -> list[Any]:
    if name in ("MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT"):
        return [argument[2]]
    if name == "SUBPATTERN":
        return [argument[3]]
    if name == "BRANCH":
        return list(argument[1])
    if name == "ATOMIC_GROUP":
        return [argument]
    if name in ("ASSERT", "ASSERT_NOT"):
        return [argument[1]]
    return []


def _sample(tree: Any) -> str:
    """
    A text that the pattern matches, more or less.
    """
    text = ""
    for operation, argument in tree:
        name = str(operation)
        if name == "LITERAL":
            text += chr(argument)
        elif name in ("NOT_LITERAL", "ANY", "IN"):
            text += _fitting(name, argument)
        elif name in ("MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT"):
            text += _sample(argument[2]) * min(max(int(argument[0]), 1), MANY)
        elif name not in ("ASSERT", "ASSERT_NOT"):
            text += "".join(_sample(inner) for inner in _inner(name, argument)[:1])
    return text[:LENGTH]


def _fitting(name: str, argument: Any) -> str:
    if name == "ANY":
        return "a"
    if name == "NOT_LITERAL":
        return "a" if argument != ord("a") else "b"
    items = [(str(kind), value) for kind, value in argument]
    wanted = not any(kind == "NEGATE" for kind, _ in items)
    own: list[str] = [
        chr(value if kind == "LITERAL" else value[0])
        for kind, value in items
        if kind in ("LITERAL", "RANGE")
    ]
    one: str
    for one in (*_CHARACTERS, *own):
        if any(_fits(kind, value, one) for kind, value in items) is wanted:
            return one
    return "a"


def _fits(kind: str, value: Any, one: str) -> bool:
    if kind == "LITERAL":
        return ord(one) == int(value)
    if kind == "RANGE":
        return int(value[0]) <= ord(one) <= int(value[1])
    if kind != "CATEGORY":
        return False
    name = str(value)
    fits = (
        one.isdigit()
        if name.endswith("DIGIT")
        else one.isspace()
        if name.endswith("SPACE")
        else one.isalnum() or one == "_"
    )
    return fits is not ("_NOT_" in name)
