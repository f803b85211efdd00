// Asks a server by OpenAI's package for JavaScript.
// stdin: {url, key, picture, question}; stdout: what came of each request, as ../clients.test.ts expects it.
import { text } from "node:stream/consumers";
import OpenAI from "openai";

/** A request with fields that the package does not know. */
type Asked = Omit<OpenAI.Chat.ChatCompletionCreateParamsNonStreaming, "stream"> & { readonly adaptvis?: object };
/** What the server adds to an answer. */
interface Told {
  readonly intervention: string;
  readonly image_share: readonly number[];
  readonly heatmap: string | null;
}

const { url, key, picture, question } = JSON.parse(await text(process.stdin));
const clientOf = (apiKey: string) => new OpenAI({ baseURL: `${url}/v1`, apiKey, maxRetries: 0 });
const client = clientOf(key);
const about: Asked = {
  model: "tiny-spatial",
  messages: [
    {
      role: "user",
      content: [
        { type: "image_url", image_url: { url: picture } },
        { type: "text", text: question },
      ],
    },
  ],
};
const hello: Asked = { model: "", messages: [{ role: "user", content: "Hello" }] };

const create = (asked: Asked, headers?: Record<string, string>) =>
  client.chat.completions.create(asked, headers && { headers });

async function chunksOf(asked: Asked): Promise<readonly OpenAI.Chat.ChatCompletionChunk[]> {
  const chunks = [];
  const stream = await client.chat.completions.create({
    ...asked,
    stream: true,
    stream_options: { include_usage: true },
  });
  for await (const chunk of stream) chunks.push(chunk);
  return chunks;
}

/** A long stream of which the first text has come. */
async function begun(): Promise<() => void> {
  const stream = await client.chat.completions.create({ ...hello, max_tokens: 500, stream: true });
  // A loop that ends would end the stream.
  const chunks = stream[Symbol.asyncIterator]();
  for (;;) {
    const { value, done } = await chunks.next();
    if (done) throw new Error("no text");
    if (value.choices[0]?.delta.content) return () => stream.controller.abort();
  }
}

type ErrorKind = abstract new (...args: never[]) => Pick<InstanceType<typeof OpenAI.APIError>, "status" | "type">;

async function errorOf(kind: ErrorKind, asked: Asked, by = client): Promise<unknown> {
  try {
    await by.chat.completions.create(asked);
    return 200;
  } catch (error) {
    if (!(error instanceof kind)) throw error;
    return [error.status, error.type];
  }
}

async function untilIdle(): Promise<void> {
  for (;;) {
    const response = await fetch(`${url}/metrics`, { headers: { authorization: `Bearer ${key}` } });
    if (/^adaptvis_requests_running 0$/m.test(await response.text())) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

const named = (answer: object | undefined) => {
  const { adaptvis }: { readonly adaptvis?: Told } = Object(answer);
  return [adaptvis?.intervention, adaptvis?.image_share.length, adaptvis?.heatmap?.slice(0, 22) ?? null];
};
const said = ({ choices: [choice] }: OpenAI.Chat.ChatCompletion) => choice?.message.content;
const joined = (chunks: readonly OpenAI.Chat.ChatCompletionChunk[]) =>
  chunks.map(({ choices }) => choices[0]?.delta.content ?? "").join("");

const chat = await create(about);
const chunks = await chunksOf(about);
const fields = await chunksOf({ ...about, adaptvis: { intervention: "scaling", factor: 0.5, heatmap: true } });
const short = await create({ ...about, max_tokens: 1 });
const stopped = await create({ ...about, stop: [said(chat) ?? ""] });
const withLogProbs = await create({ ...about, logprobs: true, top_logprobs: 2 });
const drawn = { ...about, temperature: 1.5, top_p: 0.9, seed: 7, max_completion_tokens: 6 };
const twice = [said(await create(drawn)), said(await create(drawn))];
const byField = await create({ ...about, adaptvis: { intervention: "adaptvis" } });
const header = JSON.stringify({ intervention: "scaling", factor: 0.5 });
const byHeader = await create(about, { "x-adaptvis": header });

(await begun())();
await untilIdle();
const stop = new AbortController();
const left = client.chat.completions.create({ ...hello, max_tokens: 500 }, { signal: stop.signal });
setTimeout(() => stop.abort(), 20);
const isAborted = await left.then(
  () => false,
  (error: unknown) => error instanceof OpenAI.APIUserAbortError,
);
await untilIdle();

const errors = {
  wrong: await errorOf(OpenAI.BadRequestError, { ...about, n: 2 }),
  key: await errorOf(OpenAI.AuthenticationError, hello, clientOf("x")),
  model: await errorOf(OpenAI.NotFoundError, { ...hello, model: "gpt-5" }),
};
const ends = [await begun(), await begun(), await begun()];
const many = await errorOf(OpenAI.RateLimitError, hello);
for (const end of ends) end();

const { usage } = chunks.at(-1) ?? {};
const [choice] = withLogProbs.choices;
process.stdout.write(
  JSON.stringify({
    chat: [
      said(chat),
      chat.choices[0]?.finish_reason,
      chat.usage?.completion_tokens,
      chat.usage?.prompt_tokens === usage?.prompt_tokens,
    ],
    stream: [joined(chunks), chunks.at(-2)?.choices[0]?.finish_reason, usage?.completion_tokens],
    streamedField: [joined(fields) !== "", ...named(fields.at(-2))],
    length: short.choices[0]?.finish_reason,
    stop: [said(stopped), stopped.choices[0]?.finish_reason],
    logprobs: choice?.logprobs?.content?.map(({ token, top_logprobs: top }) => [token, top.length]),
    isRepeatable: twice[0] === twice[1],
    field: named(byField),
    header: named(byHeader),
    isAborted,
    errors: { ...errors, many },
  }),
);
