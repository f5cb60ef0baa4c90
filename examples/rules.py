"""
What the rule-based model answers: the first rule with a reply wins.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from langchain_core.messages import BaseMessage, HumanMessage, SystemMessage, ToolCall

from examples.reading import answer_from_passages
from examples.tool_rules import answer_from_tools, tool_call, tools_for
from examples.verses import clean_topic, joke_about, poem_about

Tone = Literal["plain", "cheerful", "grumpy"]

ASKS_FOR_VERSE = re.compile(
    r"\b(?P<kind>joke|poem)\s+(?:about|on)\s+(?P<topic>\S.*)", re.IGNORECASE | re.DOTALL
)
GREETS = re.compile(r"^\W*(?:hi|hello|hey|good (?:morning|day|evening))\b", re.IGNORECASE)
ASKS_TO_REMEMBER = re.compile(r"\bwhat (?:did|have) I (?:just )?(?:ask|say|said)", re.IGNORECASE)
PASSAGES = "Passages:\n"

HELLO = (
    "Hello! I am a small model made of rules. Ask me for a joke or a poem about something; "
    "with tools I also calculate, tell the time and search the handbook."
)
AT_A_LOSS = (
    "I am a model made of a few rules, and none of them fits this. Try: tell me a joke about cats."
)


NOTHING_YET = "Nothing: this is the first I hear from you here."


@dataclass(frozen=True)
class Reply:
    text: str = ""
    tool_calls: tuple[ToolCall, ...] = ()


@dataclass(frozen=True)
class Conversation:
    """
    What the model is given: the messages, and the names of the tools it may call.
    """

    messages: Sequence[BaseMessage]
    tools: frozenset[str] = frozenset()

    @property
    def question(self) -> str:
        return self.questions[-1] if self.questions else ""

    @property
    def questions(self) -> list[str]:
        return [str(message.text) for message in self.messages if isinstance(message, HumanMessage)]

    @property
    def passages(self) -> str | None:
        texts = (
            str(message.text) for message in self.messages if isinstance(message, SystemMessage)
        )
        return next((text.split(PASSAGES, 1)[1] for text in texts if PASSAGES in text), None)


def report_tools(talk: Conversation) -> Reply | None:
    answer = answer_from_tools(talk.messages, talk.question)
    return Reply(answer) if answer else None


def read_passages(talk: Conversation) -> Reply | None:
    if talk.passages is None:
        return None
    return Reply(answer_from_passages(talk.passages, talk.question))


def make_verse(talk: Conversation) -> Reply | None:
    asked = ASKS_FOR_VERSE.search(talk.question)
    if asked is None:
        return None
    write = joke_about if asked["kind"].lower() == "joke" else poem_about
    return Reply(write(clean_topic(asked["topic"])))


def remember(talk: Conversation) -> Reply | None:
    if not ASKS_TO_REMEMBER.search(talk.question):
        return None
    lines = [f"{number}. {text}" for number, text in enumerate(talk.questions[:-1], 1)]
    return Reply("\n".join(["You said:", *lines]) if lines else NOTHING_YET)


def call_tools(talk: Conversation) -> Reply | None:
    calls = [
        tool_call(name, arguments, turn=len(talk.messages))
        for name, arguments in tools_for(talk.question, talk.tools)
    ]
    return Reply(tool_calls=tuple(calls)) if calls else None


def greet(talk: Conversation) -> Reply | None:
    return Reply(HELLO) if GREETS.search(talk.question) else None


RULES: tuple[Callable[[Conversation], Reply | None], ...] = (
    report_tools,
    read_passages,
    make_verse,
    remember,
    call_tools,
    greet,
)


def reply_to(talk: Conversation, tone: Tone = "plain") -> Reply:
    replies = (rule(talk) for rule in RULES)
    reply = next((reply for reply in replies if reply is not None), Reply(AT_A_LOSS))
    return Reply(in_tone(reply.text, tone), reply.tool_calls)


def in_tone(text: str, tone: Tone) -> str:
    if not text or tone == "plain":
        return text
    return f"With pleasure! {text}" if tone == "cheerful" else f"If I must. {text}"
