/**
 * A client of deployments that speak LangServe's wire, for browsers and Node 20 or later.
 *
 *     const joke = new RemoteRunnable({ url: "/joke" });
 *     for await (const chunk of await joke.stream({ topic: "cats" })) show(chunk);
 *
 * Its API is that of LangChain.js's RemoteRunnable. JSON comes back as it was sent: messages and
 * documents stay plain objects with everything in them. docs/javascript-client.md says the rest.
 */

/** @import * as declared from "./remote-runnable.d.ts" */
/** @import { EventFilters, RemoteRunnableFields as Fields, RunConfig } from "./remote-runnable.d.ts" */
/** @typedef {Record<string, any>} Params */
/** @typedef {AsyncGenerator<{ event: string, data?: any }>} RunEvents  The first of them is `open`. */

/**
 * What the server refused or failed at, in its words; or `connection_lost`, with status 0.
 *
 * @implements {declared.RemoteError}
 */
export class RemoteError extends Error {
  name = "RemoteError";

  /** @param {string} message @param {declared.RemoteErrorFields} fields */
  constructor(message, { status = 0, code = "error", detail = message, cause, ...fields } = {}) {
    super(message, cause === undefined ? undefined : { cause });
    this.status = status;
    this.code = code;
    this.detail = detail;
    this.runId = fields.runId;
    this.retryAfter = fields.retryAfter;
  }
}

/**
 * A run's chunks; async-iterable in browsers whose ReadableStream is not. Leaving the loop, like
 * `cancel()`, ends the run.
 *
 * @template [T=any]
 * @extends {ReadableStream<T>}
 * @implements {declared.RunStream<T>}
 */
export class RunStream extends ReadableStream {
  /** @type {string | undefined} */
  runId = undefined;

  /** @returns {any} */
  async *[Symbol.asyncIterator]() {
    const reader = this.getReader();
    try {
      for (let next = await reader.read(); !next.done; next = await reader.read()) yield next.value;
    } finally {
      // Of a stream that has failed this fails too, and that error is on its way already.
      await reader.cancel().catch(() => {});
      reader.releaseLock();
    }
  }
}

/**
 * @template [Input=any] @template [Output=any]
 * @implements {declared.RemoteRunnable<Input, Output>}
 */
export class RemoteRunnable {
  /** @type {string | undefined} */
  lastRunId = undefined;
  #fields;
  #http;
  /** @type {Socket | undefined} */
  #socket;

  /** @param {Fields} fields */
  constructor(fields) {
    this.#fields = fields;
    this.#http = new Http(fields);
  }

  /** @param {Input} input @param {RunConfig} [config] @returns {Promise<Output>} */
  async invoke(input, config = {}) {
    const reply = await this.#perform("invoke", { input, config: wireConfig(config) }, [config]);
    return reply.output;
  }

  /**
   * @param {Input[]} inputs @param {RunConfig | RunConfig[]} [configs]
   * @param {declared.BatchOptions} [options] @returns {Promise<any[]>}
   */
  async batch(inputs, configs = {}, { returnExceptions, maxConcurrency } = {}) {
    if (!inputs.length) return [];
    const limited = (/** @type {RunConfig} */ config) => wireConfig({ maxConcurrency, ...config });
    const config = Array.isArray(configs) ? configs.map(limited) : limited(configs);
    const params = { inputs, config, return_exceptions: returnExceptions };
    const { output, errors = [] } = await this.#perform("batch", params, [configs].flat());
    return output.map((/** @type {any} */ one, /** @type {number} */ i) =>
      errors[i] ? remoteError(errors[i]) : one,
    );
  }

  /** @param {Input} input @param {RunConfig} [config] @returns {Promise<RunStream<Output>>} */
  async stream(input, config) {
    const { stream, opened } = this.#stream("stream", input, config);
    await opened;
    return stream;
  }

  /** @param {Input} input @param {RunConfig} [config] @param {EventFilters} [filters] */
  streamEvents(input, config, filters) {
    return this.#stream("stream_events", input, config, filters).stream;
  }

