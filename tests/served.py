"""
One deployment for every kind of runnable that people serve, and a few that misbehave.
They need no network and no key; what becomes of the slow ones is noted in LEDGER_DIR.
"""

import asyncio
import math
import operator
import os
import tempfile
import time
import warnings
from collections.abc import AsyncIterator, Iterator
from datetime import date, datetime
from enum import Enum
from pathlib import Path
from typing import Any, Union
from uuid import UUID

from langchain_core.callbacks import (
    AsyncCallbackManagerForLLMRun,
    CallbackManagerForLLMRun,
    CallbackManagerForRetrieverRun,
)
from langchain_core.chat_history import InMemoryChatMessageHistory
from langchain_core.documents import Document
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    AnyMessage,
    BaseMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)
from langchain_core.output_parsers import StrOutputParser
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.prompts import (
    ChatPromptTemplate,
    MessagesPlaceholder,
    PromptTemplate,
)
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import (
    AddableDict,
    ConfigurableField,
    Runnable,
    RunnableConfig,
    RunnableGenerator,
    RunnableLambda,
    RunnableParallel,
    RunnablePassthrough,
)
from langchain_core.runnables.history import RunnableWithMessageHistory
from langchain_core.tools import tool
from langgraph.graph import END, START, MessagesState, StateGraph
from pydantic import BaseModel
from typing_extensions import TypedDict

from runnables import CustomUserType, PublicError, register

try:
    from langchain_classic.chains import base as legacy
except ImportError:
    legacy = None  # type: ignore[assignment]

SECRET = "the-password-is-swordfish"
LONG = 600  # ticks of 50 ms: far longer than any test waits


# --- Models -----------------------------------------------------------------------------------


class Echo(BaseChatModel):
    """
    Says what it was told, as one message.
    """

    reply: str = "You said: {text}"

    @property
    def _llm_type(self) -> str:
        return "echo"

    def words(self, messages: list[BaseMessage]) -> list[str]:
        said = self.reply.format(text=messages[-1].text, count=len(messages))
        first, *rest = said.split(" ")
        return [first, *(f" {word}" for word in rest)]

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        words = self.words(messages)
        usage = {
            "input_tokens": len(messages),
            "output_tokens": len(words),
            "total_tokens": len(messages) + len(words),
        }
        message = AIMessage(content="".join(words), usage_metadata=usage)
        return ChatResult(generations=[ChatGeneration(message=message)])


class StreamingEcho(Echo):
    """
    Says it word by word.
    """

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        for word in self.words(messages):
            yield ChatGenerationChunk(message=AIMessageChunk(content=word))

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        for word in self.words(messages):
            yield ChatGenerationChunk(message=AIMessageChunk(content=word))


class Calculator(BaseChatModel):
    """
    Asks for a product by a tool call, then says what the tool answered.
    """

    @property
    def _llm_type(self) -> str:
        return "calculator"

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        message = self.answer(messages[-1])
        return ChatResult(generations=[ChatGeneration(message=message)])

    def answer(self, last: BaseMessage) -> AIMessage:
        if isinstance(last, ToolMessage):
            return AIMessage(content=f"It is {last.text}.")
        a, b = (int(word) for word in last.text.split() if word.isdigit())
        call = {"name": "multiply", "args": {"a": a, "b": b}, "id": "call-1"}
        return AIMessage(content="", tool_calls=[call])


class Topic(TypedDict):
    topic: str


joke_prompt = ChatPromptTemplate.from_template("Tell me about {topic}")
joke = joke_prompt | StreamingEcho() | StrOutputParser()

register("joke", joke, access="public")
register("private", joke, access="authenticated")
register("model", StreamingEcho(), access="public")
register("plain_model", Echo(), access="public")
register("prompt", joke_prompt, access="public")


# --- Retriever and tool -----------------------------------------------------------------------


class ByWord(BaseRetriever):
    """
    The documents that hold the word.
    """

    documents: list[Document]

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun
    ) -> list[Document]:
        return [document for document in self.documents if query in document.page_content]


@tool
def multiply(a: int, b: int) -> int:
    """
    The product of two numbers.
    """
    return a * b


retriever = ByWord(
    documents=[
        Document(page_content="cats purr", metadata={"page": 1}),
        Document(page_content="dogs bark", metadata={"page": 2}),
        Document(page_content="cats and dogs", metadata={"page": 3}),
    ]
)

