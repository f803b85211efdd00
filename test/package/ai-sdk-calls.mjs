// Calls of the AI SDK with adaptvis' provider, in the same words in Node and in the browser. What comes of them is plain data.
// JavaScript, since the SDK is not among the repository's packages (npm run runtimes fetches it).
import { generateText, jsonSchema, Output, streamText } from "ai";

const QUESTION = "Where is the mug in relation to the dog? Answer with left, right, on or under.";

/**
 * @param model the SDK's language model
 * @param picture a JPEG file's bytes
 */
export async function callAll(model, picture) {
  const base64 = btoa(Array.from(picture, (byte) => String.fromCharCode(byte)).join(""));
  const ask = (data, options = {}) => ({
    model,
    messages: [
      {
        role: "user",
        content: [
          { type: "file", mediaType: "image/jpeg", data },
          { type: "text", text: QUESTION },
        ],
      },
    ],
    maxRetries: 0,
    ...options,
  });
  const generate = async (data, options) => {
    const { text, finishReason, usage, warnings = [], finalStep } = await generateText(ask(data, options));
    const { adaptvis } = finalStep.providerMetadata;
    return { text, finishReason, usage, features: warnings.map(({ feature }) => feature), adaptvis };
  };
  const failure = async (work) => {
    try {
      await work();
      return "no error";
    } catch ({ name, message }) {
      return `${name}: ${message}`;
    }
  };

  const pdf = new TextEncoder().encode("%PDF-1.7");

  const bytes = await generate(picture);
  const steered = await generate(`data:image/jpeg;base64,${base64}`, {
    providerOptions: { adaptvis: { method: "adaptvis", confidence: ["Left", "Right"] } },
  });
  const downloaded = await generate(new URL("https://example.org/picture.jpg"), {
    experimental_download: async (list) => list.map(() => ({ data: picture, mediaType: "image/jpeg" })),
  });

  const streamed = streamText(ask(base64, { providerOptions: { adaptvis: { method: "scaling", factor: 0.5 } } }));
  const deltas = [];
  for await (const delta of streamed.textStream) deltas.push(delta);
  const stream = {
    text: deltas.join(""),
    finishReason: await streamed.finishReason,
    outputTokens: (await streamed.usage).outputTokens,
    factor: (await streamed.finalStep).providerMetadata.adaptvis.factor,
  };

  const drawn = { temperature: 1.5, topP: 0.95, topK: 40, maxOutputTokens: 6 };
  const seeded = [await generate(picture, { ...drawn, seed: 7 }), await generate(picture, { ...drawn, seed: 7 })];
  const unseeded = await generate(picture, drawn);

  const schema = jsonSchema({
    type: "object",
    properties: { where: { enum: ["left", "right", "on", "under"] } },
    required: ["where"],
    additionalProperties: false,
  });
  const { output } = await generateText(ask(picture, { output: Output.object({ schema }) }));

  // Long enough to be stopped on the way: the schema does not let it end.
  const long = jsonSchema({
    type: "object",
    properties: { text: { type: "string", minLength: 200 } },
    required: ["text"],
  });
  const controller = new AbortController();
  const kinds = [];
  const stopped = streamText(
    ask(picture, { output: Output.object({ schema: long }), abortSignal: controller.signal, onError: () => undefined }),
  );
  for await (const { type } of stopped.fullStream) {
    kinds.push(type);
    if (type === "text-delta") controller.abort();
  }

  const unsupported = await generate(picture, {
    presencePenalty: 0.5,
    frequencyPenalty: 0.5,
    topK: 5,
    topP: 0.5,
    reasoning: "high",
    tools: { look: { description: "Looks.", inputSchema: jsonSchema({ type: "object", properties: {} }) } },
  });

  const text = (role, content) => ({ role, content });
  const turns = await generateText({
    model,
    maxRetries: 0,
    maxOutputTokens: 4,
    messages: [
      ...ask(picture).messages,
      text("assistant", "Left"),
      text("user", "Where is the dog in relation to the mug?"),
    ],
  });
  return {
    bytes: { ...bytes, usage: usageOf(bytes.usage) },
    steered: { ...steered, usage: usageOf(steered.usage) },
    downloaded: downloaded.text,
    stream,
    seeded: seeded.map((each) => ({ text: each.text, seed: each.adaptvis.seed })),
    hasOwnSeed: Number.isInteger(unseeded.adaptvis.seed),
    length: (await generate(picture, { maxOutputTokens: 1 })).finishReason,
    stop: await generate(picture, { stopSequences: ["Left"] }).then((each) => [each.text, each.finishReason]),
    output,
    isAborted: kinds.includes("abort") && !kinds.includes("finish"),
    abortedBefore: (await failure(() => generate(picture, { abortSignal: AbortSignal.abort() }))).split(":")[0],
    unsupported: { text: unsupported.text, features: unsupported.features },
    longerPrompt: turns.usage.inputTokens > bytes.usage.inputTokens,
    failures: {
      file: await failure(() =>
        generateText({
          model,
          maxRetries: 0,
          messages: [text("user", [{ type: "file", mediaType: "application/pdf", data: pdf }])],
        }),
      ),
      damaged: await failure(() => generate(picture.slice(0, 40))),
      option: await failure(() => generate(picture, { providerOptions: { adaptvis: { onToken: 1 } } })),
      value: await failure(() =>
        generate(picture, { providerOptions: { adaptvis: { method: "scaling", factor: "x" } } }),
      ),
      streamed: await failure(async () => {
        const wrong = streamText(ask(picture, { temperature: -1, onError: () => undefined }));
        for await (const part of wrong.fullStream) if (part.type === "error") throw part.error;
      }),
    },
  };
}

function usageOf({ inputTokens, outputTokens, totalTokens, inputTokenDetails }) {
  return { inputTokens, outputTokens, totalTokens, cached: inputTokenDetails.cacheReadTokens };
}
