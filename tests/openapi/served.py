"""
Deployments that take all that their schemas promise, so that whatever a fuzzer finds is ours.
"""

from collections.abc import AsyncIterator
from typing import Any

from langchain_core.messages import HumanMessage
from langchain_core.prompts import ChatPromptTemplate, PromptTemplate
from langchain_core.runnables import ConfigurableField, Runnable, RunnableLambda
from pydantic import BaseModel, Field

from runnables import CustomUserType, register


class Address(BaseModel):
    street: str = Field(min_length=1, max_length=100)
    number: int = Field(ge=1, le=10_000)


class Person(CustomUserType):
    name: str
    age: int | None = None
    address: Address


class Upload(CustomUserType):
    note: str = ""
    file: str = Field(json_schema_extra={"extra": {"widget": {"type": "base64file"}}})


def card(person: Any) -> str:
    return f"{person.name}, {person.address.street} {person.address.number}"


def texts(messages: Any) -> list[str]:
    return [message.text for message in messages]


async def letters(word: str) -> AsyncIterator[str]:
    for letter in word[:3] or "-":
        yield letter


tone = PromptTemplate.from_template("Hello {name}").configurable_alternatives(
    ConfigurableField(id="tone"),
    default_key="friendly",
    formal=PromptTemplate.from_template("Good day, {name}"),
)

PLAIN: dict[str, Any] = {"access": "public", "disabled_endpoints": ["config_hashes"]}

register("joke", ChatPromptTemplate.from_template("About {topic}"), **PLAIN)
register("person", RunnableLambda(card), input_type=Person, output_type=str, **PLAIN)
register("tone", tone, access="public")
register("letters", RunnableLambda(letters), **PLAIN)
register(
    "upload",
    RunnableLambda(lambda upload: len(upload.file)),
    input_type=Upload,
    output_type=int,
    **PLAIN,
)
register(
    "talk",
    RunnableLambda(texts),
    access="public",
    input_type=list[HumanMessage],
    output_type=list[str],
    enabled_endpoints=["invoke"],
)
register(
    "private",
    RunnableLambda(lambda word: word),
    access="authenticated",
    description="For users.",
    input_type=str,
    output_type=str,
    disabled_endpoints=["config_hashes"],
)


@register("broken", access="public")
def broken() -> Runnable[Any, Any]:
    raise RuntimeError("no such model")
