import assert from "node:assert/strict";
import { test } from "node:test";

import { Document } from "@langchain/core/documents";
import {
  AIMessage,
  AIMessageChunk,
  ChatMessage,
  HumanMessage,
  SystemMessage,
  ToolMessage,
} from "@langchain/core/messages";
import { ChatPromptValue, StringPromptValue } from "@langchain/core/prompt_values";
import { ChatPromptTemplate, PromptTemplate } from "@langchain/core/prompts";

import { all, better, remote } from "./support.mjs";

const CATS = { topic: "cats" };
const TOLD = "You said: Tell me about cats";

// path, input, output
const KINDS = [
  ["joke", CATS, TOLD],
  ["multiply", { a: 6, b: 7 }, 42],
  ["add_one", 1, 2],
  ["add_one_later", 1, 2],
  ["letters_later", "abc", "abc"],
  ["shout_later", "abc", "ABC"],
  ["person", { name: "Ann", age: 7 }, "Person Ann is 7"],
  ["point", { x: 1, y: 2 }, { is: "dict", sum: 3 }],
  ["typed", 2, 4],
  ["halves", "abcd", { first: "ab", second: "cd" }],
  ["pair", 1, [1, "1"]],
  ["infinite", 1, [1, null, null]],
  ["passthrough", { a: [1, null, "ü"] }, { a: [1, null, "ü"] }],
];

function added([first, ...rest]) {
  return rest.reduce((sum, chunk) => (typeof sum === "string" ? sum + chunk : { ...sum, ...chunk }), first);
}

test("every kind is invoked", async () => {
  for (const [path, input, output] of KINDS) {
    assert.deepEqual(await remote(path).invoke(input), output, path);
  }
});

test("every kind is invoked in a batch", async () => {
  for (const [path, input, output] of KINDS) {
    assert.deepEqual(await remote(path).batch([input, input]), [output, output], path);
  }
});

test("every kind is streamed", async () => {
  for (const [path, input, output] of KINDS) {
    const chunks = await all(await remote(path).stream(input));
    assert.deepEqual(added(chunks), output, path);
  }
});

better("a legacy chain keeps its input keys", "outputs are validated again and lose them", async () => {
  assert.deepEqual(await remote("chain").invoke({ phrase: "abc" }), { phrase: "abc", reversed: "cba" });
});

better("generators with sync methods only are streamed", "they are a 500 or an error event", async () => {
  assert.deepEqual(await all(await remote("letters").stream("abc")), ["a", "b", "c"]);
  assert.deepEqual(await all(await remote("shout").stream("abc")), ["A", "B", "C"]);
});

test("a model is streamed word by word", async () => {
  const chunks = await all(await remote("joke").stream(CATS));
  assert.deepEqual(chunks.slice(0, 6), ["You", " said:", " Tell", " me", " about", " cats"]);
});

test("an empty stream is empty", async () => {
  assert.deepEqual(await all(await remote("nothing").stream("x")), []);
});

test("a message comes back as an object", async () => {
  const message = await remote("model").invoke("hi");
  assert.ok(message instanceof AIMessage);
  assert.equal(message.content, "You said: hi");
});

test("messages come back as objects from a batch", async () => {
  const messages = await remote("plain_model").batch(["a", "b"]);
  assert.ok(messages.every((message) => message instanceof AIMessage));
  assert.deepEqual(messages.map((message) => message.content), ["You said: a", "You said: b"]);
});

test("chunks of a message are objects that add up", async () => {
  const [first, ...rest] = await all(await remote("model").stream("hi"));
  assert.ok(first instanceof AIMessageChunk);
  assert.equal(rest.reduce((sum, chunk) => sum.concat(chunk), first).content, "You said: hi");
});

test("documents come back as objects", async () => {
  const documents = await remote("retriever").invoke("cats");
  assert.ok(documents.every((document) => document instanceof Document));
  assert.deepEqual(documents.map((document) => document.metadata.page), [1, 3]);
  assert.equal(documents[0].pageContent, "cats purr");
});

