// Questions whose answers are known, and requests that must be refused, for a server under load.
import { createRandom } from "../reference/random.ts";

/** A request and what must come of it. */
export interface LoadRequest {
  readonly body: string;
  readonly status: number;
}

/**
 * Questions that each have an answer of their own, so that one that reaches the wrong client shows: with and without pictures, with
 * methods, drawn with seeds, of several turns, whole and as streams.
 * @param pictures data URIs
 */
export function questions(pictures: readonly string[]): readonly LoadRequest[] {
  const stream = { stream: true, stream_options: { include_usage: true } };
  let numQuestions = 0;
  // Answers of a small model may be the same; the lengths of their prompts are not.
  const asking = (text: string, url?: string) => ({
    role: "user",
    content: [
      ...(url === undefined ? [] : [{ type: "image_url", image_url: { url } }]),
      { type: "text", text: text + " Answer".repeat(numQuestions++) },
    ],
  });
  const bodies = pictures.flatMap((url, index) => {
    const drawn = (text: string, seed: number) => ({
      messages: [asking(text, url)],
      temperature: 1.5,
      max_tokens: 12,
      seed,
    });
    const turns = [asking("Where is the mug?", url), { role: "assistant", content: "Left" }, asking("And the dog?")];
    return [
      { messages: [asking("Where is the mug?", url)], max_tokens: 8 },
      { messages: [asking("Is a dog here?", url)], max_tokens: 8, ...stream },
      drawn("Tell me what you see.", 2 * index),
      { ...drawn("What is in it?", 2 * index + 1), ...stream },
      { ...drawn("What else?", index), adaptvis: { intervention: "adaptvis", heatmap: index === 0 } },
      { messages: turns, max_tokens: 10, temperature: 1.5, seed: index },
      { messages: [asking("Say it.")], max_tokens: 16, temperature: 1.5, seed: 50 + index, ...stream },
    ];
  });
  return bodies.map((body) => ({ body: JSON.stringify(body), status: 200 }));
}

/** Requests that are refused: no JSON, fields that are wrong, pictures that are damaged or too large. */
export function brokenRequests(picture: string): readonly LoadRequest[] {
  const chat = (url: string) =>
    JSON.stringify({ messages: [{ role: "user", content: [{ type: "image_url", image_url: { url } }] }] });
  const large = Buffer.from("iVBORw0KGgoAAAANSUhEUgAAAAAAAAAACAIAAAA=", "base64");
  large.writeUInt32BE(50_000, 16);
  large.writeUInt32BE(50_000, 20);
  const bodies = [
    "{",
    JSON.stringify({ messages: [] }),
    JSON.stringify({ messages: [{ role: "user", content: "Hello" }], adaptvis: { intervention: "none of them" } }),
    chat("data:image/png;base64,iVBORw0KGgo="),
    chat(picture.slice(0, picture.indexOf(",") + 1 + 1200)), // cut off in the middle
    chat(`data:image/png;base64,${large.toString("base64")}`),
    chat(`data:image/png;base64,${"§".repeat(20)}`),
    chat("http://169.254.169.254/latest/meta-data"),
  ];
  return bodies.map((body) => ({ body, status: 400 }));
}

/**
 * What an answer says, without its id and its time: text, how it ended and its numbers of tokens. @param text a body, or the events of a
 * stream. @throws Error for what is neither, such as a half.
 */
export function contentOf(text: string): string {
  const isStream = text.startsWith("data: ");
  const { content, reason, usage } = isStream ? streamed(text) : whole(text);
  return `${usage.prompt_tokens} + ${usage.completion_tokens} tokens, ${reason}: ${content}`;
}

interface Said {
  readonly content: string;
  readonly reason: string;
  readonly usage: { readonly prompt_tokens: number; readonly completion_tokens: number };
}

function whole(text: string): Said {
  const { choices, usage } = JSON.parse(text);
  const [{ message, finish_reason: reason }] = choices;
  return { content: message.content, reason, usage };
}

function streamed(text: string): Said {
  const events = text.split("\n\n").filter((event) => event !== "");
  if (events.pop() !== "data: [DONE]") throw new Error(`the stream has no end: ${events.at(-1)}`);
  const chunks = events.map((event) => JSON.parse(event.slice("data: ".length)));
  const choices = chunks.flatMap((chunk) => chunk.choices);
  return {
    content: choices.map(({ delta }) => delta.content ?? "").join(""),
    reason: choices.at(-1)?.finish_reason,
    usage: chunks.at(-1)?.usage,
  };
}

/** The requests in an order of each connection's own. */
export function shuffledFor<T>(connection: number, requests: readonly T[]): T[] {
  const random = createRandom(connection);
  return requests
    .map((request) => ({ request, order: random.integer(2 ** 30) }))
    .sort((a, b) => a.order - b.order)
    .map(({ request }) => request);
}
