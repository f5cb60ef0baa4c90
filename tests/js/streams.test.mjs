// Streams from the live site, over both transports.
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { test } from "node:test";

import { CATS, RemoteError, TOLD, all, both, brokenOff, newLedger, refusal, remote } from "./support.mjs";

const SPECIAL = ["next\u0085line", "line\u2028separator", "paragraph\u2029separator", "two\r\nlines", "über 🦜"];

// --- whole

both("a stream gives its chunks", async (remote) => {
  const chunks = await all(await remote("joke").stream(CATS));
  assert.ok(chunks.length > 3);
  assert.equal(chunks.join(""), TOLD);
});

both("chunks of messages keep everything", async (remote) => {
  const chunks = await all(await remote("model").stream("hi"));
  assert.deepEqual(new Set(chunks.map(({ type }) => type)), new Set(["AIMessageChunk"]));
  assert.equal(new Set(chunks.map(({ id }) => id)).size, 1);
  assert.ok(chunks[0].id && chunks[0].tool_call_chunks);
});

both("special characters arrive whole", async (remote) => {
  assert.deepEqual(await all(await remote("special").stream("x")), SPECIAL);
  assert.equal(await remote("passthrough").invoke(SPECIAL.join("")), SPECIAL.join(""));
});

both("an empty stream ends", async (remote) => {
  assert.deepEqual(await all(await remote("nothing").stream("x")), []);
});

both("parts of objects come as they were yielded", async (remote) => {
  assert.deepEqual(await all(await remote("halves").stream("abcd")), [{ first: "ab" }, { second: "cd" }]);
});

both("a stream is known by its run's id", async (remote) => {
  const [client, runId] = [remote("joke"), randomUUID()];
  const stream = await client.stream(CATS, { runId });
  assert.deepEqual([stream.runId, client.lastRunId], [runId, runId]);
  await all(stream);
  assert.notEqual((await client.stream(CATS)).runId, undefined);
});

both("events come as LangChain names them", async (remote) => {
  const events = await all(remote("joke").streamEvents(CATS, { version: "v2" }));
  const names = new Set(events.map(({ event }) => event));
  for (const name of ["on_chain_start", "on_chat_model_stream", "on_parser_stream", "on_chain_end"]) {
    assert.ok(names.has(name), name);
  }
  assert.ok(events.every((event) => Array.isArray(event.parent_ids) && event.run_id));
  assert.equal(events.at(-1).data.output, TOLD);
});

both("events can be chosen", async (remote) => {
  const events = await all(remote("joke").streamEvents(CATS, {}, { includeTypes: ["chat_model"] }));
  assert.ok(events.length && events.every(({ event }) => event.startsWith("on_chat_model_")));
  assert.equal((await refusal(all(remote("joke").streamEvents(CATS, {}, { includeTypes: [[]] })))).status, 422);
});

both("of all events the final answer can be chosen", async (remote) => {
  const events = await all(remote("joke").streamEvents(CATS, {}, { preset: "final_answer" }));
  const end = events.pop();
  assert.deepEqual([end.event, end.data.output], ["on_chain_end", TOLD]);
  assert.deepEqual(new Set(events.map(({ event }) => event)), new Set(["on_chat_model_stream"]));
  assert.equal(events.map(({ data }) => data.chunk.content).join(""), TOLD);
});

both("a log is made of patches", async (remote) => {
  const patches = await all(remote("joke").streamLog(CATS));
  const [first, ...rest] = patches.flatMap(({ ops }) => ops);
  assert.deepEqual([first.op, first.path, first.value.logs], ["replace", "", {}]);
  const added = rest.filter(({ path }) => path === "/streamed_output/-").map(({ value }) => value);
  assert.equal(added.join(""), TOLD);
});

both("twenty streams run at once", async (remote) => {
  const client = remote("joke");
  const topics = Array.from({ length: 20 }, (_, i) => `cat ${i}`);
  const texts = await Promise.all(topics.map(async (topic) => (await all(await client.stream({ topic }))).join("")));
  assert.deepEqual(texts, topics.map((topic) => `You said: Tell me about ${topic}`));
});

