/** What a call is told besides its input. It is sent in snake case, as Python spells it. */
export interface RunConfig {
  tags?: string[];
  metadata?: Record<string, unknown>;
  configurable?: Record<string, any>;
  runName?: string;
  maxConcurrency?: number;
  recursionLimit?: number;
  /** The id that the run shall have, a UUID. */
  runId?: string;
  /** Ends the call, and on the server its run. */
  signal?: AbortSignal;
  /** Milliseconds for the whole of the call, a stream's last chunk included. */
  timeout?: number;
  /** Taken and left here: LangChain.js has more, such as `callbacks` and `version`. */
  [key: string]: unknown;
}

/** Which events a run of many steps shall send. */
export interface EventFilters {
  includeNames?: string[];
  includeTypes?: string[];
  includeTags?: string[];
  excludeNames?: string[];
  excludeTypes?: string[];
  excludeTags?: string[];
  /** `streamEvents` only: of all that an agent does, the words of its answer. */
  preset?: "final_answer";
}

export interface BatchOptions {
  /** Instead of failing, give a RemoteError in the place of each output that could not be had. */
  returnExceptions?: boolean;
  maxConcurrency?: number;
}

/** One of LangChain's events, as it was sent. */
export interface StreamEvent {
  event: string;
  name: string;
  run_id: string;
  tags?: string[];
  metadata: Record<string, any>;
  data: any;
  parent_ids?: string[];
}

/** JSON Patch operations on the log of a run. */
export interface RunLogPatch {
  ops: { op: string; path: string; value?: any; from?: string }[];
}

export interface RemoteRunnableFields {
  /** Where the deployment is: absolute, or in a browser relative to the page. */
  url: string;
  options?: {
    /** Milliseconds for each call; without it a call may take as long as it takes. */
    timeout?: number;
    headers?: HeadersInit;
  };
  fetch?: (url: string, init: RequestInit) => Promise<Response>;
  /** Goes to fetch with each request, such as `{ credentials: "include" }` for other origins. */
  fetchRequestOptions?: Omit<RequestInit, "body" | "method" | "signal">;
  /** An API token, or what gives one before each request. */
  token?: string | (() => string | undefined | Promise<string | undefined>);
  /** The cookie that holds the CSRF token; `csrftoken` unless the site says otherwise. */
  csrfCookie?: string;
  /** One socket for all runs instead of a request for each. */
  transport?: "http" | "websocket";
  /** The class of sockets where the platform has none, such as that of npm's `ws`. */
  WebSocket?: new (url: string) => any;
}

export class RemoteRunnable<Input = any, Output = any> {
  constructor(fields: RemoteRunnableFields);
  /** The id of the run that was named last; a stream has its own `runId`. */
  lastRunId: string | undefined;
  invoke(input: Input, config?: RunConfig): Promise<Output>;
  batch(
    inputs: Input[],
    configs?: RunConfig | RunConfig[],
    options?: BatchOptions & { returnExceptions?: false },
  ): Promise<Output[]>;
  batch(
    inputs: Input[],
    configs: RunConfig | RunConfig[] | undefined,
    options: BatchOptions,
  ): Promise<(Output | RemoteError)[]>;
  /** Resolves when the server has begun to answer. */
  stream(input: Input, config?: RunConfig): Promise<RunStream<Output>>;
  streamEvents(input: Input, config?: RunConfig, filters?: EventFilters): RunStream<StreamEvent>;
  streamLog(input: Input, config?: RunConfig, filters?: EventFilters): RunStream<RunLogPatch>;
  cancel(runId: string): Promise<{ run_id?: string; status: string }>;
  /** The JSON Schema of what `invoke` takes. */
  inputSchema(): Promise<Record<string, any>>;
  /** The JSON Schema of what `invoke` gives. */
  outputSchema(): Promise<Record<string, any>>;
  /** The JSON Schema of the config that callers may send. */
  configSchema(): Promise<Record<string, any>>;
  /** Close the WebSocket, if there is one: its runs end. The next call opens another. */
  close(): void;
}

export class RunStream<T = any> extends ReadableStream<T> {
  /** Known as soon as the server has begun to answer. */
  runId: string | undefined;
  [Symbol.asyncIterator](options?: { preventCancel?: boolean }): any;
}

export interface RemoteErrorFields {
  status?: number;
  code?: string;
  detail?: any;
  runId?: string;
  retryAfter?: number;
  cause?: unknown;
}

export class RemoteError extends Error {
  constructor(message: string, fields?: RemoteErrorFields);
  /** The HTTP status, 0 where no answer came. */
  status: number;
  /** One word for programs: the server's, or `connection_lost`, or `invalid_reply`. */
  code: string;
  /** What LangServe calls `detail`: a text, or a list of what is wrong with the input. */
  detail: any;
  runId: string | undefined;
  /** Seconds after which to try again. */
  retryAfter: number | undefined;
}

export interface ServerSentEvent {
  event: string;
  data: string;
  id: string;
}

/** Server-Sent Events out of bytes, however these were cut. */
export function parseEvents(stream: ReadableStream<Uint8Array>): AsyncGenerator<ServerSentEvent, void, void>;
