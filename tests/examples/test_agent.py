import pytest
from langchain_core.messages import AIMessage, ToolMessage

from examples.agent import agent_graph
from examples.tool_rules import arithmetic_in


@pytest.fixture(scope="module")
def agent():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EXAMPLES_TOKEN_DELAY", "0")
        return agent_graph()


async def ask(agent, question, history=()):
    result = await agent.ainvoke({"messages": [*history, {"role": "user", "content": question}]})
    return result["messages"]


async def test_it_calculates_with_its_tool_and_tells_the_result(agent):
    _, call, result, answer = await ask(agent, "What is (3 + 4) times 12?")

    assert call.tool_calls[0]["name"] == "calculator"
    assert isinstance(result, ToolMessage)
    assert answer.content == "(3 + 4) * 12 = 84"


def test_it_can_be_called_without_a_loop(agent):
    messages = agent.invoke({"messages": [("user", "6 * 7")]})["messages"]

    assert messages[-1].content == "6 * 7 = 42"


async def test_it_asks_two_tools_at_once(agent):
    messages = await ask(agent, "What is 15% of 80, and what time is it in Tokyo?")

    assert sum(isinstance(message, ToolMessage) for message in messages) == 2
    assert "15 / 100 * 80 = 12\n\nIn Asia/Tokyo it is" in messages[-1].content


@pytest.mark.parametrize(
    "question",
    [
        "calculate __import__('os').system('id')",
        "compute 9**9**9",
        "What is 1/0?",
        "evaluate ()",
    ],
)
async def test_a_hostile_or_impossible_calculation_is_refused_in_words(agent, question):
    *_, result, answer = await ask(agent, question)

    assert result.status == "error"
    assert answer.content.startswith("I can't calculate that.")


async def test_an_unknown_place_has_no_time(agent):
    assert (await ask(agent, "What time is it in Atlantis?"))[
        -1
    ].content == "I know no time zone for Atlantis."


async def test_other_questions_go_to_the_handbook(agent):
    _, call, _, answer = await ask(agent, "How do I register a runnable?")

    assert call.tool_calls[0]["name"] == "search_handbook"
    assert "Sources: " in answer.content


async def test_it_admits_what_the_handbook_does_not_say(agent):
    assert "says nothing" in (await ask(agent, "What is a qwertzuiop?"))[-1].content


async def test_it_answers_without_a_tool_where_none_is_needed(agent):
    _, answer = await ask(agent, "Hello there")

    assert isinstance(answer, AIMessage)
    assert not answer.tool_calls


async def test_it_answers_the_last_question_of_a_conversation(agent):
    history = await ask(agent, "What is 6 * 7?")

    assert (await ask(agent, "and 6 * 8", history))[-1].content == "6 * 8 = 48"


async def test_its_tokens_are_streamed(agent):
    question = {"messages": [("user", "How do I register a runnable?")]}
    pieces = [
        message.content async for message, _ in agent.astream(question, stream_mode="messages")
    ]

    assert len(pieces) > 20


@pytest.mark.parametrize(
    ("question", "expression"),
    [
        ("What is 2+2?", "2+2"),
        ("12 divided by 4", "12 / 4"),
        ("1,000 * 3", "1000 * 3"),
        ("2^10", "2**10"),
        ("Meet me on 2026-11-21 at 10.", None),
        ("Which of the 3 endpoints streams?", None),
        ("a - b", None),
        ("Please calculate 5.", "5"),
    ],
)
def test_arithmetic_is_found_in_a_question(question, expression):
    assert arithmetic_in(question) == expression
