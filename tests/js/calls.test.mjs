// Against the live site, over both transports.
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { test } from "node:test";

import { CATS, RemoteError, TOLD, all, both, newLedger, refusal, remote } from "./support.mjs";

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
const SECRET = /swordfish/;
const token = process.env.LANGSERVE_TOKEN;

// --- values

both("invoke gives the output", async (remote) => {
  assert.equal(await remote("joke").invoke(CATS), TOLD);
  assert.equal(await remote("add_one/").invoke(1), 2);
  assert.equal(await remote("made/by/factory").invoke(1), 2);
});

both("outputs that are nothing, or look like it, are outputs", async (remote) => {
  for (const value of [null, false, 0, "", [], {}]) {
    assert.deepEqual(await remote("passthrough").invoke(value), value);
  }
});

both("batch gives the outputs in order", async (remote) => {
  assert.deepEqual(await remote("add_one").batch([3, 2, 1]), [4, 3, 2]);
  assert.deepEqual(await remote("add_one").batch([3, 2, 1], {}, { maxConcurrency: 1 }), [4, 3, 2]);
});

both("batch takes a config for each input", async (remote) => {
  const configs = ["dog", "cat"].map((animal) => ({ configurable: { animal } }));
  const values = await remote("animal").batch([{ verb: "eats" }, { verb: "eats" }], configs);
  assert.deepEqual(values.map(({ text }) => text), ["The dog eats", "The cat eats"]);
});

both("batch gives errors beside outputs if asked", async (remote) => {
  const [one, error, five] = await remote("fails_on_zero").batch([10, 0, 2], {}, { returnExceptions: true });
  assert.deepEqual([one, five], [1, 5]);
  assert.ok(error instanceof RemoteError);
  assert.deepEqual([error.status, error.code], [500, "run_failed"]);
  assert.match(error.runId, UUID);
});

both("a failing run fails its batch", async (remote) => {
  assert.equal((await refusal(remote("fails_on_zero").batch([10, 0]))).status, 500);
});

both("config reaches the runnable", async (remote) => {
  const hello = await remote("greeting").invoke({ name: "Ann" }, { configurable: { template: "Bye {name}" } });
  assert.equal(hello.text, "Bye Ann");
  const runId = randomUUID();
  const config = { tags: ["a"], metadata: { who: "ann" }, runId, runName: "mine", recursionLimit: 3 };
  const seen = await remote("open_config").invoke(1, config);
  assert.deepEqual(seen, { x: 1, tags: ["a"], metadata: { who: "ann" }, run_id: runId });
});

both("a config hash in the url is used", async (remote) => {
  // {"tags": ["t"], "configurable": {"template": "X {name} {y}"}}
  const hash =
    "N4IgLghg5gziBcACA2uEBdANIkBjA9gHYBmAllAK4BOEARgDYCmCioYjAtgA70TssgAGq0IQOjAL6sAnhJASJQA";
  const value = await remote(`greeting/c/${hash}`).invoke({ name: "Ann", y: "Y" });
  assert.equal(value.text, "X Ann Y");
});

both("a session remembers", async (remote) => {
  const history = remote("history");
  const config = { configurable: { session_id: randomUUID() } };
  assert.equal((await history.invoke({ question: "one" }, config)).content, "1: one");
  assert.equal((await history.invoke({ question: "two" }, config)).content, "3: two");
});

both("headers of the client reach the server", async (remote) => {
  const client = remote("tenant", { options: { headers: { "X-Tenant": "a" } }, transport: "http" });
  assert.equal((await client.invoke(1)).metadata.tenant, "a");
});

test("schemas are those of the server", async () => {
  const client = remote("greeting");
  assert.deepEqual((await client.inputSchema()).required, ["name"]);
  assert.ok((await client.outputSchema()).anyOf);
  assert.ok(JSON.stringify(await client.configSchema()).includes("template"));
});

// --- messages

