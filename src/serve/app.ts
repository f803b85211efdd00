// The server as a web-standard application: fetch(Request) → Response, for Node and Deno alike.
import type { Context, Hono } from "hono";
import type { StatusCode } from "hono/utils/http-status";
import type { GeneratedToken } from "../generate/generate.ts";
import { Admission, type AdmissionLimits } from "./admission.ts";
import { ApiError, apiErrorOf } from "./api-error.ts";
import { type RequestLimits, readRequest } from "./chat-request.ts";
import { type AnswerHead, type ChatAnswer, completion, lastChunk, textChunk, usageChunk } from "./chat-response.ts";
import type { ChatService } from "./chat-service.ts";
import { type GuardOptions, guard } from "./guard.ts";
import { Metrics } from "./metrics.ts";
import { describeApi } from "./openapi.ts";
import {
  bearerAuth,
  bodyLimit,
  cors,
  HTTPException,
  OpenAPIHono,
  requestId,
  secureHeaders,
  streamSSE,
} from "./packages.ts";
import { PAGE, PAGE_POLICY, PAGE_SCRIPT, PAGE_STYLE } from "./page.ts";
import type { PictureReader } from "./pictures.ts";
import { type ChatRequest, chatRequest, type Extension, extension } from "./protocol.ts";
import { TokenChannel } from "./token-channel.ts";
import { Trimmer } from "./trimmer.ts";

/** One line of the log. */
export interface LogLine {
  readonly request: string;
  readonly method: string;
  readonly path: string;
  readonly status: number;
  readonly ms: number;
  readonly promptTokens?: number;
  readonly tokens?: number;
  readonly intervention?: string;
  /** Only where prompts are logged. */
  readonly messages?: unknown;
  /** What failed, for the owner; never sent to the client. */
  readonly error?: unknown;
}

/** What a server serves, and to whom. */
export interface AppOptions extends GuardOptions {
  readonly service: ChatService;
  /** As /v1/models lists it. */
  readonly modelId: string;
  readonly admission: AdmissionLimits;
  readonly limits: RequestLimits;
  readonly pictures: PictureReader;
  readonly maxBodyBytes: number;
  /** Without it, no key is asked for. */
  readonly apiKey: string | undefined;
  readonly logsPrompts: boolean;
  readonly log: (line: LogLine) => void;
  /** What tells clients apart where there is no key: their address. */
  readonly clientOf: (context: Context) => string;
}

/** A server's application. */
export interface ServerApp {
  readonly fetch: Hono["fetch"];
  /** Takes no more requests and waits for those that run; after `graceMs` they are stopped. */
  drain(graceMs: number): Promise<void>;
}

/** What is noted about a request for its line of the log. */
type Notes = {
  -readonly [Name in "promptTokens" | "tokens" | "intervention" | "messages" | "error"]?: LogLine[Name];
} & {
  /** When it arrived. */
  readonly started: number;
  /** A stream is logged at its end. */
  isStream?: boolean;
};

type Env = { Variables: { readonly requestId: string; readonly notes: Notes } };

