"""
The smallest chain worth serving: a prompt and a model.
"""

from typing import Any

from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import Runnable

from examples.chat_model import RuleBasedChatModel


def joke_chain() -> Runnable[Any, Any]:
    prompt = ChatPromptTemplate.from_template("tell me a joke about {topic}")
    return prompt | RuleBasedChatModel()