  /** @param {Input} input @param {RunConfig} [config] @param {EventFilters} [filters] */
  streamLog(input, config, filters) {
    return this.#stream("stream_log", input, config, filters).stream;
  }

  /** @param {string} runId @returns {Promise<any>} */
  cancel(runId) {
    return this.#during([], (call) => this.#transport().cancel(runId, call));
  }

  inputSchema() {
    return this.#during([], (call) => this.#http.get("input_schema", call));
  }

  outputSchema() {
    return this.#during([], (call) => this.#http.get("output_schema", call));
  }

  configSchema() {
    return this.#during([], (call) => this.#http.get("config_schema", call));
  }

  close() {
    this.#socket?.end(lost("The socket was closed by this side."));
  }

  #transport() {
    if (this.#fields.transport !== "websocket") return this.#http;
    if (!this.#socket || this.#socket.over) this.#socket = new Socket(this.#fields);
    return this.#socket;
  }

  /** @template T @param {RunConfig[]} configs @param {(call: Call) => Promise<T>} work */
  #during(configs, work) {
    const call = this.#call(configs);
    return call.settle(work).finally(() => call.end());
  }

  /** @param {RunConfig[]} configs */
  #call(configs) {
    const given = configs.find(({ timeout }) => timeout !== undefined)?.timeout;
    return new Call(configs, given ?? this.#fields.options?.timeout, (id) => (this.lastRunId = id));
  }

  /** @param {string} method @param {Params} params @param {RunConfig[]} configs */
  #perform(method, params, configs) {
    return this.#during(configs, async (call) => {
      const reply = await this.#transport().perform(method, params, call);
      if (!Object.hasOwn(Object(reply), "output")) throw notOurs("It has no output.", reply);
      call.named(reply.metadata?.run_id ?? reply.metadata?.run_ids?.[0]);
      return reply;
    });
  }

  /** @param {string} method @param {any} input @param {RunConfig} config @param {EventFilters} filters */
  #stream(method, input, config = {}, filters = {}) {
    const params = { input, config: wireConfig(config), ...snakeKeys(filters) };
    const call = this.#call([config]);
    const events = this.#transport().events(method, params, call);
    const leave = () => {
      call.end();
      events.return(undefined).catch(() => {});
    };
    const opened = call.settle(() => events.next());
    opened.catch(leave);

    const source = {
      async pull(/** @type {ReadableStreamDefaultController} */ controller) {
        try {
          await opened;
          const { event, data } = await call.settle(() => chunkOrEnd(events, call));
          if (event === "data") return controller.enqueue(data);
          call.end();
          controller.close();
          // The body is read to its very end, so that the connection can be used again.
          await events.next();
        } catch (error) {
          leave();
          throw error;
        }
      },
      cancel(/** @type {unknown} */ reason) {
        call.abort(reason);
        leave();
      },
    };
    // Nothing is read ahead: a reader that pauses holds the server back.
    const stream = new RunStream(source, { highWaterMark: 0 });
    call.onName = (id) => (this.lastRunId = stream.runId = id);
    return { stream, opened };
  }
}

/** One call: what may abort it, and its run's id as soon as that is known. */
class Call {
  #controller = new AbortController();
  signal = this.#controller.signal;
  /** @type {(() => void)[]} */
  #ends = [];

  /**
   * @param {RunConfig[]} configs @param {number | undefined} timeout  in milliseconds
   * @param {(runId: string) => void} onName
   */
  constructor(configs, timeout, onName) {
    this.runId = configs[0]?.runId;
    this.onName = onName;
    // Not AbortSignal.any() and .timeout(): Node 20 collects them as garbage before their time.
    for (const { signal } of configs) if (signal) this.#follow(signal);
    // A platform's timer takes Infinity for nothing at all.
    if (!timeout || timeout >= 2 ** 31) return;
    const late = new DOMException(`The call took longer than ${timeout} ms.`, "TimeoutError");
    const timer = setTimeout(() => this.abort(late), timeout);
    this.#ends.push(() => clearTimeout(timer));
  }

