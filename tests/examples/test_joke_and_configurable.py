import pytest
from langchain_core.messages import AIMessage

from examples.configurable import configurable_chain
from examples.joke import joke_chain


async def test_a_joke_is_a_message_about_its_topic():
    message = await joke_chain().ainvoke({"topic": "tax returns"})

    assert isinstance(message, AIMessage)
    assert "tax returns" in message.content


async def test_a_joke_streams():
    assert len([chunk async for chunk in joke_chain().astream({"topic": "cats"})]) > 10


@pytest.mark.parametrize(
    "topic",
    ["{braces}", "{0.__class__}", "", "  ", "what is 2 + 2?", "\u732b", "x" * 10_000],
)
async def test_an_odd_topic_gets_a_joke_all_the_same(topic):
    message = await joke_chain().ainvoke({"topic": topic})

    assert 0 < len(message.content) < 500


def configured(**values):
    return configurable_chain().invoke({"topic": "trains"}, {"configurable": values}).content


def test_without_configuration_it_tells_a_joke():
    assert configured() == joke_chain().invoke({"topic": "trains"}).content


def test_the_prompt_can_be_chosen():
    poem = configured(prompt="poem")

    assert poem.count("\n") == 3
    assert "trains" in poem


def test_the_tone_and_the_length_can_be_set():
    assert configured(tone="cheerful") == f"With pleasure! {configured()}"
    assert configured(tone="grumpy", max_tokens=3) == "If I must"


def test_the_fields_are_in_the_config_schema():
    schema = configurable_chain().config_schema(include=["configurable"]).model_json_schema()

    assert set(schema["$defs"]["Configurable"]["properties"]) == {
        "tone",
        "max_tokens",
        "prompt",
    }
