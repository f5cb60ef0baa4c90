"""
Only my documents: a search among what belongs to whoever is calling. The server writes `username` into the
config; no caller can send one, so nobody finds what is somebody else's.
"""

from langchain_core.documents import Document
from langchain_core.runnables import RunnableConfig, RunnableLambda

DOCUMENTS = [
    Document("The admin's password is changed every first Monday.", metadata={"owner": "demo"}),
    Document("Holidays: the second half of July.", metadata={"owner": "demo"}),
    Document("Holidays: not this year.", metadata={"owner": "alice"}),
    Document("Present for Alice: a book on knots.", metadata={"owner": "bob"}),
]


def search(query: str, config: RunnableConfig) -> list[Document]:
    """
    The caller's documents that hold the words of the query.
    """
    owner = config["configurable"]["username"]
    words = query.lower().split()
    return [
        document
        for document in DOCUMENTS
        if document.metadata["owner"] == owner
        and all(word in document.page_content.lower() for word in words)
    ]


def documents_search() -> RunnableLambda[str, list[Document]]:
    return RunnableLambda(search)
