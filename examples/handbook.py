"""
Search in this project's documentation, ranked by BM25. The index is made on the first question.
"""

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from pydantic import PrivateAttr

from examples.words import FENCED, keywords

if TYPE_CHECKING:
    from rank_bm25 import BM25Okapi

HERE = Path(__file__).resolve().parent
MOST_WORDS = 50  # each word of a question is looked up in every section
HEADING = re.compile(r"^#{1,6}[ \t]+(?P<title>.+?)[ \t#]*$", re.MULTILINE)


class HandbookRetriever(BaseRetriever):
    """
    The `k` sections that fit a question best; none when no section shares a word with it.
    """

    root: Path
    paths: tuple[Path, ...]
    k: int = 4
    _index: "Index | None" = PrivateAttr(default=None)
    _building: Lock = PrivateAttr(default_factory=Lock)

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun
    ) -> list[Document]:
        # There is no async twin on purpose: the base class then moves this reading and counting off the loop.
        with self._building:
            if self._index is None:
                self._index = Index(list(self._sections()))
        return self._index.search(query, self.k)

    def _sections(self) -> Iterator[Document]:
        for path in self.paths:
            yield from sections(
                path.read_text(encoding="utf-8"),
                source=path.relative_to(self.root).as_posix(),
            )


class Index:
    def __init__(self, documents: list[Document]) -> None:
        self.documents = documents
        self.words = [
            keywords(f"{document.metadata['title']} {document.page_content}")
            for document in documents
        ]
        self.ranking = ranking(self.words) if documents else None

    def search(self, query: str, k: int) -> list[Document]:
        asked = list(dict.fromkeys(keywords(query)))[:MOST_WORDS]
        if self.ranking is None or not asked:
            return []
        scores = self.ranking.get_scores(asked)
        # A score may be nought or less for a word that most sections hold, so matching is told by the words.
        matching = [
            place for place, words in enumerate(self.words) if not set(asked).isdisjoint(words)
        ]
        matching.sort(key=lambda place: -scores[place])
        return [self.documents[place] for place in matching[:k]]


def ranking(words: list[list[str]]) -> "BM25Okapi":
    from rank_bm25 import BM25Okapi  # noqa: PLC0415 - brings numpy, 100 ms at start-up

    return BM25Okapi(words)


def sections(markdown: str, source: str) -> Iterator[Document]:
    """
    The text under each heading; a `#` inside a code block is no heading.
    """
    code = [match.span() for match in FENCED.finditer(markdown)]
    headings = [
        match
        for match in HEADING.finditer(markdown)
        if not any(start <= match.start() < end for start, end in code)
    ]
    ends = [match.start() for match in headings[1:]] + [len(markdown)]
    for heading, end in zip(headings, ends, strict=True):
        text = markdown[heading.end() : end].strip()
        if text:
            yield Document(
                page_content=text,
                metadata={"source": source, "title": heading["title"]},
            )


@cache
def handbook_retriever() -> HandbookRetriever:
    """
    One index for every example that searches.
    """
    root = HERE.parent
    return HandbookRetriever(root=root, paths=documentation(root) or (HERE / "handbook.md",))


def documentation(root: Path) -> tuple[Path, ...]:
    # Only in a checkout: beside an installed package lie other projects' files.
    if not (root / "pyproject.toml").is_file():
        return ()
    named = (
        root / "README.md",
        root / "CHANGELOG.md",
        *sorted((root / "docs").glob("*.md")),
    )
    return tuple(path for path in named if path.is_file())
