// The WebSocket transport against a server that does as it is told.
import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import { afterEach, test } from "node:test";

import { WebSocket, WebSocketServer } from "ws";

import { RemoteError, RemoteRunnable, all, brokenOff, refusal, waitUntil } from "./support.mjs";

const cleanups = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

/** `answer(frame, reply, socket)` hears each command; `reply` fills in its id. */
async function serve(answer = () => {}) {
  const server = new WebSocketServer({ port: 0, host: "127.0.0.1" });
  await once(server, "listening");
  const seen = { frames: [], sockets: [], urls: [] };
  server.on("connection", (socket, request) => {
    seen.sockets.push(socket);
    seen.urls.push(request.url);
    socket.on("message", (text) => {
      const frame = JSON.parse(text);
      seen.frames.push(frame);
      answer(frame, (reply) => socket.send(JSON.stringify({ id: frame.id, ...reply })), socket);
    });
  });
  cleanups.push(() => {
    for (const socket of server.clients) socket.terminate();
    server.close();
  });
  return { ...seen, url: `http://127.0.0.1:${server.address().port}/joke` };
}

function connect(url, fields = {}) {
  const client = new RemoteRunnable({ url, transport: "websocket", WebSocket, ...fields });
  cleanups.push(() => client.close());
  return client;
}

const success = (result) => ({ type: "success", result });
const event = (seq, name, data) => ({ type: "event", seq, event: name, data });

/** Adds one; streams count down; what is called "never" does not end. */
function adder({ method, params }, reply) {
  if (params.input === "never") return;
  if (method === "invoke") reply(success({ output: params.input + 1, metadata: { run_id: "r" } }));
  if (method !== "stream") return;
  reply(success({ run_id: "r" }));
  reply(event(0, "metadata", { run_id: "r" }));
  for (let left = params.input; left > 0; left--) reply(event(params.input - left + 1, "data", left));
  reply(event(params.input + 1, "end"));
}

test("the socket opens with the first call and serves all of them", async () => {
  const { url, sockets, urls } = await serve(adder);
  const client = connect(`${url}/?version=3`);
  assert.equal(sockets.length, 0);
  assert.deepEqual(await Promise.all([1, 2, 3].map((x) => client.invoke(x))), [2, 3, 4]);
  assert.deepEqual(await all(await client.stream(3)), [3, 2, 1]);
  assert.deepEqual([sockets.length, urls], [1, ["/joke/ws?version=3"]]);
  assert.equal(client.lastRunId, "r");
});

test("a command holds what a body would", async () => {
  const { url, frames } = await serve(adder);
  await connect(`${url}/c/N4Ig`).invoke(1, { tags: ["a"], runId: "mine" });
  const params = { run_id: "mine", config_hash: "N4Ig", input: 1, config: { tags: ["a"] } };
  assert.deepEqual(frames, [{ id: "c1", method: "invoke", params }]);
});

test("each method is called by its name", async () => {
  const { url, frames } = await serve(({ method }, reply) => {
    reply(success(method === "batch" ? { output: [1] } : { run_id: "r" }));
    reply(event(0, "end"));
  });
  const client = connect(url);
  await client.batch([0], {}, { returnExceptions: true });
  await all(await client.stream(0));
  await all(client.streamLog(0, {}, { includeNames: ["a"] }));
  await all(client.streamEvents(0, {}, { preset: "final_answer" }));
  assert.deepEqual(await client.cancel("x"), { run_id: "r" });
  const names = frames.map(({ method }) => method);
  assert.deepEqual(names, ["batch", "stream", "stream_log", "stream_events", "cancel"]);
  assert.deepEqual(frames[0].params, { inputs: [0], config: {}, return_exceptions: true });
  assert.deepEqual(frames[2].params, { input: 0, config: {}, include_names: ["a"] });
  assert.deepEqual(frames[3].params, { input: 0, config: {}, preset: "final_answer" });
  assert.deepEqual(frames[4].params, { run_id: "x" });
});