test("documents inside an output come back as objects", async () => {
  const { answer, sources } = await remote("documents").invoke("cats");
  assert.equal(answer, "cats");
  assert.ok(sources[1] instanceof Document);
});

test("documents are streamed as objects", async () => {
  const [documents] = await all(await remote("retriever").stream("cats"));
  assert.ok(documents[0] instanceof Document);
});

test("prompt values come back as objects", async () => {
  assert.ok((await remote("greeting").invoke({ name: "Ann" })) instanceof StringPromptValue);
  const value = await remote("prompt").invoke(CATS);
  assert.ok(value instanceof ChatPromptValue);
  assert.equal(value.messages[0].content, "Tell me about cats");
});

test("a graph takes and gives messages", async () => {
  const { messages } = await remote("graph").invoke({ messages: [new HumanMessage("hi")] });
  assert.ok(messages[1] instanceof AIMessage);
  assert.equal(messages[1].content, "You said: hi");
});

test("an agent streams its steps", async () => {
  const steps = await all(await remote("agent").stream({ messages: [new HumanMessage("6 times 7")] }));
  assert.deepEqual(steps.map((step) => Object.keys(step)[0]), ["model", "tools", "model"]);
  assert.ok(steps[1].tools.messages[0] instanceof ToolMessage);
  assert.equal(steps[2].model.messages[0].content, "It is 42.");
});

test("messages of every class arrive", async () => {
  const sent = [
    new HumanMessage("a"),
    new AIMessage("b"),
    new SystemMessage("c"),
    new ToolMessage({ content: "d", tool_call_id: "1" }),
  ];
  const classes = await remote("any_messages").invoke(sent);
  assert.deepEqual(classes, ["HumanMessage", "AIMessage", "SystemMessage", "ToolMessage"]);
});

better("a chat message arrives", "its tag here is generic, which is refused", async () => {
  assert.deepEqual(await remote("any_messages").invoke([new ChatMessage("a", "judge")]), ["ChatMessage"]);
});

better("documents arrive", "they come as pageContent, which is refused", async () => {
  const documents = [new Document({ pageContent: "a" }), new Document({ pageContent: "b", metadata: { page: 1 } })];
  assert.deepEqual(await remote("texts").invoke(documents), ["a", "b"]);
});

better("a local string prompt feeds a remote model", "its text comes as value, which is refused", async () => {
  const chain = PromptTemplate.fromTemplate("Tell me about {topic}").pipe(remote("model"));
  assert.equal((await chain.invoke(CATS)).content, TOLD);
});

test("a model takes a list of messages", async () => {
  const message = await remote("model").invoke([new SystemMessage("Be brief"), new HumanMessage("hi")]);
  assert.equal(message.content, "You said: hi");
});

test("a local prompt feeds a remote model", async () => {
  const chain = ChatPromptTemplate.fromTemplate("Tell me about {topic}").pipe(remote("model"));
  assert.equal((await chain.invoke(CATS)).content, TOLD);
});

test("a local prompt streams a remote model", async () => {
  const chain = ChatPromptTemplate.fromTemplate("Tell me about {topic}").pipe(remote("model"));
  const chunks = await all(await chain.stream(CATS));
  assert.equal(chunks.map((chunk) => chunk.content).join(""), TOLD);
});

const SPECIAL = ["next\u0085line", "line\u2028separator", "paragraph\u2029separator", "two\r\nlines", "über 🦜"];

test("special characters survive", async () => {
  assert.equal(await remote("special").invoke("x"), SPECIAL.join(""));
  assert.deepEqual(await all(await remote("special").stream("x")), SPECIAL);
  assert.deepEqual(await remote("passthrough").invoke(SPECIAL), SPECIAL);
});

test("a path may end with a slash", async () => {
  assert.equal(await remote("add_one/").invoke(1), 2);
});
