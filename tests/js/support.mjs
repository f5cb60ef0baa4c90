// What every file of tests needs: the client at a path of the live site, and one way to wait.
import { randomUUID } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";

import { WebSocket } from "ws";

import { RemoteRunnable } from "../../runnables/static/runnables/remote-runnable.js";

export * from "../../runnables/static/runnables/remote-runnable.js";

const { LANGSERVE_URL, LEDGER_DIR } = process.env;

export const CATS = { topic: "cats" };
export const TOLD = "You said: Tell me about cats";

/** The same test over HTTP and over a WebSocket; `remote(path, fields)` gives the client. */
export function both(name, body) {
  test(name, () => connected({}, body));
  test(`${name} (websocket)`, () => connected({ transport: "websocket", WebSocket }, body));
}

async function connected(transport, body) {
  const clients = [];
  try {
    await body((path, fields) => {
      clients.push(remote(path, { ...transport, ...fields }));
      return clients.at(-1);
    });
  } finally {
    for (const client of clients) client.close();
  }
}

export function remote(path, fields = {}) {
  return new RemoteRunnable({ url: `${LANGSERVE_URL}/${path}`, ...fields });
}

export async function all(stream) {
  const items = [];
  for await (const item of stream) items.push(item);
  return items;
}

/** What the promise is rejected with. */
export async function refusal(promise) {
  const error = await promise.then(() => null, (reason) => reason);
  if (error === null) throw new Error("nothing was refused");
  return error;
}

/** The items that came, and the error after them. */
export async function brokenOff(stream) {
  const items = [];
  try {
    for await (const item of stream) items.push(item);
  } catch (error) {
    return { items, error };
  }
  throw new Error("the stream ended well");
}

export async function waitUntil(predicate, seconds = 3) {
  const deadline = Date.now() + seconds * 1000;
  while (!predicate()) {
    if (Date.now() > deadline) throw new Error(`not so within ${seconds} s`);
    await pause(20);
  }
}

/** What one call of a slow runnable noted. */
export function newLedger() {
  const key = randomUUID();
  const file = join(LEDGER_DIR, key);
  const holds = (word) => existsSync(file) && readFileSync(file, "utf8").split("\n").includes(word);
  return { key, holds, waitFor: (word, seconds) => waitUntil(() => holds(word), seconds) };
}

/** A `fetch` that notes what it is asked, and what it answers. */
export function fakeFetch(answer = () => Response.json({ output: 1 })) {
  const requests = [];
  const fetch = async (url, { headers, body, ...init }) => {
    const sent = Object.fromEntries(headers);
    requests.push({ url, headers: sent, body: body === undefined ? undefined : JSON.parse(body), ...init });
    return answer(requests.length);
  };
  return { fetch, requests };
}

/** A body of these texts or bytes, one chunk each; `broken` fails after the last. */
export function bodyOf(chunks, { broken = false } = {}) {
  const encoder = new TextEncoder();
  const left = [...chunks];
  return new ReadableStream({
    pull(controller) {
      const next = left.shift();
      if (next !== undefined) controller.enqueue(typeof next === "string" ? encoder.encode(next) : next);
      else if (broken) controller.error(new TypeError("terminated"));
      else controller.close();
    },
  });
}
