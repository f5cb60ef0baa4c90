// What is sent, and what is made of what comes back; no server is asked.
import assert from "node:assert/strict";
import { afterEach, test } from "node:test";

import { RemoteError, RemoteRunnable, all, bodyOf, brokenOff, fakeFetch, refusal } from "./support.mjs";

const SITE = "https://example.org";

function client(fields = {}, answer = undefined) {
  const { fetch, requests } = fakeFetch(answer);
  return { remote: new RemoteRunnable({ url: `${SITE}/joke`, fetch, ...fields }), requests };
}

async function sent(fields, act = (remote) => remote.invoke(1)) {
  const { remote, requests } = client(fields);
  await act(remote);
  return requests[0];
}

function events(...chunks) {
  return () => new Response(bodyOf(chunks), { headers: { "Content-Type": "text/event-stream; charset=utf-8" } });
}

const page = { location: undefined, document: undefined };

function visit(url, cookie) {
  Object.assign(globalThis, { location: new URL(url), document: { baseURI: url, cookie } });
}

afterEach(() => Object.assign(globalThis, page));

// --- where to

test("endpoints are below the url, whatever its end", async () => {
  for (const url of [`${SITE}/a/joke`, `${SITE}/a/joke/`, `${SITE}/a/joke//`]) {
    assert.equal((await sent({ url })).url, `${SITE}/a/joke/invoke`);
  }
  assert.equal((await sent({ url: SITE })).url, `${SITE}/invoke`);
});

test("a query in the url stays", async () => {
  assert.equal((await sent({ url: `${SITE}/joke?version=3#x` })).url, `${SITE}/joke/invoke?version=3`);
});

test("a config hash belongs to calls, not to cancel", async () => {
  const url = `${SITE}/joke/c/N4Ig+$-`;
  assert.equal((await sent({ url })).url, `${SITE}/joke/c/N4Ig+$-/invoke`);
  assert.equal((await sent({ url }, (remote) => remote.cancel("a/b"))).url, `${SITE}/joke/runs/a%2Fb/cancel`);
});

test("a relative url is one of the page", async () => {
  visit(`${SITE}/pre/fix/page`, "");
  assert.equal((await sent({ url: "../joke" })).url, `${SITE}/pre/joke/invoke`);
  assert.equal((await sent({ url: "/joke" })).url, `${SITE}/joke/invoke`);
});

test("a relative url without a page is refused at once", () => {
  assert.throws(() => new RemoteRunnable({ url: "/joke" }), TypeError);
});

// --- headers

test("headers of options win over those of fetchRequestOptions", async () => {
  const fetchRequestOptions = { headers: { "X-A": "1", "x-b": "1" }, keepalive: true };
  const { headers, keepalive } = await sent({ fetchRequestOptions, options: { headers: [["X-B", "2"]] } });
  assert.deepEqual([headers["x-a"], headers["x-b"], keepalive], ["1", "2", true]);
  assert.equal(headers["content-type"], "application/json");
});

test("a token is a bearer, and may be new each time", async () => {
  assert.equal((await sent({ token: "t" })).headers.authorization, "Bearer t");
  let count = 0;
  const { remote, requests } = client({ token: async () => `t${(count += 1)}` });
  await remote.invoke(1);
  await remote.invoke(1);
  assert.deepEqual(requests.map(({ headers }) => headers.authorization), ["Bearer t1", "Bearer t2"]);
});

test("a run id is a header", async () => {
  const { headers, body } = await sent({}, (remote) => remote.invoke(1, { runId: "r" }));
  assert.equal(headers["x-run-id"], "r");
  assert.deepEqual(body, { input: 1, config: {} });
});

test("the page's own origin gets the token of its cookie", async () => {
  visit(`${SITE}/page`, "a=1; csrftoken=abc; csrftoken2=x");
  const { headers, credentials } = await sent({ url: "/joke" });
  assert.deepEqual([headers["x-csrftoken"], credentials], ["abc", "same-origin"]);
});

test("another origin does not", async () => {
  visit("https://elsewhere.org/page", "csrftoken=abc");
  assert.equal((await sent({})).headers["x-csrftoken"], undefined);
});

test("another origin does if its cookies are asked for", async () => {
  visit("https://elsewhere.org/page", "csrftoken=abc");
  const { headers, credentials } = await sent({ fetchRequestOptions: { credentials: "include" } });
  assert.deepEqual([headers["x-csrftoken"], credentials], ["abc", "include"]);
});

