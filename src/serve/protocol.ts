// The bodies of requests and answers: OpenAI's chat completions, with the field `adaptvis` beside it. Fields that clients send and that
// change nothing here are ignored; those that would change an answer and are not supported are refused (chat-request.ts).
// Source: https://platform.openai.com/docs/api-reference/chat
import type { z as Types } from "@hono/zod-openapi";
import { z } from "./packages.ts";

const text = z.object({ type: z.literal("text"), text: z.string() });

const picture = z.object({
  type: z.literal("image_url"),
  image_url: z.object({
    url: z
      .string()
      .openapi({ description: "a data URI (data:image/png;base64,…), or an address of a host that the server allows" }),
    detail: z.string().nullish(),
  }),
});

const message = z.object({
  role: z.enum(["developer", "system", "user", "assistant", "tool"]),
  content: z.union([z.string(), z.array(z.discriminatedUnion("type", [text, picture])), z.null()]).optional(),
});

const count = z.int().min(1);

/** What the request wants of adaptvis; every other member is a setting of the intervention, such as `factor`. */
export const extension = z
  .looseObject({
    intervention: z
      .string()
      .optional()
      .openapi({ description: "name of a method: greedy, scaling, adaptvis, …", example: "adaptvis" }),
    attention: z
      .object({
        layers: z.array(z.int().min(0)).optional(),
        heads: z.array(z.int().min(0)).optional(),
        tokens: z
          .array(z.int().min(0))
          .optional()
          .openapi({ description: "indices of generated tokens; the first unless given" }),
      })
      .optional(),
    heatmap: z
      .boolean()
      .optional()
      .openapi({ description: "whether to draw the attention over the first picture, as a PNG in a data URI" }),
  })
  .openapi("AdaptVisRequest");

const jsonSchema = z.object({
  name: z.string(),
  description: z.string().nullish(),
  schema: z
    .union([z.boolean(), z.record(z.string(), z.unknown())])
    .openapi({ description: "what the answer's JSON has to be; keywords that cannot be kept are refused" }),
  strict: z.boolean().nullish().openapi({ description: "every schema is kept strictly" }),
});

/** Body of POST /v1/chat/completions. */
export const chatRequest = z
  .object({
    model: z.string().nullish(),
    messages: z.array(message).min(1),
    max_completion_tokens: count.nullish(),
    max_tokens: count.nullish(),
    temperature: z.number().min(0).max(2).nullish(),
    top_p: z.number().gt(0).max(1).nullish(),
    seed: z.int().nullish(),
    stop: z.union([z.string(), z.array(z.string()).max(4)]).nullish(),
    n: z.int().nullish(),
    logprobs: z.boolean().nullish(),
    top_logprobs: z.int().min(0).max(20).nullish(),
    stream: z.boolean().nullish(),
    stream_options: z.object({ include_usage: z.boolean().nullish() }).nullish(),
    response_format: z
      .looseObject({
        type: z.string(),
        choices: z.array(z.string().min(1)).min(1).optional(),
        json_schema: jsonSchema.optional(),
      })
      .nullish()
      .openapi({
        description:
          'text; {type: "choice", choices: […]}: the answer is one of these texts; {type: "json_object"}; or {type: "json_schema", json_schema: {name, schema}}',
      }),
    frequency_penalty: z.number().nullish(),
    presence_penalty: z.number().nullish(),
    logit_bias: z.record(z.string(), z.number()).nullish(),
    tools: z.array(z.unknown()).nullish(),
    functions: z.array(z.unknown()).nullish(),
    adaptvis: extension.nullish(),
  })
  .openapi("ChatCompletionRequest");

/** A checked request. */
export type ChatRequest = Types.infer<typeof chatRequest>;

/** What a request wants of adaptvis. */
export type Extension = Types.infer<typeof extension>;

const logProb = z.object({ token: z.string(), logprob: z.number(), bytes: z.array(z.int()).nullable() });

