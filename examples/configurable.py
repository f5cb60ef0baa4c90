"""
What a caller may choose through `config.configurable`: fields of the model, and which prompt is used.
"""

from typing import Any

from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import (
    ConfigurableField,
    ConfigurableFieldSingleOption,
    Runnable,
)

from examples.chat_model import RuleBasedChatModel


def configurable_chain() -> Runnable[Any, Any]:
    model = RuleBasedChatModel().configurable_fields(
        tone=ConfigurableFieldSingleOption(
            id="tone",
            name="Tone",
            description="How the model speaks.",
            options={"plain": "plain", "cheerful": "cheerful", "grumpy": "grumpy"},
            default="plain",
        ),
        max_tokens=ConfigurableField(
            id="max_tokens",
            name="Most tokens",
            description="Where the answer is cut off; leave empty for all of it.",
        ),
    )
    prompt = ChatPromptTemplate.from_template(
        "tell me a joke about {topic}"
    ).configurable_alternatives(
        ConfigurableField(
            id="prompt", name="Prompt", description="What is written about the topic."
        ),
        default_key="joke",
        poem=ChatPromptTemplate.from_template("write a poem about {topic}"),
    )
    return prompt | model
