import pytest

from examples.handbook import HERE, HandbookRetriever
from examples.qa import qa_chain
from examples.reading import NOT_FOUND


@pytest.fixture
def chain():
    return qa_chain(HandbookRetriever(root=HERE, paths=(HERE / "handbook.md",)))


async def test_it_answers_with_sentences_of_the_handbook_and_names_where_they_stand(
    chain,
):
    found = await chain.ainvoke("Which variables switch on Redis?")

    assert "switched on by the environment variables" in found["answer"]
    assert "Sources: handbook.md, Databases" in found["answer"]
    assert {"source": "handbook.md", "title": "Databases"} in found["sources"]


async def test_it_admits_what_the_handbook_does_not_say(chain):
    assert await chain.ainvoke("zebras?") == {"sources": [], "answer": NOT_FOUND}


async def test_the_answer_is_streamed(chain):
    chunks = [chunk async for chunk in chain.astream("How do I register a runnable?")]
    answers = [chunk["answer"] for chunk in chunks if "answer" in chunk]

    assert len(answers) > 20
    assert "".join(answers) == chain.invoke("How do I register a runnable?")["answer"]


def test_its_schemas_tell_text_in_and_an_answer_with_sources_out(chain):
    assert chain.get_input_jsonschema()["type"] == "string"
    assert "Answer" in chain.get_output_jsonschema()["$defs"]