const tokenLogProb = logProb.extend({ top_logprobs: z.array(logProb) });

const logProbs = z.object({ content: z.array(tokenLogProb), refusal: z.null() }).nullable();

const finishReason = z.enum(["stop", "length"]);

const usage = z.object({
  prompt_tokens: z.int(),
  completion_tokens: z.int(),
  total_tokens: z.int(),
  prompt_tokens_details: z.object({ cached_tokens: z.int(), image_tokens: z.int() }),
});

/** Attention of one row on the first picture, per layer. */
const perLayer = z.object({
  image_share: z
    .array(z.number())
    .openapi({ description: "per layer: attention on the picture as a share of all, mean over heads" }),
  entropy: z
    .array(z.number())
    .openapi({ description: "per layer: entropy of the attention over the picture's patches, in bits" }),
});

/** What adaptvis adds to an answer. */
export const extensionAnswer = z
  .object({
    intervention: z.string(),
    settings: z.record(z.string(), z.unknown()),
    confidence: z.number().openapi({ description: "of the first token, in the unmodified pass where there is one" }),
    factor: z.number().openapi({ description: "what image scores were multiplied by; 1 where nothing was" }),
    seed: z.int().nullable().openapi({ description: "that tokens were drawn with; null for a greedy answer" }),
    image_share: z.array(z.number()).nullable(),
    entropy: z.array(z.number()).nullable(),
    unmodified: perLayer.nullable(),
    heatmap: z.string().nullable().openapi({ description: "a PNG as a data URI" }),
    attention: z
      .array(
        z.object({
          token: z.int(),
          layer: z.int(),
          head: z.int(),
          width: z.int(),
          height: z.int(),
          share: z.number(),
          entropy: z.number(),
          values: z
            .array(z.number())
            .openapi({ description: "[height, width]: attention of each patch of the first picture" }),
        }),
      )
      .nullable(),
  })
  .openapi("AdaptVisAnswer");

/** What adaptvis adds to an answer. */
export type ExtensionAnswer = Types.infer<typeof extensionAnswer>;

/** Answer of POST /v1/chat/completions. */
export const chatCompletion = z
  .object({
    id: z.string(),
    object: z.literal("chat.completion"),
    created: z.int(),
    model: z.string(),
    choices: z.array(
      z.object({
        index: z.int(),
        message: z.object({ role: z.literal("assistant"), content: z.string(), refusal: z.null() }),
        logprobs: logProbs,
        finish_reason: finishReason,
      }),
    ),
    usage,
    adaptvis: extensionAnswer.optional(),
  })
  .openapi("ChatCompletion");

/** Answer of POST /v1/chat/completions. */
export type ChatCompletion = Types.infer<typeof chatCompletion>;

/** One event of a stream. */
export const chatChunk = z
  .object({
    id: z.string(),
    object: z.literal("chat.completion.chunk"),
    created: z.int(),
    model: z.string(),
    choices: z.array(
      z.object({
        index: z.int(),
        delta: z.object({ role: z.literal("assistant").optional(), content: z.string().optional() }),
        logprobs: logProbs,
        finish_reason: finishReason.nullable(),
      }),
    ),
    usage: usage.nullable().optional(),
    adaptvis: extensionAnswer.optional(),
  })
  .openapi("ChatCompletionChunk");

/** One event of a stream. */
export type ChatChunk = Types.infer<typeof chatChunk>;

/** Answer of GET /v1/models. */
export const modelList = z
  .object({
    object: z.literal("list"),
    data: z.array(z.object({ id: z.string(), object: z.literal("model"), created: z.int(), owned_by: z.string() })),
  })
  .openapi("ModelList");

/** Every error. */
export const errorBody = z
  .object({
    error: z.object({
      message: z.string(),
      type: z.string(),
      param: z.string().nullable(),
      code: z.string().nullable(),
    }),
  })
  .openapi("Error");