test("the cookie may have another name", async () => {
  visit(SITE, "csrftoken=abc; other=def");
  assert.equal((await sent({ csrfCookie: "other" })).headers["x-csrftoken"], "def");
});

test("a program's cookie header will do, and its own token wins", async () => {
  const Cookie = "sessionid=s; csrftoken=abc";
  assert.equal((await sent({ options: { headers: { Cookie } } })).headers["x-csrftoken"], "abc");
  const headers = { Cookie, "X-CSRFToken": "mine" };
  assert.equal((await sent({ options: { headers } })).headers["x-csrftoken"], "mine");
});

// --- config

test("config is spelled as Python spells it", async () => {
  const config = { runName: "n", maxConcurrency: 2, recursionLimit: 3, tags: ["t"], metadata: { runName: 1 } };
  const { body } = await sent({}, (remote) => remote.invoke(1, config));
  const wire = { run_name: "n", max_concurrency: 2, recursion_limit: 3, tags: ["t"], metadata: { runName: 1 } };
  assert.deepEqual(body.config, wire);
});

test("what is LangChain.js's own stays here", async () => {
  const circular = {};
  circular.self = circular;
  const { signal } = new AbortController();
  const config = { callbacks: circular, store: circular, version: "v2", signal, timeout: 1000 };
  const configurable = { a: 1, __pregel_send: circular, checkpoint_ns: "x" };
  const { body } = await sent({}, (remote) => remote.invoke(1, { ...config, configurable }));
  assert.deepEqual(body.config, { configurable: { a: 1 } });
});

test("a batch sends one config or one for each", async () => {
  const answer = () => Response.json({ output: [1, 2] });
  const { remote, requests } = client({}, answer);
  await remote.batch([1, 2], { tags: ["a"] });
  await remote.batch([1, 2], [{ tags: ["a"] }, {}], { maxConcurrency: 1, returnExceptions: true });
  assert.deepEqual(requests[0].body, { inputs: [1, 2], config: { tags: ["a"] } });
  const config = [{ tags: ["a"], max_concurrency: 1 }, { max_concurrency: 1 }];
  assert.deepEqual(requests[1].body, { inputs: [1, 2], config, return_exceptions: true });
});

test("an empty batch asks nobody", async () => {
  const { remote, requests } = client();
  assert.deepEqual(await remote.batch([]), []);
  assert.equal(requests.length, 0);
});

test("filters are sent, and a preset in the query", async () => {
  const { remote, requests } = client({ url: `${SITE}/joke?a=1` }, events("event: end\n\n"));
  const filters = { includeNames: ["a"], excludeTags: [], preset: "final_answer" };
  await all(remote.streamEvents(1, { version: "v2" }, filters));
  assert.equal(requests[0].url, `${SITE}/joke/stream_events?a=1&preset=final_answer`);
  assert.deepEqual(requests[0].body, { input: 1, config: {}, include_names: ["a"], exclude_tags: [] });
});

// --- messages

/** As LangChain.js makes them: the wire's fields, and much of its own. */
class FakeMessage {
  lc_serializable = true;
  lc_namespace = ["langchain_core", "messages"];
  constructor(kind, fields) {
    this.lc_kwargs = fields;
    Object.assign(this, fields);
    Object.defineProperty(this, "kind", { value: kind });
  }
  _getType() {
    return this.kind;
  }
  toDict() {
    return { type: this.kind, data: this.lc_kwargs };
  }
  toJSON() {
    const name = { ai: "AIMessage", tool: "ToolMessage", human: "HumanMessageChunk", generic: "ChatMessage" }[this.kind];
    return { lc: 1, type: "constructor", id: ["langchain_core", "messages", name], kwargs: this.lc_kwargs };
  }
}

class NewerMessage extends FakeMessage {
  _getType = undefined;
  getType() {
    return this.kind;
  }
}

const CALL = { name: "f", args: { a: 1 }, id: "c", type: "tool_call" };
const KINDS = [
  ["ai", { content: "x", id: "i", name: "n", tool_calls: [CALL], usage_metadata: { input_tokens: 1 } }],
  ["tool", { content: "42", tool_call_id: "c", status: "error", artifact: { z: [1] } }],
  ["human", { content: [{ type: "text", text: "x" }], additional_kwargs: { k: 1 } }],
  ["generic", { content: "x", role: "bob" }],
];

test("messages of LangChain.js keep everything", async () => {
  for (const [kind, fields] of KINDS) {
    const wire = { ...fields, type: kind === "generic" ? "chat" : kind };
    const message = new FakeMessage(kind, fields);
    const spellings = [message, new NewerMessage(kind, fields), message.toDict(), message.toJSON()];
    const { body } = await sent({}, (remote) => remote.invoke({ messages: spellings }));
    assert.deepEqual(body.input.messages, [wire, wire, wire, wire]);
  }
});

