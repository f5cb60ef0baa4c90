import assert from "node:assert/strict";
import { test } from "node:test";

import { AIMessageChunk, HumanMessage } from "@langchain/core/messages";

import { all, better, newLedger, remote } from "./support.mjs";

const CATS = { topic: "cats" };
const TOLD = "You said: Tell me about cats";
const MULTIPLY = { messages: [new HumanMessage("6 times 7")] };

async function operations(patches) {
  return (await all(patches)).flatMap(({ ops }) => ops);
}

async function stepsOf(patches) {
  const paths = (await operations(patches)).map(({ path }) => path.match(/^\/logs\/([^/]+)$/));
  return paths.filter(Boolean).map(([, name]) => name).sort();
}

test("the log adds up to the output", async () => {
  const ops = await operations(remote("joke").streamLog(CATS));
  const words = ops.filter(({ path }) => path === "/streamed_output/-").map(({ value }) => value);
  assert.equal(words.join(""), TOLD);
  assert.equal(ops.filter(({ path }) => path === "/final_output").at(-1).value, TOLD);
});

test("the log names its steps", async () => {
  const steps = await stepsOf(remote("joke").streamLog(CATS));
  assert.deepEqual(steps, ["ChatPromptTemplate", "StrOutputParser", "StreamingEcho"]);
});

test("the log is filtered", async () => {
  const steps = await stepsOf(remote("joke").streamLog(CATS, {}, { includeNames: ["StreamingEcho"] }));
  assert.deepEqual(steps, ["StreamingEcho"]);
});

test("the log of an agent holds its tool", async () => {
  const steps = await stepsOf(remote("agent").streamLog(MULTIPLY));
  assert.ok(steps.includes("multiply"));
});

test("events begin and end with the deployment", async () => {
  const events = await all(remote("joke").streamEvents(CATS, { version: "v2" }));
  const ends = [events[0], events.at(-1)].map(({ event, name }) => [event, name]);
  assert.deepEqual(ends, [["on_chain_start", "/joke"], ["on_chain_end", "/joke"]]);
  assert.equal(events.at(-1).data.output, TOLD);
});

test("the words of a model are message chunks", async () => {
  const events = await all(remote("joke").streamEvents(CATS, { version: "v2" }));
  const words = events.filter(({ event }) => event === "on_chat_model_stream").map(({ data }) => data.chunk);
  assert.ok(words.every((word) => word instanceof AIMessageChunk));
  assert.equal(words.map((word) => word.content).join(""), TOLD);
});

test("events are filtered", async () => {
  const options = [{ version: "v2" }, { includeTypes: ["prompt"] }];
  const events = await all(remote("joke").streamEvents(CATS, ...options));
  assert.deepEqual(new Set(events.map(({ name }) => name)), new Set(["ChatPromptTemplate"]));
});

test("events name their runs", async () => {
  const events = await all(remote("joke").streamEvents(CATS, { version: "v2" }));
  assert.equal(new Set(events.map(({ run_id }) => run_id)).size, 4);
});

test("events of an agent tell of its tool", async () => {
  const events = await all(remote("agent").streamEvents(MULTIPLY, { version: "v2" }));
  assert.ok(events.some(({ event, name }) => event === "on_tool_end" && name === "multiply"));
});

better("a value without JSON does not end the events", "it kills the stream", async () => {
  const events = await all(remote("set_inside").streamEvents(1, { version: "v2" }));
  assert.equal(events.at(-1).data.output, 2);
});

test("five streams run at once", async () => {
  const words = ["one", "two", "three", "four", "five"];
  const spelt = words.map(async (word) => (await all(await remote("letters_later").stream(word))).join(""));
  assert.deepEqual(await Promise.all(spelt), words);
});

test("five slow streams run side by side", async () => {
  const ledgers = Array.from({ length: 5 }, newLedger);
  const controller = new AbortController();
  const first = ledgers.map(async ({ key }) => {
    const stream = await remote("slow").stream(key, { signal: controller.signal });
    return (await stream.next()).value;
  });
  assert.deepEqual(await Promise.all(first), Array(5).fill("0"));
  controller.abort();
  await Promise.all(ledgers.map((ledger) => ledger.waitFor("finally")));
});
