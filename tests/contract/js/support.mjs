// What every file of tests needs: the client at a path of the live site, and one way to wait.
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { randomUUID } from "node:crypto";
import { setTimeout as pause } from "node:timers/promises";
import { test } from "node:test";

import { RemoteRunnable } from "@langchain/core/runnables/remote";

const { LANGSERVE_URL, LEDGER_DIR } = process.env;

export function remote(path, fields = {}) {
  return new RemoteRunnable({ url: `${LANGSERVE_URL}/${path}`, ...fields });
}

/** A test of something that LangServe itself gets wrong; the reason is read by pytest. */
export function better(name, reason, body) {
  return test(name, body);
}

export async function all(stream) {
  const items = [];
  for await (const item of stream) items.push(item);
  return items;
}

/** The message of what the promise is rejected with. */
export async function complaint(promise) {
  const error = await promise.then(() => null, (reason) => reason);
  if (error === null) throw new Error("nothing was refused");
  return error.message;
}

export async function waitUntil(predicate, seconds) {
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
  return { key, holds, waitFor: (word, seconds = 3) => waitUntil(() => holds(word), seconds) };
}