register("retriever", retriever, access="public")
register("multiply", multiply, access="public")


# --- Functions and generators -----------------------------------------------------------------


def add_one(x: int) -> int:
    return x + 1


async def add_one_later(x: int) -> int:
    await asyncio.sleep(0)
    return x + 1


def letters(word: str) -> Iterator[str]:
    yield from word


async def letters_later(word: str) -> AsyncIterator[str]:
    for letter in word:
        yield letter


def shout(words: Iterator[str]) -> Iterator[str]:
    for word in words:
        for letter in word:
            yield letter.upper()


async def shout_later(words: AsyncIterator[str]) -> AsyncIterator[str]:
    async for word in words:
        for letter in word:
            yield letter.upper()


register("add_one", RunnableLambda(add_one), access="public")
register("add_one_later", RunnableLambda(add_one_later), access="public")
register("letters", RunnableLambda(letters), access="public")
register("letters_later", RunnableLambda(letters_later), access="public")
register("shout", RunnableGenerator(shout), access="public")
register("shout_later", RunnableGenerator(shout_later), access="public")


@register("from_factory", access="public", path="/made/by/factory")
def from_factory() -> Runnable[Any, Any]:
    return RunnableLambda(add_one)


# --- Config -----------------------------------------------------------------------------------

histories: dict[str, InMemoryChatMessageHistory] = {}


def history_of(session_id: str) -> InMemoryChatMessageHistory:
    return histories.setdefault(session_id, InMemoryChatMessageHistory())


with warnings.catch_warnings():
    # langchain-core calls it deprecated; LangServe's users have it all the same.
    warnings.simplefilter("ignore", DeprecationWarning)
    remembering = RunnableWithMessageHistory(
        ChatPromptTemplate.from_messages([MessagesPlaceholder("history"), ("human", "{question}")])
        | StreamingEcho(reply="{count}: {text}"),
        history_of,
        input_messages_key="question",
        history_messages_key="history",
    )

greeting = PromptTemplate.from_template("Hello {name}").configurable_fields(
    template=ConfigurableField(id="template", name="Template", description="What to say")
)

animal = PromptTemplate.from_template("The cat {verb}").configurable_alternatives(
    ConfigurableField(id="animal"),
    default_key="cat",
    dog=PromptTemplate.from_template("The dog {verb}"),
)


def show_config(x: Any, config: RunnableConfig) -> dict[str, Any]:
    """
    What reached the runnable of the caller's config.
    """
    manager: Any = config["callbacks"]
    metadata = {k: v for k, v in config["metadata"].items() if not k.startswith("__")}
    return {
        "x": x,
        "tags": config["tags"],
        "metadata": metadata,
        "run_id": str(manager.parent_run_id),
    }


def name_tenant(config: dict[str, Any], request: Any) -> dict[str, Any]:
    """
    A modifier: what the server knows of the caller joins the metadata.
    """
    metadata = {**config.get("metadata", {}), "tenant": request.headers.get("x-tenant")}
    return {**config, "metadata": metadata}


register("history", remembering, access="public")
register("greeting", greeting, access="public")
register("animal", animal, access="public")
register(
    "open_config",
    RunnableLambda(show_config),
    access="public",
    config_keys=("tags", "metadata", "run_id"),
)
register("closed_config", RunnableLambda(show_config), access="public")
register("tags_only", greeting, access="public", config_keys=("tags",))
register(
    "tenant",
    RunnableLambda(show_config),
    access="public",
    per_req_config_modifier=name_tenant,
)


# --- Doors ------------------------------------------------------------------------------------

loggable = RunnableLambda(add_one)

register(
    "invoke_only",
    RunnableLambda(add_one),
    access="public",
    enabled_endpoints=["invoke"],
)
register("no_batch", RunnableLambda(add_one), access="public", disabled_endpoints=["batch"])
register(
    "quiet_log",
    loggable.with_config(run_name="quiet"),
    access="public",
    stream_log_name_allow_list=[],
)
register(
    "loud_log",
    loggable.with_config(run_name="loud"),
    access="public",
    stream_log_name_allow_list=["loud"],
)
register("events_v1", joke, access="public", astream_events_version="v1")


# --- Graphs and a legacy chain ----------------------------------------------------------------


def talk(state: MessagesState) -> dict[str, Any]:
    return {"messages": [StreamingEcho().invoke(state["messages"])]}