both("tool calls, ids and metadata of messages are kept", async (remote) => {
  const { messages } = await remote("agent").invoke({ messages: [["human", "6 times 7"]] });
  const [human, ai, tool, last] = messages;
  assert.deepEqual([human.type, human.content], ["human", "6 times 7"]);
  assert.deepEqual(ai.tool_calls, [{ name: "multiply", args: { a: 6, b: 7 }, id: "call-1", type: "tool_call" }]);
  assert.deepEqual([tool.type, tool.tool_call_id, tool.name, tool.content], ["tool", "call-1", "multiply", "42"]);
  assert.equal(last.content, "It is 42.");
  for (const message of messages) assert.ok(message.id, JSON.stringify(message));
});

both("a conversation can be sent back as it came", async (remote) => {
  const agent = remote("agent");
  const first = await agent.invoke({ messages: [{ role: "user", content: "6 times 7" }] });
  const next = { type: "human", content: "2 times 3", id: "mine" };
  const second = await agent.invoke({ messages: [...first.messages, next] });
  assert.deepEqual(second.messages.slice(0, 4), first.messages);
  assert.deepEqual([second.messages[4].id, second.messages.at(-1).content], ["mine", "It is 6."]);
});

both("usage of tokens is kept", async (remote) => {
  const { usage_metadata, id } = await remote("plain_model").invoke("hi");
  assert.equal(usage_metadata.total_tokens, 4);
  assert.ok(id);
});

both("message objects of LangChain.js are understood", async (remote) => {
  const call = { name: "f", args: {}, id: "c", type: "tool_call" };
  const object = (kind, fields) => ({ lc_namespace: [], lc_kwargs: fields, ...fields, getType: () => kind });
  const messages = [
    object("human", { content: "x" }),
    object("ai", { content: "", tool_calls: [call], id: "i" }),
    object("tool", { content: "42", tool_call_id: "c" }),
    object("generic", { content: "x", role: "bob" }),
  ];
  const names = ["HumanMessage", "AIMessage", "ToolMessage", "ChatMessage"];
  assert.deepEqual(await remote("any_messages").invoke(messages), names);
});

both("documents of both spellings are understood", async (remote) => {
  const documents = [{ pageContent: "a", metadata: {} }, { page_content: "b", metadata: {}, type: "Document" }];
  assert.deepEqual(await remote("texts").invoke(documents), ["a", "b"]);
  const found = await remote("retriever").invoke("purr");
  assert.deepEqual([found[0].page_content, found[0].metadata], ["cats purr", { page: 1 }]);
});

// --- run ids

both("the run is known by its id", async (remote) => {
  const client = remote("open_config");
  assert.equal((await client.invoke(1)).run_id, client.lastRunId);
  await client.batch([1, 2]);
  assert.match(client.lastRunId, UUID);
});

both("the caller may choose the id", async (remote) => {
  const client = remote("open_config");
  const runId = randomUUID();
  assert.equal((await client.invoke(1, { runId })).run_id, runId);
  assert.equal(client.lastRunId, runId);
});

both("a run id in use is refused", async (remote) => {
  const [client, ledger, runId] = [remote("slow"), newLedger(), randomUUID()];
  const stream = await client.stream(ledger.key, { runId });
  assert.equal((await refusal(client.invoke("x", { runId }))).code, "run_id_in_use");
  await stream.cancel();
});

// --- errors

both("an input that does not fit is told where", async (remote) => {
  const error = await refusal(remote("point").invoke({ y: 1 }));
  assert.deepEqual([error.status, error.code], [422, "validation_error"]);
  assert.deepEqual([error.detail[0].type, error.detail[0].loc], ["missing", ["x"]]);
  assert.equal((await refusal(remote("point").stream({ y: 1 }))).status, 422);
  assert.equal((await refusal(remote("point").batch([{ x: 1 }, {}]))).status, 422);
});

both("a failure is told without its secrets", async (remote) => {
  const client = remote("fails");
  const error = await refusal(client.invoke("x"));
  assert.deepEqual([error.status, error.code], [500, "run_failed"]);
  assert.match(error.runId, UUID);
  assert.equal(client.lastRunId, error.runId);
  assert.doesNotMatch(JSON.stringify(error) + error.message, SECRET);
});

