"""
Which tool a question calls for, and the sentence that tells what the tool found.
"""

import hashlib
import json
import re
from collections.abc import Sequence
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, ToolCall, ToolMessage

from examples.reading import answer_from_passages

LONGEST_QUESTION = 2_000  # what is read of a question to choose a tool; a pasted book has no tool

SPOKEN_OPERATORS = {
    "plus": "+",
    "minus": "-",
    "times": "*",
    "multiplied by": "*",
    "divided by": "/",
    "to the power of": "**",
}
SPOKEN = re.compile(rf"\b({'|'.join(SPOKEN_OPERATORS)})\b", re.IGNORECASE)
PERCENT_OF = re.compile(r"(\d+(?:\.\d+)?)\s?% of\s(?=\d)")
THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}\b)")
DATE = re.compile(r"\b\d{4}-\d{2}-\d{2}\b")
ARITHMETIC = re.compile(r"(?<!\w)[-+*/%().\d\s]+(?!\w)")
OPERATION = re.compile(r"[\d)]\s?[-+*/%]{1,2}\s?[-(.\d]")
CALCULATE = re.compile(
    r"^\W*(?:please )?(?:calculate|compute|evaluate)\s(?P<rest>.+)$",
    re.IGNORECASE | re.DOTALL,
)
CLOCK = re.compile(
    r"\b(?:time|day|date) is it\b|\b(?:current|today's) (?:time|date|day)\b|\btoday\b"
    r"|\bwhat(?:'s| is) (?:the )?(?:time|date|day)\s?(?:\?|$|in\b|now\b)",
    re.IGNORECASE,
)
PLACE = re.compile(r"\bin\s(?P<place>[A-Za-z][\w/+-]*(?: [A-Z][\w/]*)*)")
ASKS = re.compile(
    r"^\W*(?:how|what|where|which|why|who|when|can|does|do|is|are)\b|\?\s*$|\bhandbook\b",
    re.IGNORECASE,
)


def tools_for(question: str, offered: frozenset[str]) -> list[tuple[str, dict[str, Any]]]:
    """
    Tools to call with their arguments; the handbook is asked when nothing else will do.
    """
    question = question[:LONGEST_QUESTION]
    wanted: list[tuple[str, dict[str, Any]]] = []
    if expression := arithmetic_in(question):
        wanted.append(("calculator", {"expression": expression}))
    if CLOCK.search(question):
        wanted.append(("current_time", {"place": place_in(question)}))
    if not wanted and ASKS.search(question):
        wanted.append(("search_handbook", {"query": question.strip()}))
    return [(name, arguments) for name, arguments in wanted if name in offered]


def arithmetic_in(question: str) -> str | None:
    text = SPOKEN.sub(lambda match: SPOKEN_OPERATORS[match[0].lower()], question)
    text = text.replace("^", "**").replace("\u00d7", "*").replace("\u00f7", "/")
    text = THOUSANDS.sub("", PERCENT_OF.sub(r"\1 / 100 * ", text))
    if asked := CALCULATE.match(text):
        return asked["rest"].strip().rstrip("?.!")
    runs = ARITHMETIC.findall(DATE.sub("", text))
    found = (run.strip().rstrip(".") for run in runs if OPERATION.search(run))
    return max(found, key=len, default=None)


def place_in(question: str) -> str:
    place = PLACE.search(question)
    return place["place"] if place else "UTC"


def tool_call(name: str, arguments: dict[str, Any], turn: int) -> ToolCall:
    # The same conversation gives the same id; the turn keeps a repeated question's calls apart.
    seed = json.dumps([turn, name, arguments])
    digest = hashlib.sha256(seed.encode("utf-8", "replace")).hexdigest()
    return ToolCall(name=name, args=arguments, id=f"call_{digest[:24]}", type="tool_call")


def answer_from_tools(messages: Sequence[BaseMessage], question: str) -> str | None:
    """
    What the tools just found, as an answer; None when no tool has just spoken.
    """
    results: list[ToolMessage] = []
    calls: dict[str | None, ToolCall] = {}
    for message in reversed(messages):
        if not isinstance(message, ToolMessage):
            calls = (
                {call["id"]: call for call in message.tool_calls}
                if isinstance(message, AIMessage)
                else {}
            )
            break
        results.insert(0, message)
    answers = [told(result, calls.get(result.tool_call_id), question) for result in results]
    return "\n\n".join(answers) or None


def told(result: ToolMessage, call: ToolCall | None, question: str) -> str:
    text = str(result.text)
    if result.status == "error" or call is None:
        return text
    if call["name"] == "calculator":
        return f"{call['args'].get('expression')} = {text}"
    if call["name"] == "search_handbook":
        return answer_from_passages(text, question)
    return text
