"""
A model that knows what was said before. The database keeps it, under the caller and the `session_id` of the config;
ask "What did I ask so far?" to see that it does.
"""

import warnings
from typing import Any

from langchain_core.messages import AIMessage
from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder
from langchain_core.runnables import Runnable
from langchain_core.runnables.history import RunnableWithMessageHistory
from typing_extensions import TypedDict  # pydantic wants this one before Python 3.12

from examples.chat_model import RuleBasedChatModel
from runnables.history import history_factory

# Enough for a talk, and a bound for what a model is paid to read again and again.
MAX_MESSAGES = 40

# LangChain would have new projects keep state in LangGraph; this class stays until its version 2.
warnings.filterwarnings("ignore", message="RunnableWithMessageHistory is deprecated")


class Question(TypedDict):
    question: str


def chat_history_chain() -> Runnable[Any, Any]:
    prompt = ChatPromptTemplate.from_messages(
        [MessagesPlaceholder("history"), ("human", "{question}")]
    )
    chain = RunnableWithMessageHistory(
        prompt | RuleBasedChatModel(),
        history_factory("chat_history", max_messages=MAX_MESSAGES),
        input_messages_key="question",
        history_messages_key="history",
    )
    return chain.with_types(input_type=Question, output_type=AIMessage)