  /** @param {unknown} reason */
  abort(reason) {
    this.#controller.abort(reason);
  }

  /** Let go of the caller's signals and the timer. */
  end() {
    for (const end of this.#ends.splice(0)) end();
  }

  /** @param {string | null | undefined} runId */
  named(runId) {
    if (runId) this.onName(runId);
  }

  /**
   * What the work comes to, or the reason of an abort as soon as there is one.
   *
   * @template T @param {(call: Call) => Promise<T>} work @returns {Promise<T>}
   */
  settle(work) {
    return new Promise((resolve, reject) => {
      const abort = () => reject(this.signal.reason);
      if (this.signal.aborted) return abort();
      this.signal.addEventListener("abort", abort);
      const fail = (/** @type {unknown} */ error) => {
        if (error instanceof RemoteError) this.named(error.runId);
        reject(error);
      };
      const forget = () => this.signal.removeEventListener("abort", abort);
      work(this).then(resolve, fail).finally(forget);
    });
  }

  /** @param {AbortSignal} signal */
  #follow(signal) {
    const abort = () => this.abort(signal.reason);
    if (signal.aborted) return abort();
    signal.addEventListener("abort", abort);
    this.#ends.push(() => signal.removeEventListener("abort", abort));
  }
}

/** HTTP: a request for each call, answered by JSON or by Server-Sent Events. */
class Http {
  #fields;
  #init;
  #address;

  /** @param {Fields} fields */
  constructor(fields) {
    this.#fields = fields;
    this.#init = fields.fetchRequestOptions ?? {};
    this.#address = addressOf(fields.url);
  }

  /** @param {string} name @param {Call} call */
  get(name, call) {
    return this.#request(`${this.#address.path}/${name}`, call, { method: "GET" }).then(jsonOf);
  }

  /** @param {string} runId @param {Call} call */
  cancel(runId, call) {
    const path = `${this.#address.root}/runs/${encodeURIComponent(runId)}/cancel`;
    return this.#request(path, call).then(jsonOf);
  }

  /** @param {string} method @param {Params} params @param {Call} call */
  async perform(method, params, call) {
    const body = encode(params);
    return this.#request(`${this.#address.path}/${method}`, call, { body }).then(jsonOf);
  }

  /** @param {string} method @param {Params} params @param {Call} call @returns {RunEvents} */
  async *events(method, { preset, ...params }, call) {
    const body = encode(params);
    const response = await this.#request(`${this.#address.path}/${method}`, call, { body }, preset);
    if (!response.body || !response.headers.get("content-type")?.includes("text/event-stream")) {
      throw notOurs("It is no event stream.", await textOf(response), response.status);
    }
    yield { event: "open" };
    try {
      for await (const { event, data } of parseEvents(response.body)) {
        yield { event, data: data && parse(data) };
      }
    } catch (error) {
      throw error instanceof RemoteError ? error : lost("The stream broke off.", error);
    }
  }

