"""
A tool agent as a LangGraph graph: the model asks for tools, they run, and it speaks when it has what it needs.
"""

from operator import itemgetter
from typing import Any

from langchain_core.messages import BaseMessage
from langchain_core.runnables import Runnable, RunnableLambda
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.prebuilt import ToolNode, tools_condition

from examples.chat_model import RuleBasedChatModel
from examples.tools import offline_tools


def as_update(message: BaseMessage) -> dict[str, Any]:
    return {"messages": [message]}


def agent_graph() -> CompiledStateGraph[Any, Any, Any, Any]:
    tools = offline_tools()
    model = RuleBasedChatModel().bind_tools(tools)
    # A chain, not a function that calls the model: it serves invoke and ainvoke alike.
    speak: Runnable[Any, Any] = (
        RunnableLambda(itemgetter("messages")) | model | RunnableLambda(as_update)
    )
    graph = StateGraph(MessagesState)
    graph.add_node("model", speak)
    graph.add_node("tools", ToolNode(tools))
    graph.add_edge(START, "model")
    graph.add_conditional_edges("model", tools_condition)
    graph.add_edge("tools", "model")
    return graph.compile(name="agent")
