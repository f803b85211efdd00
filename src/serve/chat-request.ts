// From a request's body to the engine's messages and options.
import type { AnswerOptions } from "../answer.ts";
import { InputError, oneLine, shown } from "../errors.ts";
import { checkedSchema, type JsonSchema, jsonSchemaGrammar } from "../generate/grammar/json-schema.ts";
import type { ConversationMessage } from "../models/processor.ts";
import { ApiError } from "./api-error.ts";
import { type PictureReader, readPicture } from "./pictures.ts";
import type { ChatRequest, Extension } from "./protocol.ts";

/** What the server allows and assumes. */
export interface RequestLimits {
  /** Most new tokens of an answer; also where a request gives none. */
  readonly maxNewTokens: number;
  readonly maxPictures: number;
}

/** A request as the engine takes it. */
export interface AskedChat {
  readonly messages: readonly ConversationMessage[];
  readonly options: AnswerOptions;
  /** That tokens are drawn with; null for a greedy answer. */
  readonly seed: number | null;
  /** Undefined where the request wants nothing of adaptvis. */
  readonly extension: Extension | undefined;
}

/**
 * Reads a checked body.
 * @param header what the header x-adaptvis gives where the body has no `adaptvis`
 * @throws ApiError for what is not supported, and for a picture that cannot be got; InputError for a picture that cannot be decoded.
 */
export async function readRequest(
  body: ChatRequest,
  context: {
    readonly header: Extension | undefined;
    readonly limits: RequestLimits;
    readonly pictures: PictureReader;
    readonly signal: AbortSignal;
  },
): Promise<AskedChat> {
  refuseUnsupported(body);
  const { limits } = context;
  const extension = body.adaptvis ?? context.header;
  const { intervention, attention: _attention, heatmap: _heatmap, ...settings } = extension ?? {};
  const temperature = body.temperature ?? 0;
  const seed = temperature === 0 ? null : (body.seed ?? crypto.getRandomValues(new Uint32Array(1))[0] ?? 0);
  const stop = body.stop ?? undefined;
  const wanted = body.max_completion_tokens ?? body.max_tokens ?? limits.maxNewTokens;
  const format = formatOf(body);
  return {
    messages: await readMessages(body, context),
    options: {
      ...settings,
      // The engine checks the name and the settings, which are any JSON.
      ...(intervention !== undefined && { method: intervention as NonNullable<AnswerOptions["method"]> }),
      maxNewTokens: Math.min(wanted, limits.maxNewTokens),
      ...(stop !== undefined && { stop: typeof stop === "string" ? [stop] : stop }),
      ...(seed !== null && { sampling: { temperature, topP: body.top_p ?? 1, seed } }),
      ...(body.logprobs === true && { topLogProbs: body.top_logprobs ?? 0 }),
      ...format,
      ...(extension !== undefined && { attention: true }),
    },
    seed,
    extension,
  };
}

/** Refuses fields that would change the answer and are not supported. */
function refuseUnsupported(body: ChatRequest): void {
  const unsupported = (param: string, what: string) => {
    throw new ApiError(400, `${param}: ${what}.`, { param, code: "unsupported_value" });
  };
  if ((body.n ?? 1) !== 1) unsupported("n", "only one answer per request is supported");
  if ((body.tools ?? []).length > 0) unsupported("tools", "tools are not supported");
  if ((body.functions ?? []).length > 0) unsupported("functions", "functions are not supported");
  for (const param of ["frequency_penalty", "presence_penalty"] as const) {
    if ((body[param] ?? 0) !== 0) unsupported(param, "only 0 is supported");
  }
  if (Object.keys(body.logit_bias ?? {}).length > 0) unsupported("logit_bias", "it is not supported");
  if (body.top_logprobs != null && body.logprobs !== true) unsupported("top_logprobs", "logprobs must be true with it");
}

/** What the format of the answer is for the engine. @throws ApiError for an unknown format, or a schema that cannot be kept. */
function formatOf({ response_format: format }: ChatRequest): Pick<AnswerOptions, "choices" | "jsonSchema"> {
  if (format == null || format.type === "text") return {};
  if (format.type === "choice" && format.choices !== undefined) return { choices: format.choices };
  if (format.type === "json_object") return { jsonSchema: { type: "object" } };
  if (format.type === "json_schema" && format.json_schema !== undefined) {
    const { schema } = format.json_schema;
    checkSchema(schema);
    return { jsonSchema: schema };
  }
  throw new ApiError(
    400,
    `response_format must be {type: "text"}, {type: "choice", choices: [texts]}, {type: "json_object"} or {type: "json_schema", json_schema: {name, schema}}, got ${shown(format.type)}.`,
    { param: "response_format", code: "unsupported_value" },
  );
}

/** Refuses a schema under the name that the client gives it. */
function checkSchema(schema: JsonSchema): void {
  try {
    jsonSchemaGrammar(checkedSchema(schema));
  } catch (error) {
    if (!(error instanceof InputError)) throw error;
    const message = oneLine(error.message).replace(/^jsonSchema/, "response_format.json_schema.schema");
    throw new ApiError(400, message, { param: "response_format", code: "unsupported_value" });
  }
}

async function readMessages(
  { messages }: ChatRequest,
  {
    limits,
    pictures,
    signal,
  }: { readonly limits: RequestLimits; readonly pictures: PictureReader; readonly signal: AbortSignal },
): Promise<readonly ConversationMessage[]> {
  const read: ConversationMessage[] = [];
  let numPictures = 0;
  for (const { role, content } of messages) {
    if (role === "tool") throw new ApiError(400, "messages: the role tool is not supported.", { param: "messages" });
    const name = role === "developer" ? "system" : role;
    if (typeof content === "string" || content == null) {
      read.push({ role: name, content: content ?? "" });
      continue;
    }
    const parts = [];
    for (const part of content) {
      if (part.type === "text") {
        parts.push(part);
        continue;
      }
      if (role !== "user") {
        throw new ApiError(400, `messages: pictures belong into messages of the user, got one of ${role}.`, {
          param: "messages",
        });
      }
      numPictures++;
      if (numPictures > limits.maxPictures) {
        throw new ApiError(400, `messages: at most ${limits.maxPictures} pictures are allowed.`, { param: "messages" });
      }
      parts.push({ type: "image" as const, image: await readPicture(part.image_url.url, pictures, signal) });
    }
    read.push({ role: name, content: parts });
  }
  return read;
}