  /** @param {string} path @param {Call} call @param {RequestInit} [options] @param {string} [preset] */
  async #request(path, call, options, preset) {
    const url = new URL(this.#address.url);
    url.pathname = path;
    if (preset) url.searchParams.set("preset", preset);
    const headers = await this.#headers(call);
    const fixed = { method: "POST", ...options, headers, signal: call.signal };
    const { fetch = globalThis.fetch } = this.#fields;
    const response = await fetch(url.href, { credentials: "same-origin", ...this.#init, ...fixed }).catch(
      (error) => {
        throw lost("The server cannot be reached, or broke off.", error);
      },
    );
    call.named(response.headers.get("x-run-id"));
    if (!response.ok) throw await refusal(response);
    return response;
  }

  /** @param {Call} call */
  async #headers(call) {
    const headers = new Headers({ "Content-Type": "application/json" });
    for (const given of [this.#init.headers, this.#fields.options?.headers]) {
      new Headers(given).forEach((value, name) => headers.set(name, value));
    }
    const token = await tokenOf(this.#fields);
    if (token) headers.set("Authorization", `Bearer ${token}`);
    if (call.runId) headers.set("X-Run-Id", call.runId);
    const csrf = this.#csrfToken(headers.get("cookie"));
    if (csrf && !headers.has("x-csrftoken")) headers.set("X-CSRFToken", csrf);
    return headers;
  }

  /**
   * From the Cookie header that a program sends, or from the page's cookies: for its own origin,
   * for others only where their cookies are asked for. @param {string | null} sent
   */
  #csrfToken(sent) {
    const isOwn = globalThis.location?.origin === this.#address.url.origin;
    const isOpen = isOwn || this.#init.credentials === "include";
    const cookies = sent ?? (isOpen ? (globalThis.document?.cookie ?? "") : "");
    const name = `${this.#fields.csrfCookie ?? "csrftoken"}=`;
    return cookies.split(/; */).find((cookie) => cookie.startsWith(name))?.slice(name.length);
  }
}

/** One WebSocket for many runs at once. It opens once; commands wait until it has. */
class Socket {
  /** @type {unknown} Why there is no socket any more. */
  over = undefined;
  #fields;
  #address;
  #opened;
  /** @type {WebSocket | undefined} */
  #socket;
  /** @type {Map<string, { frames: ReadableStreamDefaultController, isStream: boolean }>} */
  #commands = new Map();
  #count = 0;

  /** @param {Fields} fields */
  constructor(fields) {
    this.#fields = fields;
    this.#address = addressOf(fields.url);
    this.#opened = this.#open();
    this.#opened.catch((error) => this.end(error));
  }

  /** @param {string} runId @param {Call} call */
  cancel(runId, call) {
    return this.perform("cancel", { run_id: runId }, call);
  }

  /** @param {string} method @param {Params} params @param {Call} call */
  async perform(method, params, call) {
    await this.#opened;
    return this.#reply(method, params, call);
  }

  /** @param {string} method @param {Params} params @param {Call} call @returns {RunEvents} */
  async *events(method, params, call) {
    await this.#opened;
    for await (const frame of this.#frames(method, params, call, true)) {
      if (frame.type === "success") call.named(frame.result.run_id);
      yield frame.type === "success" ? { event: "open" } : frame;
    }
  }