test("runs are told apart by their ids", async () => {
  const replies = [];
  const { url } = await serve((_, reply) => replies.push(reply));
  const client = connect(url);
  const streams = ["a", "b"].map((name) => client.stream(name).then(all));
  await waitUntil(() => replies.length === 2);
  for (const reply of replies) reply(success({}));
  for (let seq = 0; seq < 3; seq++) replies.forEach((reply, i) => reply(event(seq, "data", `${i}${seq}`)));
  for (const reply of replies.reverse()) reply(event(3, "end"));
  assert.deepEqual(await Promise.all(streams), [["00", "01", "02"], ["10", "11", "12"]]);
});

test("a token goes first, and the rest when it is taken", async () => {
  let accept;
  const { url, frames } = await serve((frame, reply) => {
    if (frame.method === "authenticate") accept = () => reply(success({}));
    else adder(frame, reply);
  });
  const waiting = connect(url, { token: () => "t" }).invoke(1);
  await waitUntil(() => accept);
  assert.deepEqual([frames.length, frames[0].params], [1, { token: "t" }]);
  accept();
  assert.equal(await waiting, 2);
});

test("a token that is refused refuses every call", async () => {
  const error = { status_code: 401, code: "not_authenticated", message: "no" };
  const { url, sockets } = await serve((_, reply) => reply({ type: "error", error }));
  const client = connect(url, { token: "t" });
  const errors = await Promise.all([refusal(client.invoke(1)), refusal(client.stream(1))]);
  assert.deepEqual(errors.map(({ status, code }) => [status, code]), Array(2).fill([401, "not_authenticated"]));
  await once(sockets[0], "close");
});

test("an error of a command is that of its call", async () => {
  const error = { status_code: 422, code: "validation_error", message: "no", detail: [], run_id: "r" };
  const { url } = await serve((_, reply) => reply({ type: "error", error }));
  const client = connect(url);
  for (const promise of [client.invoke(1), client.stream(1), all(client.streamLog(1)), client.cancel("r")]) {
    const { status, code, detail, runId } = await refusal(promise);
    assert.deepEqual([status, code, detail, runId], [422, "validation_error", [], "r"]);
  }
});

test("an abort cancels on the server", async () => {
  const { url, frames } = await serve();
  const abort = new AbortController();
  const [client, config] = [connect(url), { signal: abort.signal }];
  const waiting = [refusal(client.invoke(1, config)), refusal(client.stream(1, config))];
  await waitUntil(() => frames.length === 2);
  abort.abort();
  for (const error of await Promise.all(waiting)) assert.equal(error.name, "AbortError");
  await waitUntil(() => frames.length === 4);
  const cancels = frames.slice(2).map(({ method, params }) => [method, params.id]);
  assert.deepEqual(cancels, [["cancel", "c1"], ["cancel", "c2"]]);
});

test("an abort before the socket is open sends nothing", async () => {
  const { url, frames } = await serve(adder);
  const abort = new AbortController();
  const [client, config] = [connect(url), { signal: abort.signal }];
  const waiting = [refusal(client.invoke(1, config)), refusal(all(client.streamLog(1, config)))];
  abort.abort();
  for (const error of await Promise.all(waiting)) assert.equal(error.name, "AbortError");
  assert.equal(await client.invoke(1), 2);
  assert.deepEqual(frames.map(({ method }) => method), ["invoke"]);
});

test("what has ended is not cancelled", async () => {
  const { url, frames } = await serve(adder);
  const client = connect(url);
  await client.invoke(1);
  await all(await client.stream(1));
  await (await client.stream(2)).cancel();
  await client.invoke(1);
  assert.deepEqual(frames.filter(({ method }) => method === "cancel"), []);
});

