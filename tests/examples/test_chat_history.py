from examples.chat_history import MAX_MESSAGES, chat_history_chain
from examples.rules import NOTHING_YET
from runnables.history import DjangoChatMessageHistory
from tests.conftest import Site, events

REMEMBER = "What did I ask so far?"


def served(site: Site) -> Site:
    site.serve("chat_history", chat_history_chain())
    return site


def ask(site: Site, question: str, session_id: str = "a", **options: object) -> str:
    config = {"configurable": {"session_id": session_id}}
    body = {"input": {"question": question}, "config": config}
    response = site.post("/chat_history/invoke", body, **options)
    assert response.status_code == 200, response.text
    return str(response.json()["output"]["content"])


def test_it_remembers_what_was_asked_in_this_conversation_alone(site: Site) -> None:
    served(site)
    ask(site, "Tell me a joke about cats")
    ask(site, "hello")

    assert ask(site, REMEMBER) == "You said:\n1. Tell me a joke about cats\n2. hello"
    assert ask(site, REMEMBER, "b") == NOTHING_YET


def test_it_remembers_for_each_caller(site: Site) -> None:
    served(site)
    alice, bob = (site.token(site.user(name)) for name in ("alice", "bob"))
    ask(site, "My name is Alice", headers=alice)

    assert "Alice" in ask(site, REMEMBER, headers=alice)
    assert ask(site, REMEMBER, headers=bob) == NOTHING_YET


def test_it_streams_and_remembers_the_whole_answer(site: Site) -> None:
    config = {"configurable": {"session_id": "a"}}
    body = {"input": {"question": "Tell me a joke about cats"}, "config": config}
    response = served(site).post("/chat_history/stream", body)
    words = [data["content"] for name, data in events(response) if name == "data"]

    question, answer = DjangoChatMessageHistory("anonymous", "chat_history", "a").messages
    assert len(words) > 10
    assert question.content == "Tell me a joke about cats"
    assert (answer.type, answer.content) == ("ai", "".join(words))


def test_it_reads_no_more_than_its_bound(site: Site) -> None:
    served(site)
    for number in range(MAX_MESSAGES // 2 + 1):
        ask(site, f"joke about number {number}")

    answer = ask(site, REMEMBER)
    assert f"number {MAX_MESSAGES // 2}" in answer
    assert "number 0" not in answer


def test_without_a_session_id_it_says_what_is_missing(site: Site) -> None:
    response = served(site).post("/chat_history/invoke", {"input": {"question": "hello"}})

    assert response.status_code == 422
    assert "configurable.session_id" in response.json()["message"]


def test_its_schemas_tell_a_question_in_and_a_message_out(site: Site) -> None:
    served(site)
    given = site.get("/chat_history/input_schema").json()
    output = site.get("/chat_history/output_schema").json()

    question = given["$defs"]["Question"]["properties"]
    assert question == {"question": {"title": "Question", "type": "string"}}
    assert output["title"] == "AIMessage"
    assert "session_id" in site.get("/chat_history/config_schema").text
