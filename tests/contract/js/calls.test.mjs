import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { test } from "node:test";

import { all, better, complaint, newLedger, remote } from "./support.mjs";

const SECRET = "swordfish";
const CATS = { topic: "cats" };

// --- config

test("a configurable field is set for one call", async () => {
  const value = await remote("greeting").invoke({ name: "Ann" }, { configurable: { template: "Bye {name}" } });
  assert.equal(value.value, "Bye Ann");
});

test("a batch takes a config for each input", async () => {
  const configs = ["dog", "cat"].map((animal) => ({ configurable: { animal } }));
  const values = await remote("animal").batch([{ verb: "eats" }, { verb: "eats" }], configs);
  assert.deepEqual(values.map((value) => value.value), ["The dog eats", "The cat eats"]);
});

test("a limit on concurrency does no harm", async () => {
  assert.deepEqual(await remote("add_one").batch([1, 2, 3], {}, { maxConcurrency: 2 }), [2, 3, 4]);
});

test("open keys reach the runnable", async () => {
  const seen = await remote("open_config").invoke(1, { tags: ["a"], metadata: { who: "ann" } });
  assert.deepEqual([seen.tags, seen.metadata], [["a"], { who: "ann" }]);
});

test("the keys of this client alone are ignored", async () => {
  assert.equal(await remote("add_one").invoke(1, { runName: "mine", recursionLimit: 3, maxConcurrency: 1 }), 2);
});

test("a config in the path is used", async () => {
  // {"tags": ["t"], "configurable": {"template": "X {name} {y}"}}
  const hash =
    "N4IgLghg5gziBcACA2uEBdANIkBjA9gHYBmAllAK4BOEARgDYCmCioYjAtgA70TssgAGq0IQOjAL6sAnhJASJQA";
  const value = await remote(`greeting/c/${hash}`).invoke({ name: "Ann", y: "Y" });
  assert.equal(value.value, "X Ann Y");
});

test("a session remembers", async () => {
  const config = { configurable: { session_id: randomUUID() } };
  assert.equal((await remote("history").invoke({ question: "one" }, config)).content, "1: one");
  assert.equal((await remote("history").invoke({ question: "two" }, config)).content, "3: two");
});

// --- headers

test("a token opens what is private", async () => {
  const headers = { Authorization: `Bearer ${process.env.LANGSERVE_TOKEN}` };
  const told = "You said: Tell me about cats";
  assert.equal(await remote("private", { options: { headers } }).invoke(CATS), told);
  assert.equal((await all(await remote("private", { options: { headers } }).stream(CATS))).join(""), told);
});

test("without a token nothing is", async () => {
  assert.match(await complaint(remote("private").invoke(CATS)), /^401 Error/);
  assert.match(await complaint(all(remote("private").streamEvents(CATS, { version: "v2" }))), /^401 Error/);
});

// --- errors

test("an unknown path is a 404", async () => {
  assert.match(await complaint(remote("nobody").invoke(1)), /^404 Error/);
});

test("a bad input is a 422 that says why", async () => {
  assert.match(await complaint(remote("add_one").invoke("x")), /^422 Error: .*valid integer/);
});

better("a bad item of a batch is a 422", "it is a 500", async () => {
  assert.match(await complaint(remote("add_one").batch([1, "x"])), /^422 Error: .*valid integer/);
});

test("a refusal is shown", async () => {
  assert.match(await complaint(remote("refuses").invoke("x")), /^429 Error: .*Come back tomorrow/);
});

test("what a runnable says to itself is not shown", async () => {
  const message = await complaint(remote("fails").invoke("x"));
  assert.match(message, /^500 Error/);
  assert.ok(!message.includes(SECRET));
});

const drained = async (path, input) => all(await remote(path).stream(input));

better("a stream that was refused says why", "the body has no message, so it says undefined", async () => {
  for (const [path, input, status] of [["nobody", 1, 404], ["add_one", "x", 422], ["private", CATS, 401]]) {
    const message = await complaint(drained(path, input));
    assert.match(message, new RegExp(`status code ${status}: .`));
    assert.doesNotMatch(message, /undefined|\[object/, path);
  }
});

better("a stream that fails at once says so", "it is a 200 and an error event", async () => {
  const message = await complaint(drained("refuses", "x"));
  assert.match(message, /status code 429: Come back tomorrow/);
});

test("a stream that fails midway throws", async () => {
  const seen = [];
  const reading = (async () => {
    for await (const chunk of await remote("fails_midway").stream("x")) seen.push(chunk);
  })();
  const message = await complaint(reading);
  assert.deepEqual(seen, ["x"]);
  assert.ok(!message.includes(SECRET));
  assert.equal(JSON.parse(message).status_code, 500);
});

better("a refusal midway is shown", "a stream says 500 whatever the exception", async () => {
  const message = await complaint(drained("refuses_midway", "x"));
  assert.deepEqual(
    [JSON.parse(message).status_code, JSON.parse(message).message],
    [429, "Come back tomorrow"],
  );
});

test("events that fail midway throw", async () => {
  const message = await complaint(all(remote("fails_midway").streamEvents("x", { version: "v2" })));
  assert.equal(JSON.parse(message).status_code, 500);
});

test("a log that fails midway throws", async () => {
  const message = await complaint(all(remote("fails_midway").streamLog("x")));
  assert.equal(JSON.parse(message).status_code, 500);
});

// --- leaving

// Breaking out of a loop is no test: this client then keeps its connection open.

test("an abort signal ends a stream", async () => {
  const ledger = newLedger();
  const controller = new AbortController();
  const stream = await remote("slow").stream(ledger.key, { signal: controller.signal });
  await complaint(
    (async () => {
      for await (const _ of stream) controller.abort();
    })(),
  );
  await ledger.waitFor("finally");
});

test("an abort signal ends a stream of events", async () => {
  const ledger = newLedger();
  const controller = new AbortController();
  const events = remote("slow").streamEvents(ledger.key, { version: "v2", signal: controller.signal });
  await complaint(
    (async () => {
      for await (const { event } of events) if (event === "on_chain_stream") controller.abort();
    })(),
  );
  await ledger.waitFor("finally");
});

better("an abort signal cancels an invoke", "it runs on when the client has gone", async () => {
  const ledger = newLedger();
  const controller = new AbortController();
  const call = complaint(remote("slow_invoke").invoke(ledger.key, { signal: controller.signal }));
  await ledger.waitFor("started");
  controller.abort();
  await call;
  await ledger.waitFor("cancelled");
});

better("an abort signal cancels a batch", "it runs on when the client has gone", async () => {
  const [first, second] = [newLedger(), newLedger()];
  const controller = new AbortController();
  const inputs = [first.key, second.key];
  const call = complaint(remote("slow_invoke").batch(inputs, { signal: controller.signal }));
  await first.waitFor("started");
  await second.waitFor("started");
  controller.abort();
  await call;
  await first.waitFor("cancelled");
  await second.waitFor("cancelled");
});

better("a timeout cancels an invoke", "it runs on when the client has gone", async () => {
  const ledger = newLedger();
  await complaint(remote("slow_invoke", { options: { timeout: 2000 } }).invoke(ledger.key));
  await ledger.waitFor("cancelled");
});