both("streams and calls do not wait for each other", async (remote) => {
  const [slow, quick, ledger] = [remote("slow"), remote("slow"), newLedger()];
  const reader = (await slow.stream(ledger.key)).getReader();
  await reader.read();
  assert.ok((await quick.stream(newLedger().key)).cancel());
  assert.deepEqual((await reader.read()).value, "1");
  await reader.cancel();
});

// --- refused before it began

both("a stream that is refused rejects the call", async (remote) => {
  const error = await refusal(remote("point").stream({ y: 1 }));
  assert.ok(error instanceof RemoteError);
  assert.deepEqual([error.status, error.detail[0].loc], [422, ["x"]]);
});

both("streams of events and logs tell whoever reads them", async (remote) => {
  for (const method of ["streamEvents", "streamLog"]) {
    assert.equal((await refusal(all(remote("point")[method]({ y: 1 })))).status, 422);
  }
});

test("a failure before the first chunk is a status", async () => {
  assert.deepEqual((await refusal(remote("refuses").stream("x"))).status, 429);
  assert.deepEqual((await refusal(remote("fails").stream("x"))).code, "run_failed");
});

// --- failing midway

both("a failure midway rejects the stream", async (remote) => {
  const stream = await remote("fails_midway").stream("word");
  const { items, error } = await brokenOff(stream);
  assert.deepEqual([items, error.status, error.code], [["word"], 500, "run_failed"]);
  assert.equal(error.runId, stream.runId);
});

both("a public error midway is shown", async (remote) => {
  const { items, error } = await brokenOff(await remote("refuses_midway").stream("word"));
  const told = [error.status, error.code, error.message];
  assert.deepEqual([items, ...told], [["word"], 429, "rate_limited", "Come back tomorrow"]);
});

both("events and logs fail midway alike", async (remote) => {
  for (const method of ["streamEvents", "streamLog"]) {
    const { items, error } = await brokenOff(remote("refuses_midway")[method]("word"));
    assert.ok(items.length > 0);
    assert.equal(error.code, "rate_limited");
  }
});

both("a run cancelled by its id rejects its stream", async (remote) => {
  const [client, ledger] = [remote("slow"), newLedger()];
  const stream = await client.stream(ledger.key);
  const broken = brokenOff(stream);
  await client.cancel(stream.runId);
  const { error } = await broken;
  assert.deepEqual([error.status, error.code], [499, "cancelled"]);
  await ledger.waitFor("finally");
});

// --- left

both("leaving the loop ends the run", async (remote) => {
  const ledger = newLedger();
  for await (const chunk of await remote("slow").stream(ledger.key)) if (chunk === "2") break;
  await ledger.waitFor("finally");
});

both("cancelling a stream ends the run", async (remote) => {
  const ledger = newLedger();
  const stream = await remote("slow").stream(ledger.key);
  await stream.cancel();
  await ledger.waitFor("finally");
});

both("an abort ends the run and rejects the stream", async (remote) => {
  const [ledger, abort] = [newLedger(), new AbortController()];
  const stream = await remote("slow").stream(ledger.key, { signal: abort.signal });
  setTimeout(() => abort.abort(), 200);
  const { items, error } = await brokenOff(stream);
  assert.equal(error.name, "AbortError");
  assert.ok(items.length > 0);
  await ledger.waitFor("finally");
});

both("an abort ends the run of a stream that nobody reads", async (remote) => {
  const [ledger, abort] = [newLedger(), new AbortController()];
  const stream = await remote("slow").stream(ledger.key, { signal: abort.signal });
  await ledger.waitFor("started");
  abort.abort();
  await ledger.waitFor("finally");
  assert.equal((await refusal(all(stream))).name, "AbortError");
});

both("a timeout counts until the last chunk", async (remote) => {
  const ledger = newLedger();
  const { items, error } = await brokenOff(await remote("slow").stream(ledger.key, { timeout: 1000 }));
  assert.equal(error.name, "TimeoutError");
  assert.ok(items.length > 0);
  await ledger.waitFor("finally");
});

both("leaving streams of events and logs ends the run", async (remote) => {
  for (const method of ["streamEvents", "streamLog"]) {
    const ledger = newLedger();
    for await (const _ of remote("slow")[method](ledger.key)) if (ledger.holds("started")) break;
    await ledger.waitFor("finally");
  }
});