def calculate(state: MessagesState) -> dict[str, Any]:
    return {"messages": [Calculator().invoke(state["messages"])]}


def use_tool(state: MessagesState) -> dict[str, Any]:
    last: Any = state["messages"][-1]
    return {
        "messages": [multiply.invoke({**call, "type": "tool_call"}) for call in last.tool_calls]
    }


def next_step(state: MessagesState) -> str:
    last: Any = state["messages"][-1]
    return "tools" if last.tool_calls else END


def conversation_graph() -> Runnable[Any, Any]:
    graph = StateGraph(MessagesState)
    graph.add_node("talk", talk)
    graph.add_edge(START, "talk")
    graph.add_edge("talk", END)
    return graph.compile(name="conversation")


def agent_graph() -> Runnable[Any, Any]:
    graph = StateGraph(MessagesState)
    graph.add_node("model", calculate)
    graph.add_node("tools", use_tool)
    graph.add_edge(START, "model")
    graph.add_conditional_edges("model", next_step, ["tools", END])
    graph.add_edge("tools", "model")
    return graph.compile(name="agent")


register("graph", conversation_graph(), access="public")
register("agent", agent_graph(), access="public")

if legacy is not None:

    class Reverse(legacy.Chain):
        @property
        def input_keys(self) -> list[str]:
            return ["phrase"]

        @property
        def output_keys(self) -> list[str]:
            return ["reversed"]

        def _call(self, inputs: dict[str, Any], run_manager: Any = None) -> dict[str, Any]:
            return {"reversed": inputs["phrase"][::-1]}

        async def _acall(self, inputs: dict[str, Any], run_manager: Any = None) -> dict[str, Any]:
            return self._call(inputs)

    register("chain", Reverse(), access="public")


# --- Types ------------------------------------------------------------------------------------


class Person(CustomUserType):
    name: str
    age: int


class Point(BaseModel):
    x: int
    y: int = 0


class Color(Enum):
    RED = "red"
    BLUE = "blue"


class Scalars(TypedDict):
    id: UUID
    at: datetime
    day: date
    color: Color


class Answer(TypedDict):
    answer: str


def twice(x: Any) -> Any:
    return x * 2


def describe_person(person: Any) -> str:
    return f"{type(person).__name__} {person.name} is {person.age}"


def describe_point(point: Any) -> dict[str, Any]:
    return {"is": type(point).__name__, "sum": point["x"] + point["y"]}


def classes_of(messages: list[Any]) -> list[str]:
    return [type(message).__name__ for message in messages]


def texts_of(documents: list[Any]) -> list[str]:
    return [document.page_content for document in documents]


def describe_scalars(scalars: dict[str, Any]) -> dict[str, Any]:
    return {
        "types": {key: type(value).__name__ for key, value in scalars.items()},
        "values": scalars,
    }


def answer_with_sources(question: str) -> Answer:
    # More than the annotation promises, as many chains do.
    return {"answer": question, "sources": ["page 1"]}  # type: ignore[typeddict-unknown-key]


Conversational = Union[HumanMessage, AIMessage, SystemMessage, ToolMessage]  # noqa: UP007  (as users write it)

register("person", RunnableLambda(describe_person), access="public", input_type=Person)
register("point", RunnableLambda(describe_point), access="public", input_type=Point)
register(
    "typed",
    RunnableLambda(twice).with_types(input_type=int, output_type=int),
    access="public",
)
register(
    "any_messages",
    RunnableLambda(classes_of),
    access="public",
    input_type=list[AnyMessage],
)
register(
    "base_messages",
    RunnableLambda(classes_of),
    access="public",
    input_type=list[BaseMessage],
)
register(
    "union_messages",
    RunnableLambda(classes_of),
    access="public",
    input_type=list[Conversational],
)
register("texts", RunnableLambda(texts_of), access="public", input_type=list[Document])
register("scalars", RunnableLambda(describe_scalars), access="public", input_type=Scalars)
register("sources", RunnableLambda(answer_with_sources), access="public")


# --- Outputs ----------------------------------------------------------------------------------

SPECIAL = [
    "next\u0085line",
    "line\u2028separator",
    "paragraph\u2029separator",
    "two\r\nlines",
    "über 🦜",
]


async def special(word: str) -> AsyncIterator[str]:
    for text in SPECIAL:
        yield text


