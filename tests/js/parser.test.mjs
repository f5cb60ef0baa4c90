import assert from "node:assert/strict";
import { test } from "node:test";

import { all, bodyOf, parseEvents } from "./support.mjs";

const event = (data, name = "message", id = "") => ({ event: name, data, id });

function parsed(...chunks) {
  return all(parseEvents(bodyOf(chunks)));
}

/** Numbers that look random and are the same each time. */
function dice(seed) {
  return (sides) => {
    seed = (seed * 1103515245 + 12345) % 2 ** 31;
    return Math.floor((seed / 2 ** 31) * sides);
  };
}

function cut(bytes, roll) {
  const chunks = [];
  for (let at = 0; at < bytes.length; ) {
    const size = roll(9); // empty ones too
    chunks.push(bytes.slice(at, at + size));
    at += size;
  }
  return chunks;
}

test("an event has a name and data", async () => {
  assert.deepEqual(await parsed("event: data\r\ndata: 2\r\n\r\n"), [event("2", "data")]);
});

test("an event without data counts", async () => {
  assert.deepEqual(await parsed("event: end\r\n\r\n"), [event("", "end")]);
});

test("an event without a name is a message", async () => {
  assert.deepEqual(await parsed("data: a\n\n"), [event("a")]);
});

test("lines of data are joined", async () => {
  assert.deepEqual(await parsed("data: a\ndata:\ndata: b\n\n"), [event("a\n\nb")]);
});

test("one space after the colon goes, others stay", async () => {
  assert.deepEqual(await parsed("data:a\n\n", "data:  b \n\n", "data\n\n"), [event("a"), event(" b "), event("")]);
});

test("colons in data stay", async () => {
  assert.deepEqual(await parsed('data: {"a": 1}\n\n'), [event('{"a": 1}')]);
});

test("comments and unknown fields are passed over", async () => {
  assert.deepEqual(await parsed(": ping\n\n:\n\nretry: 5\n\nwhat: x\ndata: a\n\n: end\n\n"), [event("a")]);
});

test("an id holds for what follows", async () => {
  assert.deepEqual(await parsed("id: 7\ndata: a\n\ndata: b\n\n"), [event("a", "message", "7"), event("b", "message", "7")]);
});

test("every kind of line end will do", async () => {
  for (const end of ["\n", "\r\n", "\r"]) {
    const text = ["event: x", "data: a", "", "data: b", "", ""].join(end);
    assert.deepEqual(await parsed(text), [event("a", "x"), event("b")], JSON.stringify(end));
  }
});

test("other line separators are data", async () => {
  for (const mark of ["\u2028", "\u2029", "\u0085", "\v", "\f", "\u0000"]) {
    assert.deepEqual(await parsed(`data: a${mark}b\n\n`), [event(`a${mark}b`)]);
  }
});

test("a byte order mark is passed over", async () => {
  assert.deepEqual(await parsed(new Uint8Array([0xef, 0xbb, 0xbf]), "data: a\n\n"), [event("a")]);
});

test("an event that was cut off does not count", async () => {
  assert.deepEqual(await parsed("data: a\n\ndata: b\n"), [event("a")]);
  assert.deepEqual(await parsed("data: a\n\ndata: b"), [event("a")]);
});

test("nothing at all is no event", async () => {
  assert.deepEqual(await parsed(), []);
  assert.deepEqual(await parsed("\n\n\r\n"), []);
});

test("an event is there as soon as its bytes are", async () => {
  let push;
  const events = parseEvents(new ReadableStream({ start: (controller) => void (push = controller) }));
  push.enqueue(new TextEncoder().encode("data: a\n\ndata: b"));
  assert.deepEqual((await events.next()).value, event("a"));
  await events.return();
});

test("leaving cancels the body", async () => {
  let cancelled = false;
  const body = new ReadableStream({
    pull: (controller) => controller.enqueue(new TextEncoder().encode("data: a\n\n")),
    cancel: () => void (cancelled = true),
  });
  for await (const { data } of parseEvents(body)) if (data === "a") break;
  assert.equal(cancelled, true);
});

test("a body that fails raises its error", async () => {
  await assert.rejects(all(parseEvents(bodyOf(["data: a\n\n"], { broken: true }))), /terminated/);
});

test("the cuts between bytes make no difference", async () => {
  const roll = dice(1);
  const texts = ["", "a", "über 🦜", "\u2028", "日本語", '{"x": [1, 2]}', " two  spaces ", "x".repeat(40)];
  for (let round = 0; round < 500; round++) {
    const expected = [];
    let wire = roll(2) ? "\ufeff" : "";
    for (let count = roll(6); count > 0; count--) {
      const end = ["\n", "\r\n", "\r"][roll(3)];
      const lines = Array.from({ length: 1 + roll(3) }, () => texts[roll(texts.length)]);
      const name = ["data", "end", "naïve"][roll(3)];
      const block = [`event: ${name}`, ...lines.map((line) => `data: ${line}`)];
      if (roll(2)) block.splice(roll(block.length), 0, ": ping");
      wire += [...block, "", ""].join(end);
      expected.push(event(lines.join("\n"), name));
    }
    const bytes = new TextEncoder().encode(wire);
    assert.deepEqual(await parsed(...cut(bytes, roll)), expected, JSON.stringify(wire));
  }
});

test("a long line in many pieces takes no long time", async () => {
  const piece = "x".repeat(16 * 1024);
  const pieces = Array.from({ length: 1024 }, () => piece);
  const begun = performance.now();
  const [{ data }] = await parsed("data: ", ...pieces, "\n\n");
  assert.equal(data.length, 16 * 1024 * 1024);
  assert.ok(performance.now() - begun < 3000);
});
