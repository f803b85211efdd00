// Asks a server by the AI SDK; run by Node 22 or newer, from a bundle with the packages that tools/install-runtimes.mjs fetches.
// stdin: {url, key, picture, question}; stdout: what came of each request, as ../clients.test.ts expects it.
import { text } from "node:stream/consumers";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { generateText, streamText } from "ai";

const { url, key, picture, question } = JSON.parse(await text(process.stdin));

/** The server's model, with the provider's settings and the metadata that is ours. */
function modelBy({ apiKey = key, headers = {}, id = "tiny-spatial" } = {}) {
  const told = ({ adaptvis = {}, choices: [choice] = [] }) => ({
    adaptvis: { ...adaptvis, logprobs: choice?.logprobs },
  });
  const metadataExtractor = {
    extractMetadata: async ({ parsedBody }) => told(parsedBody),
    createStreamExtractor() {
      let last;
      return {
        processChunk: (chunk) => {
          if (chunk.adaptvis !== undefined) last = told(chunk);
        },
        buildMetadata: () => last,
      };
    },
  };
  const baseURL = `${url}/v1`;
  const settings = { name: "adaptvis", baseURL, apiKey, headers, includeUsage: true, metadataExtractor };
  return createOpenAICompatible(settings).chatModel(id);
}

const model = modelBy();
const mediaType = picture.slice("data:".length, picture.indexOf(";"));
const data = picture.slice(picture.indexOf(",") + 1);
const content = [
  { type: "file", mediaType, data },
  { type: "text", text: question },
];
const messages = [{ role: "user", content }];
const asked = { model, messages, maxRetries: 0 };
const hello = { model, prompt: "Hello", maxRetries: 0 };
/** Fields that the package does not know go into the body as they are. */
const withFields = (fields) => ({ ...asked, providerOptions: { adaptvis: fields } });
const named = ({ intervention, image_share: share, heatmap }) => [
  intervention,
  share.length,
  heatmap?.slice(0, 22) ?? null,
];

async function statusOf(options) {
  try {
    await generateText(options);
    return 200;
  } catch (error) {
    return [error.statusCode, JSON.parse(error.responseBody).error.type];
  }
}

async function untilIdle() {
  for (;;) {
    const response = await fetch(`${url}/metrics`, { headers: { authorization: `Bearer ${key}` } });
    if (/^adaptvis_requests_running 0$/m.test(await response.text())) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** A long stream of which the first text has come. */
async function begun(abortSignal) {
  const stream = streamText({ ...hello, maxOutputTokens: 500, abortSignal, onError: () => undefined });
  const parts = stream.fullStream[Symbol.asyncIterator]();
  for (;;) {
    const { value, done } = await parts.next();
    if (done || value.type === "error") throw new Error(`no text, but ${JSON.stringify(value)}`);
    if (value.type === "text-delta") return parts;
  }
}

const chat = await generateText(asked);
const stream = streamText(withFields({ adaptvis: { intervention: "scaling", factor: 0.5, heatmap: true } }));
let streamed = "";
for await (const delta of stream.textStream) streamed += delta;
const plain = streamText(asked);
let plainText = "";
for await (const delta of plain.textStream) plainText += delta;
const short = await generateText({ ...asked, maxOutputTokens: 1 });
const stopped = await generateText({ ...asked, stopSequences: [chat.text] });
const withLogProbs = await generateText(withFields({ logprobs: true, top_logprobs: 2 }));
const drawn = { ...asked, temperature: 1.5, topP: 0.9, seed: 7, maxOutputTokens: 6 };
const twice = [(await generateText(drawn)).text, (await generateText(drawn)).text];
const byField = await generateText(withFields({ adaptvis: { intervention: "adaptvis" } }));
const headers = { "x-adaptvis": JSON.stringify({ intervention: "scaling", factor: 0.5 }) };
const byHeader = await generateText({ ...asked, model: modelBy({ headers }) });

const stop = new AbortController();
const left = await begun(stop.signal);
stop.abort();
let ending;
for (let part = await left.next(); !part.done; part = await left.next()) ending = part.value.type;
await untilIdle();

const errors = {
  wrong: await statusOf(withFields({ n: 2 })),
  key: await statusOf({ ...hello, model: modelBy({ apiKey: "x" }) }),
  model: await statusOf({ ...hello, model: modelBy({ id: "gpt-5" }) }),
};
const stops = [new AbortController(), new AbortController(), new AbortController()];
for (const { signal } of stops) await begun(signal);
errors.many = await statusOf(hello);
for (const each of stops) each.abort();

process.stdout.write(
  JSON.stringify({
    chat: [chat.text, chat.finishReason, chat.usage.outputTokens, chat.usage.inputTokens === short.usage.inputTokens],
    stream: [plainText, await plain.finishReason, (await plain.usage).outputTokens],
    streamedField: [streamed !== "", ...named((await stream.providerMetadata).adaptvis)],
    length: short.finishReason,
    stop: [stopped.text, stopped.finishReason],
    logprobs: withLogProbs.providerMetadata.adaptvis.logprobs.content.map(({ token, top_logprobs: top }) => [
      token,
      top.length,
    ]),
    isRepeatable: twice[0] === twice[1],
    field: named(byField.providerMetadata.adaptvis),
    header: named(byHeader.providerMetadata.adaptvis),
    isAborted: ending === "abort",
    errors,
  }),
);
process.exit();
