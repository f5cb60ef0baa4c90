"""
The endpoints of one deployment as Python calls: values in, answers out. LangChain's side
of a call, its callbacks and config, is in `runnables.client`.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Generator, Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

import httpx
import orjson

from runnables import config_hash
from runnables.client_answers import Answer, StreamReader, read_answer, read_batch, read_schema
from runnables.client_decoding import InputEncoder
from runnables.client_errors import IncompleteStream, refusal
from runnables.client_http import JSON, SSE, Call, Http

_CONFIG_IN_PATH = re.compile(r"/c/[^/]*$")

Config = dict[str, Any]


class Wire:
    """
    Configs given to these methods are plain JSON already.
    """

    def __init__(self, url: str, http: Http, encoder: InputEncoder) -> None:
        self.http = http
        self.last_run_ids: tuple[UUID, ...] = ()
        self._encoder = encoder
        self._base, mark, query = url.partition("?")
        self._query = mark + query

    def invoke(self, value: Any, config: Config) -> Answer:
        call = self._call("invoke", {"input": value}, config)
        return self._noted(read_answer(self.http.ask(call)))

    async def ainvoke(self, value: Any, config: Config) -> Answer:
        call = self._call("invoke", {"input": value}, config)
        return self._noted(read_answer(await self.http.aask(call)))

    def batch(self, values: list[Any], configs: list[Config], *, partial: bool) -> Answer:
        call = self._batch_call(values, configs, partial)
        return self._noted(read_batch(self.http.ask(call), len(values)))

    async def abatch(self, values: list[Any], configs: list[Config], *, partial: bool) -> Answer:
        call = self._batch_call(values, configs, partial)
        return self._noted(read_batch(await self.http.aask(call), len(values)))

    def stream(self, endpoint: str, body: Mapping[str, Any], config: Config) -> Generator[Any]:
        """
        The values of a stream as they come. Closing the generator hangs up.
        """
        with self.http.streaming(self._call(endpoint, body, config, SSE)) as response:
            reader = StreamReader(response, self._note)
            try:
                for piece in response.iter_bytes():
                    yield from reader.values(piece)
                    if reader.ended:
                        return
            except httpx.RemoteProtocolError as error:
                raise IncompleteStream(response) from error
            raise IncompleteStream(response)

    async def astream(
        self, endpoint: str, body: Mapping[str, Any], config: Config, *, preset: str = ""
    ) -> AsyncGenerator[Any]:
        call = self._call(endpoint, body, config, SSE)
        if preset:
            mark = "&" if "?" in call.url else "?"
            call = replace(call, url=f"{call.url}{mark}{urlencode({'preset': preset})}")
        async with self.http.astreaming(call) as response:
            reader = StreamReader(response, self._note)
            try:
                async for piece in response.aiter_bytes():
                    for value in reader.values(piece):
                        yield value
                    if reader.ended:
                        return
            except httpx.RemoteProtocolError as error:
                raise IncompleteStream(response) from error
            raise IncompleteStream(response)

    def cancel(self, run_id: UUID | str) -> bool:
        return _was_there(self.http.send(self._cancel_call(run_id)))

    async def acancel(self, run_id: UUID | str) -> bool:
        return _was_there(await self.http.asend(self._cancel_call(run_id)))

    def schema(self, name: str, config: Config) -> dict[str, Any]:
        return read_schema(self.http.ask(self._schema_call(name, config)))

    async def aschema(self, name: str, config: Config) -> dict[str, Any]:
        return read_schema(await self.http.aask(self._schema_call(name, config)))

    def _call(
        self,
        endpoint: str,
        body: Mapping[str, Any],
        config: Config,
        headers: Mapping[str, str] = JSON,
    ) -> Call:
        content = self._encoder.dumps({**body, "config": config, "kwargs": {}})
        return Call("POST", self._url(endpoint), content, {**headers, **_chosen_run(config)})

    def _batch_call(self, values: list[Any], configs: list[Config], partial: bool) -> Call:
        body: dict[str, Any] = {"inputs": values, "config": configs, "kwargs": {}}
        if partial:
            body["return_exceptions"] = True
        # For a batch the header names the first run.
        headers = {**JSON, **_chosen_run(configs[0])}
        return Call("POST", self._url("batch"), self._encoder.dumps(body), headers)

    def _cancel_call(self, run_id: UUID | str) -> Call:
        # The only endpoint that does not exist under a config in the path.
        plain = _CONFIG_IN_PATH.sub("", self._base.rstrip("/"))
        return Call("POST", self._url(f"runs/{UUID(str(run_id))}/cancel", plain), headers=JSON)

    def _schema_call(self, name: str, config: Config) -> Call:
        base = self._base.rstrip("/")
        if configurable := config.get("configurable"):
            plain = orjson.loads(orjson.dumps({"configurable": configurable}))
            base = f"{_CONFIG_IN_PATH.sub('', base)}/c/{config_hash.encode(plain)}"
        return Call("GET", self._url(name, base))

    def _url(self, endpoint: str, base: str | None = None) -> str:
        return f"{(base or self._base).rstrip('/')}/{endpoint}{self._query}"

    def _noted(self, answer: Answer) -> Answer:
        self.last_run_ids = answer.run_ids
        return answer

    def _note(self, run_id: UUID) -> None:
        self.last_run_ids = (run_id,)


def _chosen_run(config: Config) -> dict[str, str]:
    """
    Our server takes the id of a run by header, whatever config it allows.
    """
    return {"X-Run-Id": str(config["run_id"])} if "run_id" in config else {}


def _was_there(response: httpx.Response) -> bool:
    if response.is_success:
        return True
    error = refusal(response)
    if error.code == "unknown_run":
        return False
    raise error