test("leaving a stream cancels it", async () => {
  const { url, frames } = await serve(({ method }, reply) => {
    reply(success({}));
    if (method === "stream") reply(event(0, "data", 1));
  });
  for await (const _ of await connect(url).stream(1)) break;
  await waitUntil(() => frames.length === 2);
  assert.deepEqual(frames[1], { id: "cancel-c1", method: "cancel", params: { id: "c1" } });
});

test("a socket that is lost ends its runs, and the next call opens another", async () => {
  const { url, sockets } = await serve(({ params }, reply, socket) => {
    if (params.input !== "lose") return adder({ method: "invoke", params }, reply);
    socket.close(1013, "restarting");
  });
  const client = connect(url);
  const waiting = [refusal(client.invoke("never")), refusal(client.stream("never"))];
  waiting.push(refusal(client.invoke("lose")));
  for (const error of await Promise.all(waiting)) {
    assert.deepEqual([error.code, error.message], ["connection_lost", "The socket was closed: 1013, restarting."]);
  }
  assert.equal(sockets.length, 1);
  assert.equal(await client.invoke(1), 2);
  assert.equal(sockets.length, 2);
});

test("a stream that is lost midway is no whole stream", async () => {
  const { url } = await serve((_, reply, socket) => {
    reply(success({ run_id: "r" }));
    reply(event(0, "data", 1));
    setTimeout(() => socket.terminate(), 50);
  });
  const { items, error } = await brokenOff(await connect(url).stream(1));
  assert.deepEqual([items, error.code], [[1], "connection_lost"]);
});

test("what came whole before the socket was lost can be read", async () => {
  const { url, sockets } = await serve((frame, reply, socket) => {
    adder(frame, reply);
    socket.close();
  });
  const stream = await connect(url).stream(2);
  await once(sockets[0], "close");
  assert.deepEqual(await all(stream), [2, 1]);
});

test("close ends the runs and the socket", async () => {
  const { url, sockets, frames } = await serve(adder);
  const client = connect(url);
  const waiting = refusal(client.invoke("never"));
  await waitUntil(() => frames.length === 1);
  client.close();
  assert.equal((await waiting).code, "connection_lost");
  await once(sockets[0], "close");
  assert.equal(await client.invoke(1), 2);
});

test("close right after a call leaves nobody waiting", async () => {
  const { url } = await serve(adder);
  const client = connect(url);
  for (let round = 0; round < 3; round++) {
    const waiting = [refusal(client.invoke(1)), refusal(client.stream(1))];
    client.close();
    for (const error of await Promise.all(waiting)) assert.equal(error.code, "connection_lost");
    assert.equal(await client.invoke(1), 2);
  }
});

test("a frame that is not JSON ends the socket", async () => {
  const { url, sockets } = await serve((_, _reply, socket) => socket.send("{"));
  assert.equal((await refusal(connect(url).invoke(1))).code, "invalid_reply");
  await once(sockets[0], "close");
});

test("frames of nobody are passed over", async () => {
  const { url } = await serve((frame, reply) => {
    reply({ id: "somebody", ...success({}) });
    reply({ id: null, type: "error" });
    adder(frame, reply);
  });
  assert.equal(await connect(url).invoke(1), 2);
});

test("a handshake that is refused is told", async () => {
  const server = createServer((_, response) => response.writeHead(404).end());
  server.on("upgrade", (_, socket) => socket.end("HTTP/1.1 404 Not Found\r\n\r\n"));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  cleanups.push(() => server.close());
  const error = await refusal(connect(`http://127.0.0.1:${server.address().port}/joke`).invoke(1));
  assert.ok(error instanceof RemoteError);
  assert.equal(error.code, "connection_lost");
  assert.match(error.message, /404/);
});

test("a platform without WebSocket is told what to do", async () => {
  const there = globalThis.WebSocket;
  globalThis.WebSocket = undefined;
  try {
    const error = await refusal(connect("http://127.0.0.1:9/joke", { WebSocket: undefined }).invoke(1));
    assert.match(error.message, /has no WebSocket/);
  } finally {
    globalThis.WebSocket = there;
  }
});
