// The types of the client, of its declarations, and of a program that uses them.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { test } from "node:test";

const TSC = new URL("node_modules/typescript/bin/tsc", import.meta.url).pathname;

test("the types are right", () => {
  const { stdout, status } = spawnSync(process.execPath, [TSC, "--project", "."], {
    cwd: new URL(".", import.meta.url),
    encoding: "utf8",
  });
  assert.equal(status, 0, stdout);
});
