"""
Inline parsers: the stock ones without a thread per token, and no other difference.
"""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.output_parsers import JsonOutputParser, StrOutputParser
from langchain_core.prompts import PromptTemplate
from langchain_core.runnables import Runnable, RunnableLambda, RunnableParallel

from runnables.adapt import adapted
from runnables.parsers import INLINE, InlineJsonOutputParser, InlineStrOutputParser
from runnables.snapshot import find
from tests.conftest import Site
from tests.fakes import Words, chunks

PROMPT = PromptTemplate.from_template("{x}")
GIVEN = {"x": "y"}
JSON_TEXT = '{"a": [1, 2], "b": {"c": "d e"}} '


class Shouting(StrOutputParser):
    def parse(self, text: str) -> str:
        return text.upper()


def chain(parser: Runnable[Any, Any], reply: str) -> Runnable[Any, Any]:
    return PROMPT | Words(reply=reply) | parser


CASES = {
    "text": chain(StrOutputParser(), "one two three"),
    "json": chain(JsonOutputParser(), JSON_TEXT),
    "json as patches": chain(JsonOutputParser(diff=True), JSON_TEXT),
    "alone": StrOutputParser(),
    "in the middle": chain(StrOutputParser(), "a b") | RunnableLambda(str.upper),
    "bound": chain(StrOutputParser().with_config(tags=["t"]), "a b"),
    "bound chain": chain(StrOutputParser(), "a b").with_config(run_name="chain"),
    "with types": chain(StrOutputParser(), "a b").with_types(output_type=str),
    "parallel": RunnableParallel(
        text=chain(StrOutputParser(), "a b"), json=chain(JsonOutputParser(), JSON_TEXT)
    ),
    "nested": {"a": chain(StrOutputParser(), "a b")} | RunnableLambda(lambda x: x["a"]),
    "text chunks": chunks("a", "b") | StrOutputParser(),
}


def given(case: str) -> Any:
    return "text" if case == "alone" else GIVEN


def kinds(runnable: Any) -> set[type]:
    """
    The classes of all parsers in a runnable, however deep.
    """
    if isinstance(runnable, StrOutputParser | JsonOutputParser):
        return {type(runnable)}
    found: set[type] = set()
    for part in (
        *getattr(runnable, "steps", ()),
        *getattr(runnable, "steps__", {}).values(),
        getattr(runnable, "bound", None),
    ):
        if isinstance(part, Runnable):
            found |= kinds(part)
    return found


def without_ids(events: list[Any]) -> list[Any]:
    """
    The events, with ids numbered in the order in which they appear.
    """
    seen: dict[str, int] = {}

    def number(run_id: str) -> int:
        return seen.setdefault(run_id, len(seen))

    cleaned = []
    for event in events:
        data = {key: repr_without_ids(value) for key, value in event["data"].items()}
        ids = [number(run_id) for run_id in (*event["parent_ids"], event["run_id"])]
        cleaned.append((event["event"], event["name"], event["tags"], ids, data))
    return cleaned


def repr_without_ids(value: Any) -> str:
    if hasattr(value, "model_copy"):
        return repr(value.model_copy(update={"id": None}))
    return repr(value)


@pytest.mark.parametrize("case", CASES)
async def test_chunks_are_the_same(case: str) -> None:
    stock = CASES[case]
    inline = adapted(stock)
    expected = [repr_without_ids(chunk) async for chunk in stock.astream(given(case))]
    found = [repr_without_ids(chunk) async for chunk in inline.astream(given(case))]
    # The branches of a parallel come in no certain order.
    assert sorted(found) == sorted(expected) if case == "parallel" else found == expected


@pytest.mark.parametrize("case", CASES)
async def test_output_is_the_same_by_every_way_of_calling(case: str) -> None:
    stock = CASES[case]
    inline = adapted(stock)
    expected = await stock.ainvoke(given(case))
    assert await inline.ainvoke(given(case)) == expected
    assert await inline.abatch([given(case)]) == [expected]


@pytest.mark.parametrize("case", [case for case in CASES if case != "parallel"])
async def test_events_are_the_same(case: str) -> None:
    stock = CASES[case]
    inline = adapted(stock)
    expected = [event async for event in stock.astream_events(given(case), version="v2")]
    found = [event async for event in inline.astream_events(given(case), version="v2")]
    assert without_ids(found) == without_ids(expected)


@pytest.mark.parametrize("case", CASES)
def test_schemas_and_names_are_the_same(case: str) -> None:
    stock = CASES[case]
    inline = adapted(stock)
    assert inline.get_input_jsonschema() == stock.get_input_jsonschema()
    assert inline.get_output_jsonschema() == stock.get_output_jsonschema()
    assert inline.get_name() == stock.get_name()


@pytest.mark.parametrize("case", CASES)
def test_every_stock_parser_is_replaced_and_the_original_is_left_alone(case: str) -> None:
    stock = CASES[case]
    before = kinds(stock)
    inline = adapted(stock)
    assert kinds(inline) == {INLINE[kind] for kind in before}
    assert kinds(stock) == before <= set(INLINE)


def test_parser_keeps_its_fields() -> None:
    parser = adapted(JsonOutputParser(diff=True, name="mine"))
    assert isinstance(parser, InlineJsonOutputParser)
    assert (parser.diff, parser.name) == (True, "mine")


def test_subclass_is_not_replaced() -> None:
    stock = chain(Shouting(), "a b")
    assert adapted(stock) is stock
    assert stock.invoke(GIVEN) == "A B"


@pytest.mark.parametrize("runnable", [PROMPT | Words(), Words(), RunnableLambda(str), Shouting()])
def test_what_holds_no_stock_parser_is_returned_as_it_is(runnable: Any) -> None:
    assert adapted(runnable) is runnable


@pytest.mark.parametrize("reply", ["not json", '{"a": ', ""])
async def test_failures_are_the_same(reply: str) -> None:
    async def outcome(runnable: Runnable[Any, Any]) -> str:
        try:
            return repr(await runnable.ainvoke(GIVEN))
        except Exception as error:  # noqa: BLE001 - whatever it is, it is compared
            return repr(error)

    stock = chain(JsonOutputParser(), reply)
    assert await outcome(adapted(stock)) == await outcome(stock)


def test_nothing_is_replaced_where_that_is_switched_off() -> None:
    for stock in CASES.values():
        assert adapted(stock, inline_parsers=False) is stock


@pytest.mark.parametrize(
    ("setting", "kind"), [(True, InlineStrOutputParser), (False, StrOutputParser)]
)
def test_setting_decides(site: Site, settings: Any, setting: bool, kind: type) -> None:
    settings.LANGSERVE = {"INLINE_PARSERS": setting}
    site.serve("it", chain(StrOutputParser(), "a b"))
    assert site.invoke("/it", GIVEN) == "a b"
    served = find("it").served
    assert served is not None
    assert kinds(served.runnable) == {kind}
