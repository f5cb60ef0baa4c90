"""
Questions answered from the handbook: retrieve, then answer from what was found. The input is the question itself,
the shortest thing to type into curl or a playground; the output streams, `sources` first and `answer` token by token.
"""

from typing import Any

from langchain_core.documents import Document
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import Runnable, RunnableParallel, RunnablePassthrough
from typing_extensions import TypedDict  # pydantic wants this one before Python 3.12

from examples.chat_model import RuleBasedChatModel
from examples.handbook import handbook_retriever
from examples.reading import format_passages

PROMPT = ChatPromptTemplate.from_messages(
    [
        (
            "system",
            "Answer from the passages alone, and name your sources.\n\nPassages:\n{passages}",
        ),
        ("human", "{question}"),
    ]
)


class Source(TypedDict):
    source: str
    title: str


class Answer(TypedDict):
    sources: list[Source]
    answer: str


def passages_of(found: dict[str, Any]) -> str:
    return format_passages(found["documents"])


def sources_of(found: dict[str, Any]) -> list[Source]:
    documents: list[Document] = found["documents"]
    return [
        Source(source=item.metadata["source"], title=item.metadata["title"]) for item in documents
    ]


def qa_chain(
    retriever: Runnable[str, list[Document]] | None = None,
) -> Runnable[Any, Any]:
    answer = (
        RunnablePassthrough.assign(passages=passages_of)
        | PROMPT
        | RuleBasedChatModel()
        | StrOutputParser()
    )
    chain = (
        RunnableParallel(
            question=RunnablePassthrough(), documents=retriever or handbook_retriever()
        )
        .assign(sources=sources_of, answer=answer)
        .pick(["sources", "answer"])
    )
    return chain.with_types(input_type=str, output_type=Answer)
