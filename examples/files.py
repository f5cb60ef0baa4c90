"""
A file sent as base64 inside the JSON, as the playground's file widget does, and a short report about it.
"""

import base64
import csv
import hashlib
import io
from collections.abc import Iterator
from itertools import islice
from typing import Any, Literal, NotRequired

from langchain_core.runnables import Runnable, RunnableLambda
from pydantic import Field, field_validator
from typing_extensions import TypedDict  # pydantic wants this one before Python 3.12

from runnables import CustomUserType

DELIMITERS = ",;\t|"
SAMPLE_ROWS = 20


class FileRequest(CustomUserType):
    """
    A base64 encoded file, and how much of a text to show.
    """

    file: str = Field(json_schema_extra={"extra": {"widget": {"type": "base64file"}}})
    num_chars: int = Field(default=100, ge=0, le=10_000)

    @field_validator("file")
    @classmethod
    def must_be_base64(cls, value: str) -> str:
        decoded(value)  # here, so that the caller hears of it as bad input and not as our failure
        return value


class FileReport(TypedDict):
    kind: Literal["text", "csv", "binary"]
    size: int
    beginning: NotRequired[str]
    words: NotRequired[int]
    header: NotRequired[list[str]]
    rows: NotRequired[int]
    sha256: NotRequired[str]


def decoded(file: str) -> bytes:
    # A data: URL is what a browser's FileReader gives, line breaks are what the base64 command gives.
    text = "".join(file.partition(",")[2].split() if file.startswith("data:") else file.split())
    try:
        return base64.b64decode(text, validate=True)
    except ValueError as error:  # binascii.Error is one, and so is text beyond ASCII
        raise ValueError("the file is not valid base64") from error


def report_on(request: FileRequest) -> FileReport:
    data = decoded(request.file)
    text = text_of(data)
    if text is None:
        return FileReport(kind="binary", size=len(data), sha256=hashlib.sha256(data).hexdigest())
    table = table_in(text)
    if table is not None:
        header, rows = table
        return FileReport(kind="csv", size=len(data), header=header, rows=rows)
    return FileReport(
        kind="text",
        size=len(data),
        beginning=text[: request.num_chars],
        words=len(text.split()),
    )


def text_of(data: bytes) -> str | None:
    if b"\0" in data:
        return None
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return None


def table_in(text: str) -> tuple[list[str], int] | None:
    """
    The header and the number of rows below it; None when the text is no table.
    """
    try:
        # Not csv.Sniffer: its regular expressions take quadratic time on bad input.
        found = (
            mark
            for mark in DELIMITERS
            if looks_like_table(list(islice(rows_of(text, mark), SAMPLE_ROWS)))
        )
        delimiter = next(found, None)
        if delimiter is None:
            return None
        rows = rows_of(text, delimiter)
        return next(rows), sum(1 for _ in rows)
    except csv.Error:
        return None


def looks_like_table(sample: list[list[str]]) -> bool:
    widths = {len(row) for row in sample}
    if len(sample) < 2 or len(widths) != 1 or widths == {1}:
        return False
    # Prose puts a space after its commas, and seldom has the same word twice as a heading.
    header = sample[0]
    return all(cell and not cell[0].isspace() for cell in header) and len(set(header)) == len(
        header
    )


def rows_of(text: str, delimiter: str) -> Iterator[list[str]]:
    return (row for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter) if row)


def file_chain() -> Runnable[Any, Any]:
    return RunnableLambda(report_on)