/** Makes the application. */
export function createApp(options: AppOptions): ServerApp {
  const { service, modelId, apiKey, maxBodyBytes, origins } = options;
  const admission = new Admission(options.admission);
  const metrics = new Metrics({
    numRunning: () => admission.numRunning,
    numWaiting: () => admission.numWaiting,
    gpuBytes: () => service.gpuBytes,
  });
  const created = Math.floor(Date.now() / 1000);
  const app = new OpenAPIHono<Env>();

  app.onError((error, context) => (error instanceof HTTPException ? error.getResponse() : failed(context, error)));
  app.notFound((context) =>
    refused(context, new ApiError(404, `${context.req.method} ${context.req.path} does not exist.`)),
  );
  const logRequest = (context: Context<Env>, status: number) => {
    const { method, path } = context.req;
    if (path === CHAT_PATH) metrics.requests.inc({ status: String(status) });
    const { started, isStream: _, ...notes } = context.get("notes");
    const ms = Math.round(performance.now() - started);
    options.log({ request: context.get("requestId"), method, path, status, ms, ...notes });
  };
  app.use(requestId(), async (context, next) => {
    const notes: Notes = { started: performance.now() };
    context.set("notes", notes);
    await next();
    if (notes.isStream !== true) logRequest(context, context.res.status);
  });
  // Whether a name is reached by https only is for the proxy in front to say, which knows all that is served under it.
  app.use(secureHeaders({ crossOriginResourcePolicy: false, strictTransportSecurity: false }));
  app.use(guard(options));
  if (origins.length > 0) app.use(cors({ origin: [...origins] }));
  app.get("/health", (context) =>
    admission.isEnding ? context.json({ status: "ending" }, 503) : context.json({ status: "ok" }),
  );
  app.get("/", (context) => context.html(PAGE, 200, { "content-security-policy": PAGE_POLICY }));
  app.get("/page.js", (context) =>
    context.body(PAGE_SCRIPT, 200, { "content-type": "text/javascript; charset=utf-8" }),
  );
  app.get("/page.css", (context) => context.body(PAGE_STYLE, 200, { "content-type": "text/css; charset=utf-8" }));
  if (apiKey !== undefined) app.use(keyed(apiKey));
  app.get("/metrics", async (context) => {
    const { body, contentType } = await metrics.text();
    return context.body(body, 200, { "content-type": contentType });
  });
  app.get("/v1/models", (context) =>
    context.json({ object: "list", data: [{ id: modelId, object: "model", created, owned_by: "adaptvis" }] }),
  );
  app.use(
    CHAT_PATH,
    bodyLimit({
      maxSize: maxBodyBytes,
      onError: (context) =>
        refused(context, new ApiError(413, `The body is larger than ${maxBodyBytes} bytes; send smaller pictures.`)),
    }),
  );
  app.post(CHAT_PATH, async (context) => {
    const body = parsed(chatRequest, await bodyOf(context));
    checkModel(body, modelId);
    const notes = context.get("notes");
    const { started: arrived } = notes;
    if (options.logsPrompts) notes.messages = logged(body.messages);
    const stop = new AbortController();
    const { signal: gone } = context.req.raw;
    const leave = () => stop.abort();
    gone.addEventListener("abort", leave, { once: true });
    const { limits, pictures } = options;
    const head: AnswerHead = {
      id: `chatcmpl-${context.get("requestId")}`,
      created: Math.floor(Date.now() / 1000),
      model: modelId,
    };
    const channel = new TokenChannel();
    const whole = admission.run(options.clientOf(context), stop.signal, async (signal) => {
      const asked = await readRequest(body, { header: headerOf(context), limits, pictures, signal });
      let first: number | undefined;
      const onToken = (token: GeneratedToken) => {
        first ??= performance.now();
        channel.push(token);
      };
      const answer = await service.answer(asked, { signal, onToken });
      count(answer, { arrived, first });
      notes.promptTokens = answer.answer.promptTokens;
      notes.tokens = answer.answer.tokens.length;
      notes.intervention = answer.answer.method;
      return answer;
    });
    const over = () => {
      channel.end();
      // Node 20 keeps the signal of a request, and all that its listeners hold, as long as these are not removed.
      gone.removeEventListener("abort", leave);
    };
    whole.then(over, over);
    if (body.stream !== true) {
      const answer = await whole;
      return context.json(completion(head, answer, body.logprobs === true ? service.textOf : undefined));
    }
    await channel.begun; // an error before the first token has a status of its own
    if (channel.isEmpty) await whole;
    const textOf = body.logprobs === true ? service.textOf : undefined;
    notes.isStream = true;
    const response = streamSSE(context, async (sse) => {
      sse.onAbort(() => stop.abort());
      const usage = body.stream_options?.include_usage === true ? { usage: null } : {};
      const send = (data: object) => sse.writeSSE({ data: JSON.stringify({ ...usage, ...data }) });
      const trimmer = new Trimmer();
      try {
        await send(textChunk(head, "", { token: undefined, textOf }));
        for await (const token of channel) {
          const content = trimmer.push(token.text);
          if (content !== "" || textOf !== undefined) await send(textChunk(head, content, { token, textOf }));
        }
        const answer = await whole;
        await send(lastChunk(head, answer));
        if ("usage" in usage) await send(usageChunk(head, answer));
        await sse.writeSSE({ data: "[DONE]" });
        logRequest(context, 200);
      } catch (error) {
        const told = apiErrorOf(error);
        const isGone = sse.aborted || stop.signal.aborted;
        if (told.status >= 500 && !isGone) notes.error = error;
        logRequest(context, isGone ? CLIENT_IS_GONE : told.status);
        await send(told.body);
      }
    });
    // It is the port that knows what the client asked for and understands.
    for (const name of ["connection", "transfer-encoding"]) response.headers.delete(name);
    return response;
  });
  describeApi(app, { needsKey: apiKey !== undefined });

  function count(answer: ChatAnswer, times: { readonly arrived: number; readonly first: number | undefined }): void {
    const { promptTokens, reusedTokens, tokens } = answer.answer;
    const now = performance.now();
    const { arrived, first = now } = times;
    metrics.promptTokens.inc(promptTokens);
    metrics.reusedTokens.inc(reusedTokens);
    metrics.generatedTokens.inc(tokens.length);
    metrics.timeToFirstToken.observe((first - arrived) / 1000);
    metrics.requestSeconds.observe((now - arrived) / 1000);
    if (tokens.length > 1) metrics.tokenSeconds.observe((now - first) / 1000 / (tokens.length - 1));
  }

  return { fetch: app.fetch, drain: (graceMs) => admission.drain(graceMs) };
}

