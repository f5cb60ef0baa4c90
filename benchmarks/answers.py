"""
A speed is worth something only if both servers say the same: a sample of answers, compared before measuring.
"""

import asyncio
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from benchmarks.load import BadAnswer, ask_once, request_bytes
from benchmarks.servers import Server

NUMBERS = list(range(16))
TOPIC = {"topic": "cats"}


class DifferentAnswers(Exception):
    """
    Two servers answered the same question differently.
    """


def check_answers(runner: asyncio.Runner, reference: Server, others: list[Server]) -> None:
    expected = runner.run(sample_answers(reference.port))
    for server in others:
        compare(server.name, expected, runner.run(sample_answers(server.port)))


def compare(name: str, expected: Mapping[str, object], found: Mapping[str, object]) -> None:
    for question, answer in expected.items():
        if found[question] != answer:
            raise DifferentAnswers(
                f"{question}: {name} says {str(found[question])[:600]}\nthe peer says {str(answer)[:600]}"
            )


async def sample_answers(port: int) -> dict[str, object]:
    return {
        "trivial/invoke": await output(port, "/trivial/invoke", {"input": 1}),
        "trivial_sync/invoke": await output(port, "/trivial_sync/invoke", {"input": 1}),
        "trivial/batch": await output(port, "/trivial/batch", {"inputs": NUMBERS}),
        "chain/invoke": await output(port, "/chain/invoke", {"input": TOPIC}),
        "chain/stream": await chunks(port, "/chain/stream", TOPIC),
        "words/stream": await chunks(port, "/words/stream", "go"),
        "chain/stream_events": await kinds_of_events(port, "/chain/stream_events"),
        "chain/stream_log": await logged_chunks(port, "/chain/stream_log"),
    }


async def output(port: int, path: str, payload: object) -> object:
    return json.loads(await body_of(port, path, payload))["output"]


async def chunks(port: int, path: str, question: object) -> list[Any]:
    return await data_of(port, path, question)


async def kinds_of_events(port: int, path: str) -> Counter[str]:
    """
    How often each kind was seen. Not in which order: a parser's thread may shift its events.
    """
    return Counter(event["event"] for event in await data_of(port, path, TOPIC))


async def logged_chunks(port: int, path: str) -> tuple[int, list[Any]]:
    patches = await data_of(port, path, TOPIC)
    operations = [operation for patch in patches for operation in patch["ops"]]
    streamed = [item["value"] for item in operations if item["path"] == "/streamed_output/-"]
    return len(patches), streamed


async def data_of(port: int, path: str, question: object) -> list[Any]:
    events = list(parse_events(await body_of(port, path, {"input": question})))
    if not events or events[-1][0] != "end":
        raise BadAnswer(f"{path} ended with {events[-1:]}")
    return [json.loads(data) for name, data in events if name == "data"]


def parse_events(body: bytes) -> Iterator[tuple[str, str]]:
    for block in body.decode().replace("\r\n", "\n").split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line)
        if "event" in fields:
            yield fields["event"], fields.get("data", "")


async def body_of(port: int, path: str, payload: object) -> bytes:
    status, body = await ask_once(port, request_bytes(port, path, payload))
    if status != 200:
        raise BadAnswer(f"{path}: {status} {body[:400].decode(errors='replace')}")
    return body