async def nothing(word: str) -> AsyncIterator[str]:
    for letter in "":
        yield letter


async def halves(word: str) -> AsyncIterator[dict[str, str]]:
    middle = len(word) // 2
    yield AddableDict(first=word[:middle])
    yield AddableDict(second=word[middle:])


def with_sources(query: str) -> dict[str, Any]:
    return {"answer": query, "sources": retriever.invoke(query)}


def pair(x: int) -> tuple[int, str]:
    return (x, str(x))


def rooted(x: int) -> dict[str, int]:
    return {"root": x, "b": x + 1}


def infinite(x: int) -> list[float]:
    return [float(x), math.inf, math.nan]


register("special", RunnableLambda(special), access="public")
register("nothing", RunnableLambda(nothing), access="public")
register("halves", RunnableLambda(halves), access="public")
register("documents", RunnableLambda(with_sources), access="public", output_type=Any)
register("pair", RunnableLambda(pair), access="public")
register("rooted", RunnableLambda(rooted), access="public", output_type=Any)
register("infinite", RunnableLambda(infinite), access="public", output_type=Any)
# A step whose value has no JSON must not end a stream of events.
register(
    "set_inside",
    RunnableLambda(lambda x: {x, x + 1}) | RunnableLambda(len),
    access="public",
    input_type=int,
)


# --- Callback events --------------------------------------------------------------------------


def unlucky(x: Any) -> Any:
    raise RuntimeError(SECRET)


def six_by_seven(_: Any) -> dict[str, int]:
    return {"a": 6, "b": 7}


observed: Runnable[Any, Any] = RunnableParallel(
    answer=RunnableLambda(unlucky).with_fallbacks([joke_prompt | Echo() | StrOutputParser()]),
    product=RunnableLambda(six_by_seven) | multiply,
    pages=RunnableLambda(operator.itemgetter("topic")) | retriever,
)

register(
    "observed",
    observed,
    access="public",
    input_type=Topic,
    output_type=Any,
    include_callback_events=True,
)
register(
    "observed_add_one",
    RunnableLambda(add_one),
    access="public",
    include_callback_events=True,
)


# --- Failures ---------------------------------------------------------------------------------


async def fail_midway(word: str) -> AsyncIterator[str]:
    yield word
    # The first chunk is on the wire before the failure, which so can be no status any more.
    await asyncio.sleep(0.3)
    raise RuntimeError(SECRET)


def refuse(word: str) -> str:
    raise PublicError("Come back tomorrow", status=429, code="rate_limited")


async def refuse_midway(word: str) -> AsyncIterator[str]:
    yield word
    await asyncio.sleep(0.3)
    refuse(word)


def fail_on_zero(x: int) -> int:
    return 10 // x


register("fails", RunnableLambda(unlucky), access="public", input_type=str, output_type=str)
register("fails_midway", RunnableLambda(fail_midway), access="public")
register("refuses", RunnableLambda(refuse), access="public")
register("refuses_midway", RunnableLambda(refuse_midway), access="public")
register("fails_on_zero", RunnableLambda(fail_on_zero), access="public")


# --- Slow ones --------------------------------------------------------------------------------


def note(key: str, word: str) -> None:
    folder = Path(os.environ.get("LEDGER_DIR") or tempfile.gettempdir())
    with (folder / key).open("a") as ledger:
        ledger.write(f"{word}\n")


async def slow(key: str) -> AsyncIterator[str]:
    note(key, "started")
    try:
        for tick in range(LONG):
            yield str(tick)
            await asyncio.sleep(0.05)
    finally:
        note(key, "finally")


async def slow_invoke(key: str) -> str:
    note(key, "started")
    try:
        await asyncio.sleep(30)
    except asyncio.CancelledError:
        note(key, "cancelled")
        raise
    return key


def blocking(x: int) -> int:
    time.sleep(1)
    return x


register("slow", RunnableLambda(slow), access="public")
register("slow_invoke", RunnableLambda(slow_invoke), access="public")
register("readers_slow", RunnableLambda(slow), access=["readers"])
register("readers_slow_invoke", RunnableLambda(slow_invoke), access=["readers"])
register("blocking", RunnableLambda(blocking), access="public")
register(
    "passthrough",
    RunnablePassthrough(),
    access="public",
    input_type=Any,
    output_type=Any,
)