  /** @param {unknown} error */
  end(error) {
    this.over ??= error;
    this.#socket?.close();
    for (const { frames } of this.#commands.values()) frames.error(error);
    this.#commands.clear();
  }

  async #open() {
    const { WebSocket = globalThis.WebSocket } = this.#fields;
    if (!WebSocket) throw new Error("This platform has no WebSocket: give a class of that name.");
    const token = await tokenOf(this.#fields);
    if (this.over) throw this.over;
    const url = new URL(this.#address.url);
    url.protocol = url.protocol.replace("http", "ws");
    url.pathname = `${this.#address.root}/ws`;
    await new Promise((resolve, reject) => {
      let trouble = { message: "", error: undefined };
      const socket = (this.#socket = new WebSocket(url.href));
      socket.onopen = resolve;
      socket.onmessage = (/** @type {MessageEvent} */ message) => this.#take(message.data);
      // Node's `ws` says here what is wrong; the close that follows does not.
      socket.onerror = (/** @type {any} */ event) => (trouble = event);
      socket.onclose = (/** @type {CloseEvent} */ { code, reason }) => {
        const why = reason || trouble.message || "no reason given";
        this.end(lost(`The socket was closed: ${code}, ${why}.`, trouble.error));
        reject(this.over);
      };
    });
    if (token) await this.#reply("authenticate", { token }, new Call([], undefined, () => {}));
  }

  /** @param {string} method @param {Params} params @param {Call} call */
  async #reply(method, params, call) {
    for await (const frame of this.#frames(method, params, call)) return frame.result;
  }

  /**
   * What answers one command. Leaving before its last frame, or an abort, cancels it.
   *
   * @param {string} method @param {Params} params @param {Call} call @param {boolean} isStream
   * @returns {AsyncGenerator<any>}
   */
  async *#frames(method, params, call, isStream = false) {
    const id = `c${(this.#count += 1)}`;
    const stop = () => {
      if (this.#commands.delete(id)) this.#send(`cancel-${id}`, "cancel", { id });
    };
    call.signal.throwIfAborted();
    if (this.over) throw this.over;
    const queue = new RunStream({ start: (frames) => void this.#commands.set(id, { frames, isStream }) });
    call.signal.addEventListener("abort", stop);
    try {
      this.#send(id, method, { run_id: call.runId, config_hash: this.#address.configHash, ...params });
      for await (const frame of queue) {
        if (frame.type === "error") throw remoteError(frame.error);
        yield frame;
      }
    } finally {
      stop();
      call.signal.removeEventListener("abort", stop);
    }
  }

  /** @param {string} text */
  #take(text) {
    try {
      const frame = parse(text);
      const command = this.#commands.get(frame.id);
      command?.frames.enqueue(frame);
      if (!command || (command.isStream && !isLast(frame))) return;
      this.#commands.delete(frame.id);
      command.frames.close();
    } catch (error) {
      this.end(error);
    }
  }

  /** @param {string} id @param {string} method @param {Params} params */
  #send(id, method, params) {
    if (!this.over) this.#socket?.send(encode({ id, method, params }));
  }
}

/** @param {any} frame  Of a stream. */
function isLast({ type, event }) {
  return type === "error" || event === "end" || event === "error";
}

/** @param {RunEvents} events @param {Call} call */
async function chunkOrEnd(events, call) {
  for (;;) {
    const { value } = await events.next();
    if (!value) throw lost("The stream broke off before its end.");
    if (value.event === "error") throw remoteError(value.data);
    if (value.event === "metadata") call.named(value.data.run_id);
    if (value.event === "data" || value.event === "end") return value;
  }
}

/**
 * Server-Sent Events out of bytes, however these were cut. An event without data counts, such as
 * LangServe's `end`; one that was cut off does not.
 *
 * @param {ReadableStream<Uint8Array>} stream
 * @returns {AsyncGenerator<declared.ServerSentEvent, void, void>}
 */
export async function* parseEvents(stream) {
  const reader = stream.getReader();
  const decoder = new TextDecoder();
  /** @type {Record<string, string>} */
  let fields = {};
  let [held, begun, id] = ["", "", ""]; // a CR that an LF may follow; the line so far
  try {
    for (let isOver = false; !isOver; ) {
      const { done, value } = await reader.read();
      isOver = done;
      const text = held + decoder.decode(value, { stream: !done });
      held = !done && text.endsWith("\r") ? "\r" : "";
      const lines = text.slice(0, text.length - held.length).split(/\r\n|\n|\r/);
      lines[0] = begun + lines[0];
      begun = lines.pop() ?? "";
      for (const line of lines) {
        if (line) {
          const [, name = "", value = ""] = /^([^:]*)(?:: ?(.*))?$/s.exec(line) ?? [];
          if (name === "id") id = value;
          fields[name] = name === "data" && "data" in fields ? `${fields.data}\n${value}` : value;
          continue;
        }
        const { event = "", data = "" } = fields;
        if (event || "data" in fields) yield { event: event || "message", data, id };
        fields = {};
      }
    }
  } finally {
    await reader.cancel().catch(() => {});
    reader.releaseLock();
  }
}

const CONFIG_KEYS = ["tags", "metadata", "configurable", "run_name", "max_concurrency", "recursion_limit"];

/** What may interest the server of a config. @param {RunConfig} config @returns {Params} */
function wireConfig(config) {
  const known = Object.entries(snakeKeys(config)).filter(([key]) => CONFIG_KEYS.includes(key));
  const { configurable, ...wire } = /** @type {Params} */ (Object.fromEntries(known));
  if (!configurable) return wire;
  // Inside LangGraph.js there are ids that are that graph's own.
  const ours = Object.entries(configurable).filter(([id]) => !/^(__|checkpoint_)/.test(id));
  return { ...wire, configurable: Object.fromEntries(ours) };
}

/** @param {object} fields */
function snakeKeys(fields) {
  const snake = (/** @type {string} */ key) => key.replace(/[A-Z]/g, (mark) => `_${mark.toLowerCase()}`);
  return Object.fromEntries(Object.entries(fields).map(([key, value]) => [snake(key), value]));
}

/** JSON, with LangChain.js's messages and prompts as Python spells them. @param {unknown} value */
function encode(value) {
  return JSON.stringify(value, function (key, plain) {
    // What stood there before its own toJSON.
    return wireForm(this[key]) ?? plain;
  });
}

/** @param {any} value */
function wireForm(value) {
  if (typeof value !== "object" || value === null) return undefined;
  if (typeof value.toChatMessages === "function") {
    return { type: "ChatPromptValueConcrete", messages: value.toChatMessages() };
  }
  const type = value.getType ?? value._getType;
  if (typeof type === "function" && "content" in value) return wireMessage(type.call(value), value);
  // What LangChain.js makes of messages to store them, by toJSON() and by toDict().
  const name = value.lc === 1 && /^(\w+)Message(Chunk)?$/.exec(value.id?.at(-1))?.[1];
  if (name && value.kwargs) return wireMessage(name.toLowerCase(), value.kwargs);
  const isStored = typeof value.type === "string" && Object.keys(value).join() === "type,data";
  return isStored && value.data?.content !== undefined ? wireMessage(value.type, value.data) : undefined;
}

/** @param {string} type @param {object} fields */
function wireMessage(type, fields) {
  const kept = Object.entries(fields).filter(([name]) => !name.startsWith("lc_"));
  return { ...Object.fromEntries(kept), type: type === "generic" ? "chat" : type };
}

/** `root` is `path` without the config hash that may end it. @param {string} given */
function addressOf(given) {
  const url = new URL(given, globalThis.document?.baseURI ?? globalThis.location?.href);
  url.hash = "";
  const path = url.pathname.replace(/\/+$/, "");
  const [found = "", configHash] = /\/c\/([^/]+)$/.exec(path) ?? [];
  return { url, path, root: path.slice(0, path.length - found.length), configHash };
}

/** @param {Fields} fields */
async function tokenOf({ token }) {
  return typeof token === "function" ? token() : token;
}

/** @param {Response} response */
function textOf(response) {
  return response.text().catch((error) => {
    throw lost("The answer broke off.", error);
  });
}

/** @param {Response} response */
async function jsonOf(response) {
  return parse(await textOf(response), response.status);
}

/** @param {string} text @param {number} [status] */
function parse(text, status) {
  try {
    return JSON.parse(text);
  } catch {
    throw notOurs("It is not JSON.", text, status);
  }
}

/** @param {Response} response */
async function refusal(response) {
  const { status, statusText, headers } = response;
  const text = await response.text().catch(() => "");
  const run_id = headers.get("x-run-id") ?? undefined;
  const retry_after = Number(headers.get("retry-after")) || undefined;
  let told = {};
  try {
    told = JSON.parse(text);
  } catch {
    told = { message: `${status} ${statusText}`, detail: text };
  }
  return remoteError({ run_id, retry_after, ...told, status_code: status });
}

/** @param {any} problem  The body of an error, an `error` event, or an entry of `errors`. */
function remoteError({ status_code: status, code, detail, message, run_id, retry_after }) {
  const text = message ?? (typeof detail === "string" ? detail : `The server answered ${status}.`);
  return new RemoteError(text, { status, code, detail, runId: run_id, retryAfter: retry_after });
}

/** @param {string} message @param {unknown} [cause] */
function lost(message, cause) {
  return new RemoteError(message, { code: "connection_lost", cause });
}

/** @param {string} why @param {unknown} detail @param {number} [status] */
function notOurs(why, detail, status) {
  const message = `This is no answer of a deployment. ${why}`;
  return new RemoteError(message, { status, code: "invalid_reply", detail });
}
