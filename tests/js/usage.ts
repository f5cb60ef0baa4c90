// Compiled, never run: what TypeScript makes of the declarations.
import {
  RemoteError,
  RemoteRunnable,
  RunStream,
  parseEvents,
  type RunConfig,
  type RunLogPatch,
  type StreamEvent,
} from "../../runnables/static/runnables/remote-runnable.js";

interface Topic {
  topic: string;
}

const joke = new RemoteRunnable<Topic, string>({
  url: "/joke",
  options: { timeout: 1000, headers: { "X-Tenant": "a" } },
  fetchRequestOptions: { credentials: "include" },
  token: async () => "token",
  csrfCookie: "csrf",
  transport: "websocket",
});

export async function call(signal: AbortSignal): Promise<string> {
  const config: RunConfig = { signal, timeout: 5, runName: "mine", configurable: { tone: "grumpy" } };
  const text: string = await joke.invoke({ topic: "cats" }, config);
  const texts: string[] = await joke.batch([{ topic: "cats" }], [config]);
  const mixed: (string | RemoteError)[] = await joke.batch([], config, { returnExceptions: true });
  const id: string | undefined = joke.lastRunId;
  if (id) await joke.cancel(id);
  return [text, ...texts, ...mixed.map((one) => (one instanceof RemoteError ? one.code : one))].join();
}

export async function read(): Promise<void> {
  const stream: RunStream<string> = await joke.stream({ topic: "cats" });
  for await (const chunk of stream) chunk.toUpperCase();
  const events: ReadableStream<StreamEvent> = joke.streamEvents(
    { topic: "cats" },
    { version: "v2" },
    { includeTypes: ["chat_model"], preset: "final_answer" },
  );
  for await (const { event, data } of events) event.concat(data);
  const [log]: ReadableStream<RunLogPatch>[] = joke.streamLog({ topic: "cats" }).tee();
  const { value } = await log.getReader().read();
  value?.ops.map((op) => op.path);
  const response = await fetch("/joke/stream");
  if (response.body) for await (const { event, data } of parseEvents(response.body)) event.concat(data);
}

export function explain(error: unknown): string {
  if (!(error instanceof RemoteError)) return "";
  const later: number | undefined = error.retryAfter;
  return `${error.status} ${error.code} ${error.runId} ${later} ${JSON.stringify(error.detail)}`;
}

// @ts-expect-error  a topic is missing
joke.invoke({});
// @ts-expect-error  a token is no number
new RemoteRunnable({ url: "/joke", token: 1 });
// @ts-expect-error  there is no such method
joke.pipe();