test("prompt values are sent as such", async () => {
  const prompt = { toChatMessages: () => [new FakeMessage("human", { content: "x" })], toJSON: () => "no" };
  const { body } = await sent({}, (remote) => remote.invoke(prompt));
  assert.deepEqual(body.input, { type: "ChatPromptValueConcrete", messages: [{ content: "x", type: "human" }] });
});

test("plain JSON is sent as it is", async () => {
  const input = {
    messages: [["human", "x"], { role: "user", content: "x" }, { type: "ai", content: "", tool_calls: [CALL] }],
    documents: [{ pageContent: "p", metadata: {} }],
    tool: { type: "tool", data: 1 },
    response: { type: "x", data: { content: 1 }, more: 1 },
    at: new Date(0),
    none: null,
    text: "\u2028🦜",
  };
  const { body } = await sent({}, (remote) => remote.invoke(input));
  assert.deepEqual(body.input, JSON.parse(JSON.stringify(input)));
});

test("what JSON cannot hold is the caller's error", async () => {
  const { remote, requests } = client();
  for (const call of [remote.invoke(1n), remote.batch([1n]), remote.stream(1n)]) {
    assert.equal((await refusal(call)).name, "TypeError");
  }
  assert.equal(requests.length, 0);
});

// --- answers

test("an error is told in the server's words", async () => {
  const body = { detail: [{ loc: ["a"] }], message: "a: no", code: "validation_error", run_id: "r", retry_after: 1.5 };
  const { remote } = client({}, () => Response.json(body, { status: 422 }));
  const error = await refusal(remote.invoke(1));
  assert.ok(error instanceof RemoteError);
  assert.ok(error instanceof Error);
  const { name, status, message, code, runId, detail, retryAfter } = error;
  assert.deepEqual([name, status, message], ["RemoteError", 422, "a: no"]);
  assert.deepEqual([code, runId, detail, retryAfter], ["validation_error", "r", body.detail, 1.5]);
  assert.equal(remote.lastRunId, "r");
});

test("errors of other servers are told as well as can be", async () => {
  const answers = [
    [Response.json({ detail: "Not Found" }, { status: 404 }), "Not Found", "Not Found"],
    [Response.json({ detail: [{ loc: [] }] }, { status: 422 }), "The server answered 422.", [{ loc: [] }]],
    [new Response("<h1>Bad Gateway", { status: 502, statusText: "Bad Gateway" }), "502 Bad Gateway", "<h1>Bad Gateway"],
    [new Response(null, { status: 503, statusText: "Busy", headers: { "Retry-After": "7" } }), "503 Busy", ""],
    [Response.json(null, { status: 500 }), "The server answered 500.", undefined],
  ];
  for (const [response, message, detail] of answers) {
    for (const act of [(remote) => remote.invoke(1), (remote) => remote.stream(1)]) {
      const error = await refusal(act(client({}, () => response.clone()).remote));
      assert.equal(error.message, message);
      if (detail) assert.deepEqual(error.detail, detail);
      assert.equal(error.status, response.status);
      assert.equal(error.retryAfter, response.status === 503 ? 7 : undefined);
    }
  }
});

test("an answer of something else is no answer", async () => {
  const html = () => new Response("<h1>Sign in", { headers: { "Content-Type": "text/html" } });
  for (const act of [(remote) => remote.invoke(1), (remote) => remote.stream(1), (remote) => remote.inputSchema()]) {
    const { code, status, detail } = await refusal(act(client({}, html).remote));
    assert.deepEqual({ code, status, detail }, { code: "invalid_reply", status: 200, detail: "<h1>Sign in" });
  }
  assert.equal((await refusal(client({}, () => Response.json({})).remote.invoke(1))).code, "invalid_reply");
});

test("a server that cannot be reached is a lost connection", async () => {
  const cause = new TypeError("fetch failed");
  for (const act of [(remote) => remote.invoke(1), (remote) => remote.stream(1), (remote) => remote.cancel("r")]) {
    const error = await refusal(act(client({}, () => Promise.reject(cause)).remote));
    assert.deepEqual([error.code, error.status, error.cause], ["connection_lost", 0, cause]);
  }
});

test("an answer that breaks off is a lost connection", async () => {
  const half = () => new Response(bodyOf(['{"out'], { broken: true }));
  assert.equal((await refusal(client({}, half).remote.invoke(1))).code, "connection_lost");
});

