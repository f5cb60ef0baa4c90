"""
Small text tools shared by the model and the search: tokens, keywords, sentences.
"""

import re

# Pieces of at most eight letters with the space before them, about as a real model cuts a text.
# Every character belongs to one piece, so the pieces put together are the text again.
TOKEN = re.compile(r"\s*(?:\w{1,8}|[^\w\s])|\s+")
WORD = re.compile(r"[^\W_]+(?:_[^\W_]+)*")
FENCED = re.compile(r"^(```|~~~).*?^\1[^\n]*$", re.MULTILINE | re.DOTALL)
SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z`\"(*])")
BLOCK_END = re.compile(r"\n\s*\n|\n(?=\s*(?:[-*+]|\d+\.)\s)")

STOP_WORDS = frozenset(
    word
    for line in (
        "a about all an and any are as at be been being but by can could did do does for from had",
        "has have how i if in into is it its me my not of on one or our please shall should so some",
        "tell than that the their them then there these they this to use used using was way we were",
        "what when where which who why will with would you your",
    )
    for word in line.split()
)


def tokens(text: str) -> list[str]:
    return TOKEN.findall(text)


def keywords(text: str) -> list[str]:
    """
    The words that carry meaning, lower case and roughly stemmed: "Deployments" finds "deployed".
    """
    words = (word.lower() for word in WORD.findall(text))
    return [stem(word) for word in words if word not in STOP_WORDS]


def stem(word: str) -> str:
    for ending in (
        "ments",
        "ment",
        "ings",
        "ing",
        "ers",
        "er",
        "ied",
        "ies",
        "ed",
        "es",
        "s",
        "e",
    ):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word.removesuffix(ending)
    return word


def sentences(markdown: str) -> list[str]:
    """
    The sentences of a text, without its code blocks and tables, which make poor answers.
    """
    prose = FENCED.sub("\n\n", markdown)
    lines = (line for line in prose.splitlines() if not line.lstrip().startswith("|"))
    blocks = BLOCK_END.split("\n".join(lines))
    joined = (" ".join(block.split()) for block in blocks)
    return [
        sentence.lstrip("-*+ ")
        for block in joined
        for sentence in SENTENCE_END.split(block)
        if WORD.search(sentence)
    ]