const CHAT_PATH = "/v1/chat/completions";

/** As nginx logs it: the client went away before the answer. */
const CLIENT_IS_GONE = 499 as StatusCode; // not among the codes of the type

function failed(context: Context<Env>, error: unknown): Response {
  const isGone =
    context.req.raw.signal.aborted || (error instanceof Error && "code" in error && error.code === "ECONNRESET");
  if (isGone) return context.body(null, CLIENT_IS_GONE); // nobody reads it; the log does
  const answer = apiErrorOf(error);
  if (answer.status >= 500) context.get("notes").error = error;
  return refused(context, answer);
}

function refused(context: Context, error: ApiError): Response {
  const { retryAfter } = error;
  // OpenAI's clients repeat what may be repeated by themselves.
  const headers = retryAfter === undefined ? undefined : { "retry-after": String(retryAfter) };
  return context.json(error.body, error.status, headers);
}

/** Messages as they are logged: of a picture, its type and length. */
function logged(messages: ChatRequest["messages"]): unknown {
  const shortened = (_: string, value: unknown) =>
    typeof value === "string" && /^data:/i.test(value)
      ? `${value.slice(0, Math.min(value.indexOf(",") + 1, 40))}… (${value.length} characters)`
      : value;
  return JSON.parse(JSON.stringify(messages, shortened));
}

/** Asks for the key, which is compared in constant time. */
function keyed(apiKey: string) {
  const message = (text: string) => ({ message: new ApiError(401, text, { code: "invalid_api_key" }).body });
  return bearerAuth({
    token: apiKey,
    noAuthenticationHeader: message("The API key is missing: send it as Authorization: Bearer KEY."),
    invalidAuthenticationHeader: message("The header Authorization must be Bearer KEY."),
    invalidToken: message("The API key is wrong."),
  });
}

async function bodyOf(context: Context): Promise<unknown> {
  try {
    return await context.req.json();
  } catch (error) {
    if (error instanceof SyntaxError) throw new ApiError(400, "The body is not valid JSON.");
    throw error;
  }
}

/** @throws ApiError naming the first field that is wrong. */
function parsed<T>(
  schema: {
    safeParse(value: unknown): {
      readonly success: boolean;
      readonly data?: T;
      readonly error?: {
        readonly issues: readonly { readonly path: readonly PropertyKey[]; readonly message: string }[];
      };
    };
  },
  value: unknown,
): T {
  const { success, data, error } = schema.safeParse(value);
  if (success && data !== undefined) return data;
  const [issue] = error?.issues ?? [];
  const path = issue?.path.map(String).join(".") ?? "";
  const where = path === "" ? "The body" : path.slice(0, 80);
  throw new ApiError(400, `${where}: ${(issue?.message ?? "it is wrong").slice(0, 200)}.`, {
    ...(path !== "" && { param: path.slice(0, 80) }),
  });
}

/** @throws ApiError for another model's name; clients that name none get the one there is. */
function checkModel({ model }: ChatRequest, modelId: string): void {
  if (model == null || model === "" || model === modelId) return;
  throw new ApiError(404, `model: this server has ${modelId} only.`, { param: "model", code: "model_not_found" });
}

/** What the header x-adaptvis asks for, as JSON. @throws ApiError. */
function headerOf(context: Context): Extension | undefined {
  const header = context.req.header("x-adaptvis");
  if (header === undefined) return undefined;
  let value: unknown;
  try {
    value = JSON.parse(header);
  } catch {
    throw new ApiError(400, "The header x-adaptvis is not valid JSON.");
  }
  return parsed(extension, value);
}
