"""
The examples this app serves. Each factory imports its module when it is called, which is once and only if needed:
LangChain's models, LangGraph and numpy together would add a third of a second to the start of every process.
"""

from typing import Any

from langchain_core.runnables import Runnable

from examples.extras import has_package
from examples.providers import register_providers
from runnables import register
from runnables.registry import default_registry


@register("joke", access="public", description="A joke about a topic: prompt | model.")
def joke() -> Runnable[Any, Any]:
    from examples.joke import joke_chain  # noqa: PLC0415 - start-up time, see above

    return joke_chain()


@register(
    "configurable",
    access="public",
    description="A joke or a poem; tone, length and prompt are configurable.",
)
def configurable() -> Runnable[Any, Any]:
    from examples.configurable import configurable_chain  # noqa: PLC0415 - start-up time, see above

    return configurable_chain()


@register(
    "files",
    access="public",
    description="A report on an uploaded file: text, CSV or anything else.",
)
def files() -> Runnable[Any, Any]:
    from examples.files import file_chain  # noqa: PLC0415 - start-up time, see above

    return file_chain()


@register(
    "chat_history",
    access="public",
    description="A conversation: send a session_id, and it knows what was said before.",
)
def chat_history() -> Runnable[Any, Any]:
    from examples.chat_history import chat_history_chain  # noqa: PLC0415 - start-up time, see above

    return chat_history_chain()


@register("documents", description="A search among one's own documents, for signed-in users.")
def documents() -> Runnable[Any, Any]:
    from examples.documents import documents_search  # noqa: PLC0415 - start-up time, see above

    return documents_search()


def handbook() -> Runnable[Any, Any]:
    from examples.handbook import handbook_retriever  # noqa: PLC0415 - start-up time, see above

    return handbook_retriever()


def qa() -> Runnable[Any, Any]:
    from examples.qa import qa_chain  # noqa: PLC0415 - start-up time, see above

    return qa_chain()


def agent() -> Runnable[Any, Any]:
    from examples.agent import agent_graph  # noqa: PLC0415 - start-up time, see above

    return agent_graph()


if has_package("rank_bm25", wanted_by="The handbook", extra="demo"):
    register(
        "handbook",
        handbook,
        access="public",
        description="Sections of this server's handbook that fit a question.",
    )
    register(
        "qa",
        qa,
        access="public",
        description="Answers from the handbook, with their sources.",
    )
    if has_package("langgraph", wanted_by="The agent", extra="demo"):
        register(
            "agent",
            agent,
            access="public",
            playground_type="chat",
            description="A LangGraph agent that calculates, tells the time and searches the handbook.",
        )

register_providers(default_registry)
