import base64
import hashlib

import pytest
from pydantic import ValidationError

from examples.files import FileRequest, file_chain


async def report(data: bytes, **options):
    return await file_chain().ainvoke(FileRequest(file=base64.b64encode(data).decode(), **options))


async def test_a_text_gives_its_beginning_and_its_words():
    assert await report("Grüße aus Köln, bis bald".encode(), num_chars=5) == {
        "kind": "text",
        "size": 27,
        "beginning": "Grüße",
        "words": 5,
    }


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
async def test_a_table_gives_its_header_and_its_rows(delimiter):
    text = 'name,age\r\n"Ann",3\r\nBob,4\r\n\r\n'.replace(",", delimiter)

    found = await report(b"\xef\xbb\xbf" + text.encode())

    assert (found["kind"], found["header"], found["rows"]) == (
        "csv",
        ["name", "age"],
        2,
    )


async def test_a_line_break_inside_a_cell_makes_no_row():
    assert (await report(b'name,note\nAnn,"two\nlines"\n'))["rows"] == 1


@pytest.mark.parametrize("data", [b"\x89PNG\r\n\x1a\n\x00", b"\xff\xfe\xfa", b"a\x00b"])
async def test_anything_else_gives_its_size_and_digest(data):
    assert await report(data) == {
        "kind": "binary",
        "size": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
    }


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"one line, with a comma",
        b"Hello, world.\nGood, bye.\n",
        b"a,b\n1\n",
        b'a,b\n"' + b"x" * 200_000,
    ],
)
async def test_prose_and_broken_tables_are_text(data):
    assert (await report(data))["kind"] == "text"


async def test_a_table_that_breaks_off_late_is_still_reported():
    assert (await report(b"a,b\n" + b"1,2\n" * 30 + b"odd\n"))["rows"] == 31


async def test_a_table_with_an_endless_cell_is_text():
    data = b"a,b\n" + b"1,2\n" * 30 + b'"' + b"x" * 200_000

    assert (await report(data))["kind"] == "text"


@pytest.mark.parametrize("file", ["aGVsbG8=", "aGVs\nbG8=\n", "data:text/plain;base64,aGVsbG8="])
def test_the_usual_spellings_of_base64_are_accepted(file):
    assert file_chain().invoke(FileRequest(file=file))["beginning"] == "hello"


@pytest.mark.parametrize("file", ["not base64!", "abc", "\u732b"])
def test_what_is_not_base64_is_bad_input(file):
    with pytest.raises(ValidationError, match="base64"):
        FileRequest(file=file)


def test_its_schema_asks_the_playground_for_a_file_widget():
    schema = file_chain().get_input_jsonschema()

    assert schema["properties"]["file"]["extra"] == {"widget": {"type": "base64file"}}
    assert schema["properties"]["num_chars"]["default"] == 100
