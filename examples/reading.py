"""
Passages as they are written into a prompt, and an answer made of their sentences.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from langchain_core.documents import Document

from examples.words import keywords, sentences

PASSAGE = re.compile(r"^\[\d+\] (?P<name>.+)$", re.MULTILINE)
NOT_FOUND = "The handbook says nothing about that."
MOST_SENTENCES = 3


@dataclass(frozen=True)
class Candidate:
    """
    A sentence that may become part of an answer.
    """

    place: int
    source: str
    text: str
    words: frozenset[str]


def source_name(document: Document) -> str:
    return f"{document.metadata['source']}, {document.metadata['title']}"


def format_passages(documents: Iterable[Document]) -> str:
    return "\n\n".join(
        f"[{number}] {source_name(document)}\n{document.page_content}"
        for number, document in enumerate(documents, start=1)
    )


def answer_from_passages(passages: str, question: str) -> str:
    """
    The sentences of the passages that share most with the question, and where they stand.
    """
    best = best_sentences(candidates(passages), frozenset(keywords(question)))
    if not best:
        return NOT_FOUND
    text = " ".join(candidate.text for candidate in best)
    sources = "; ".join(dict.fromkeys(candidate.source for candidate in best))
    return f"{text}\n\nSources: {sources}"


def candidates(passages: str) -> list[Candidate]:
    # re.split with a group gives: text before, name, text, name, text ...
    _, *parts = PASSAGE.split(passages)
    found = [
        (name, sentence)
        for name, text in zip(parts[::2], parts[1::2], strict=True)
        for sentence in sentences(text)
    ]
    return [
        Candidate(place, name, sentence, frozenset(keywords(sentence) + keywords(name)))
        for place, (name, sentence) in enumerate(found)
    ]


def best_sentences(found: Sequence[Candidate], asked: frozenset[str]) -> list[Candidate]:
    """
    At most three candidates in their order in the text; a rare word counts for more than a common one.
    """
    seen = Counter(word for candidate in found for word in candidate.words & asked)

    def score(candidate: Candidate) -> float:
        return sum(1 / seen[word] for word in candidate.words & asked)

    scored = sorted(found, key=lambda candidate: (-score(candidate), candidate.place))
    if not scored or not score(scored[0]):
        return []
    enough = score(scored[0]) / 2
    best = [candidate for candidate in scored[:MOST_SENTENCES] if score(candidate) >= enough]
    return sorted(best, key=lambda candidate: candidate.place)