both("a public error is shown", async (remote) => {
  const error = await refusal(remote("refuses").invoke("x"));
  assert.deepEqual([error.status, error.code, error.message], [429, "rate_limited", "Come back tomorrow"]);
});

test("what is not there is not found", async () => {
  assert.deepEqual((await refusal(remote("nowhere").invoke(1))).code, "unknown_deployment");
  const error = await refusal(remote("no_batch").batch([1]));
  assert.deepEqual([error.status, error.code], [404, "unknown_endpoint"]);
});

both("an endpoint that is switched off is not found", async (remote) => {
  assert.equal((await refusal(remote("no_batch").batch([1]))).code, "unknown_endpoint");
});

// --- who calls

test("without a token nothing private is open", async () => {
  for (const act of [(client) => client.invoke(CATS), (client) => client.stream(CATS), (client) => client.inputSchema()]) {
    const error = await refusal(act(remote("private")));
    assert.deepEqual([error.status, error.code], [401, "not_authenticated"]);
  }
});

both("a token opens what is private", async (remote) => {
  const client = remote("private", { token: async () => token });
  assert.equal(await client.invoke(CATS), TOLD);
  assert.equal((await all(await client.stream(CATS))).join(""), TOLD);
  assert.ok(await client.inputSchema());
});

test("a wrong token opens nothing", async () => {
  const error = await refusal(remote("joke", { token: "wrong" }).invoke(CATS));
  assert.deepEqual([error.status, error.code], [401, "not_authenticated"]);
});

both("a wrong token is refused on either transport", async (remote) => {
  await assert.rejects(remote("joke", { token: "wrong" }).invoke(CATS), RemoteError);
});

test("a session needs its CSRF token, which the client sends", async () => {
  const Cookie = process.env.LANGSERVE_COOKIES;
  const session = (fields) => remote("private", { options: { headers: { Cookie } }, ...fields });
  assert.equal(await session().invoke(CATS), TOLD);
  assert.equal((await all(await session().stream(CATS))).join(""), TOLD);
  const error = await refusal(session({ csrfCookie: "none" }).invoke(CATS));
  assert.deepEqual([error.status, error.code], [403, "csrf_failed"]);
});

// --- ends

both("an abort ends the run on the server", async (remote) => {
  const [ledger, abort] = [newLedger(), new AbortController()];
  const waiting = remote("slow_invoke").invoke(ledger.key, { signal: abort.signal });
  await Promise.all([ledger.waitFor("started").then(() => abort.abort()), refusal(waiting)]);
  assert.equal((await refusal(waiting)).name, "AbortError");
  await ledger.waitFor("cancelled");
});

both("a timeout ends the run on the server", async (remote) => {
  const ledger = newLedger();
  const error = await refusal(remote("slow_invoke", { options: { timeout: 1000 } }).invoke(ledger.key));
  assert.equal(error.name, "TimeoutError");
  await ledger.waitFor("cancelled");
});

both("an abort ends a whole batch", async (remote) => {
  const [one, two, abort] = [newLedger(), newLedger(), new AbortController()];
  const waiting = refusal(remote("slow_invoke").batch([one.key, two.key], { signal: abort.signal }));
  await Promise.all([one.waitFor("started"), two.waitFor("started")]);
  abort.abort();
  assert.equal((await waiting).name, "AbortError");
  await Promise.all([one.waitFor("cancelled"), two.waitFor("cancelled")]);
});

both("a run can be cancelled by its id", async (remote) => {
  const [client, ledger, runId] = [remote("slow_invoke"), newLedger(), randomUUID()];
  const waiting = refusal(client.invoke(ledger.key, { runId }));
  await ledger.waitFor("started");
  assert.equal((await client.cancel(runId)).status, "cancelled");
  const error = await waiting;
  assert.deepEqual([error.status, error.code, error.runId], [499, "cancelled", runId]);
  await ledger.waitFor("cancelled");
});

both("a run that is not going on cannot be cancelled", async (remote) => {
  assert.equal((await refusal(remote("joke").cancel(randomUUID()))).code, "unknown_run");
});