test("a stream without its end is a lost connection", async () => {
  const data = "event: metadata\ndata: {\"run_id\": \"r\"}\n\nevent: data\ndata: 1\n\n";
  const headers = { "Content-Type": "text/event-stream" };
  for (const broken of [true, false]) {
    const { remote } = client({}, () => new Response(bodyOf([data, "event: data\nda"], { broken }), { headers }));
    const { items, error } = await brokenOff(await remote.stream(1));
    assert.deepEqual([items, error.code, remote.lastRunId], [[1], "connection_lost", "r"]);
  }
});

test("null, false, 0 and texts are chunks", async () => {
  const chunks = [null, false, 0, "", "a"];
  const wire = chunks.map((chunk) => `event: data\ndata: ${JSON.stringify(chunk)}\n\n`);
  const { remote } = client({}, events(...wire, "event: what\ndata: 1\n\n", "event: end\n\n"));
  assert.deepEqual(await all(await remote.stream(1)), chunks);
});

test("nothing is read ahead of the reader", async () => {
  let pulled = 0;
  const body = new ReadableStream(
    {
      pull(controller) {
        pulled += 1;
        controller.enqueue(new TextEncoder().encode("event: data\ndata: 1\n\n"));
      },
    },
    { highWaterMark: 0 },
  );
  const headers = { "Content-Type": "text/event-stream" };
  const reader = (await client({}, () => new Response(body, { headers })).remote.stream(1)).getReader();
  assert.equal(pulled, 0);
  await reader.read();
  await reader.read();
  assert.equal(pulled, 2);
});

test("a stream can be piped and teed like any", async () => {
  const { remote } = client({}, events("event: data\ndata: 1\n\nevent: end\n\n"));
  const [one, two] = (await remote.stream(1)).tee();
  assert.deepEqual([await all(one), await all(two)], [[1], [1]]);
});

test("a stream is iterable where the platform has none that are", async () => {
  const { remote } = client({}, events("event: data\ndata: 1\n\nevent: end\n\n"));
  const stream = await remote.stream(1);
  assert.ok(Object.hasOwn(Object.getPrototypeOf(stream), Symbol.asyncIterator));
  assert.deepEqual(await all(stream), [1]);
});

// --- ends

test("an abort wins over a fetch that does not hear it", async () => {
  const never = { fetch: () => new Promise(() => {}) };
  const reason = new Error("enough");
  const abort = new AbortController();
  const { remote } = client(never);
  const waiting = [remote.invoke(1, { signal: abort.signal }), remote.stream(1, { signal: abort.signal })];
  waiting.push(all(remote.streamEvents(1, { signal: abort.signal })));
  abort.abort(reason);
  for (const promise of waiting) assert.equal(await refusal(promise), reason);
  assert.equal(await refusal(remote.invoke(1, { signal: abort.signal })), reason);
});

test("any signal of a batch aborts it", async () => {
  const abort = new AbortController();
  const { remote } = client({ fetch: () => new Promise(() => {}) });
  const waiting = remote.batch([1, 2], [{}, { signal: abort.signal }]);
  abort.abort();
  assert.equal((await refusal(waiting)).name, "AbortError");
});

test("a timeout is that of the call, else of the client, else none", async () => {
  const never = () => new Promise(() => {});
  const short = client({ fetch: never, options: { timeout: 20 } }).remote;
  assert.equal((await refusal(short.invoke(1))).name, "TimeoutError");
  assert.equal((await refusal(client({ fetch: never }).remote.invoke(1, { timeout: 20 }))).name, "TimeoutError");
  const slow = () => new Promise((resolve) => setTimeout(() => resolve(Response.json({ output: 1 })), 60));
  assert.equal(await client({ fetch: slow, options: { timeout: 20 } }).remote.invoke(1, { timeout: Infinity }), 1);
});

test("a call that has ended holds on to no signal", async () => {
  const { signal } = new AbortController();
  let listeners = 0;
  const counted = {
    get aborted() {
      return signal.aborted;
    },
    addEventListener: () => (listeners += 1),
    removeEventListener: () => (listeners -= 1),
  };
  const { remote } = client();
  await remote.invoke(1, { signal: counted });
  await refusal(remote.invoke(1n, { signal: counted }));
  const streaming = client({}, events("event: end\n\n")).remote;
  await all(await streaming.stream(1, { signal: counted }));
  await (await streaming.stream(1, { signal: counted })).cancel();
  await refusal(remote.stream(1, { signal: counted }));
  assert.equal(listeners, 0);
});
