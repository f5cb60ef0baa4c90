import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.messages import AIMessageChunk, HumanMessage

from examples.chat_model import RuleBasedChatModel
from examples.words import tokens

QUESTION = "tell me a joke about cats"


def whole(chunks: list[AIMessageChunk]) -> AIMessageChunk:
    return sum(chunks[1:], start=chunks[0])


@pytest.fixture
def model():
    return RuleBasedChatModel()


def calculating(model):
    description = {
        "type": "function",
        "function": {"name": "calculator", "parameters": {"type": "object"}},
    }
    return model.bind_tools([description])


async def test_a_stream_comes_in_many_chunks_and_adds_up_to_the_whole_answer(model):
    chunks = [chunk async for chunk in model.astream(QUESTION)]

    assert len(chunks) > 10
    assert whole(chunks).content == (await model.ainvoke(QUESTION)).content


def test_sync_and_async_give_the_same_stream(model):
    async def collect():
        return [chunk.content async for chunk in model.astream(QUESTION)]

    assert [chunk.content for chunk in model.stream(QUESTION)] == asyncio.run(collect())


def test_the_same_question_always_gets_the_same_answer(model):
    assert model.invoke(QUESTION).content == RuleBasedChatModel().invoke(QUESTION).content


async def test_usage_stands_on_the_last_chunk_alone(model):
    *others, last = [chunk async for chunk in model.astream(QUESTION)]

    assert all(chunk.usage_metadata is None for chunk in others)
    assert last.usage_metadata["output_tokens"] == len(others)
    assert last.chunk_position == "last"


async def test_invoke_and_stream_report_the_same_usage(model):
    chunks = [chunk async for chunk in model.astream(QUESTION)]
    message = await model.ainvoke(QUESTION)

    assert message.usage_metadata == whole(chunks).usage_metadata
    assert message.response_metadata["finish_reason"] == "stop"


async def test_all_chunks_of_a_message_share_an_id_and_two_messages_do_not(model):
    ids = {chunk.id async for chunk in model.astream(QUESTION)}

    assert len(ids) == 1
    assert ids.isdisjoint({(await model.ainvoke(QUESTION)).id})


async def test_stop_ends_the_text_before_the_stop_word(model):
    stopped = await model.ainvoke(QUESTION, stop=["keyboard", "mouse", ""])
    chunks = [chunk async for chunk in model.astream(QUESTION, stop=["keyboard"])]

    assert stopped.content == "Why did the cat sit on the "
    assert whole(chunks).content == stopped.content


def test_max_tokens_cuts_the_answer_and_says_so(model):
    message = RuleBasedChatModel(max_tokens=3).invoke(QUESTION)

    assert message.content == "Why did the"
    assert message.response_metadata["finish_reason"] == "length"


async def test_a_tool_call_is_streamed_in_pieces(model):
    chunks = [chunk async for chunk in calculating(model).astream("What is 6 * 7?")]
    pieces = [piece for chunk in chunks for piece in chunk.tool_call_chunks]

    assert pieces[0]["name"] == "calculator"
    assert len(pieces) > 3
    assert whole(chunks).tool_calls[0]["args"] == {"expression": "6 * 7"}
    assert whole(chunks).response_metadata["finish_reason"] == "tool_calls"


def test_invoke_makes_the_same_tool_call_as_a_stream(model):
    asked = calculating(model)

    assert (
        asked.invoke("What is 6 * 7?").tool_calls
        == whole(list(asked.stream("What is 6 * 7?"))).tool_calls
    )


def test_a_repeated_question_gets_a_new_tool_call_id(model):
    asked = calculating(model)
    first = asked.invoke("What is 6 * 7?")
    again = asked.invoke([HumanMessage("What is 6 * 7?"), first, HumanMessage("What is 6 * 7?")])

    assert again.tool_calls[0]["id"] != first.tool_calls[0]["id"]


def test_tool_choice_none_is_honoured(model):
    description = {
        "type": "function",
        "function": {"name": "calculator", "parameters": {"type": "object"}},
    }

    assert (
        not model.bind_tools([description], tool_choice="none").invoke("What is 6 * 7?").tool_calls
    )


async def test_events_show_the_tokens_of_a_model_inside_a_chain(model):
    events = [event async for event in (model | str).astream_events(QUESTION)]

    assert sum(event["event"] == "on_chat_model_stream" for event in events) > 10


async def test_a_stream_may_be_left_early(model):
    stream = model.astream(QUESTION)
    await anext(stream)
    await stream.aclose()


def test_the_delay_can_be_set_in_the_environment(monkeypatch):
    monkeypatch.setenv("EXAMPLES_TOKEN_DELAY", "0.5")

    assert RuleBasedChatModel().token_delay == 0.5


@pytest.mark.parametrize(
    "content", ["", "hello", "\ud83d\ude00 ?", "what", "joke about ", "calculate "]
)
def test_anything_gets_some_answer(model, content):
    message = calculating(model).invoke([HumanMessage(content)])

    assert message.content or message.tool_calls


def test_a_question_made_of_content_blocks_is_read(model):
    message = model.invoke([HumanMessage([{"type": "text", "text": QUESTION}])])

    assert "keyboard" in message.content


@settings(deadline=None)  # a busy machine is no failure
@given(st.text())
def test_tokens_put_together_are_the_text_again(text):
    assert "".join(tokens(text)) == text
