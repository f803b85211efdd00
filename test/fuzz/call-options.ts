// Fuzzing of what programs without a type checker pass to public calls: options of a load, a question, an answer, a sweep and a trace.

import { join } from "node:path";
import { fileSource } from "../../src/checkpoint/file-source.node.ts";
import { httpSource } from "../../src/checkpoint/http-source.ts";
import { webHubSource } from "../../src/checkpoint/hub/web-hub-source.ts";
import { openNodeAdapter } from "../../src/gpu/hosts/adapter.node.ts";
import { Llava } from "../../src/llava.ts";
import { decodeImage } from "../../src/preprocess/decode-image.node.ts";
import { defineKind } from "./kind.ts";
import { chance, mutateJson, pick } from "./mutate.ts";
import { PICTURES } from "./pictures.ts";

/** A call and its arguments; texts such as "@function@" stand for what JSON does not have. */
interface Call {
  readonly call: keyof typeof CALLS;
  readonly args: readonly unknown[];
}

const root = process.env.FUZZ_ROOT ?? process.cwd();

const MODEL = "weights/tiny-spatial";
const PICTURE = { width: 5, height: 4, data: new Uint8Array(60).fill(99) };

/** The values behind names in arguments. */
const SPECIALS: Readonly<Record<string, () => unknown>> = {
  "@undefined@": () => undefined,
  "@NaN@": () => Number.NaN,
  "@Infinity@": () => Number.POSITIVE_INFINITY,
  "@function@": () => () => undefined,
  "@bigint@": () => 10n,
  "@symbol@": () => Symbol("x"),
  "@date@": () => new Date(0),
  "@map@": () => new Map([["a", 1]]),
  "@null-prototype@": () => Object.create(null),
  "@proxy@": () => new Proxy({}, { get: () => Symbol.iterator }),
  "@getter@": () => Object.defineProperty({}, "length", { get: () => -1, enumerable: true }),
  "@cyclic@": () => {
    const cyclic: Record<string, unknown> = {};
    cyclic.self = cyclic;
    return cyclic;
  },
  "@sparse@": () => new Array(3),
  "@bytes@": () => new Uint8Array(12),
  "@floats@": () => new Float32Array([Number.NaN, 1e39, -1]),
  "@buffer@": () => new ArrayBuffer(8),
  "@promise@": () => Promise.resolve(1),
  "@aborted@": () => AbortSignal.abort(),
  "@signal@": () => new AbortController().signal,
  "@picture@": () => PICTURE,
  "@png@": () => Uint8Array.from(Buffer.from(PICTURES["png-rgb"] ?? "", "base64")),
  "@inputs@": () => opened?.inputs,
};
const NAMES = Object.keys(SPECIALS);

const ANSWER = {
  method: "adaptvis",
  alpha1: 0.5,
  alpha2: 1.2,
  beta: 0.3,
  layers: [0],
  rows: { last: 2 },
  confidence: "vocabulary",
  roundConfidence: true,
  maxNewTokens: 2,
  ignoreEos: true,
  stop: ["x"],
  sampling: { temperature: 1, topK: 3, topP: 0.9, repetitionPenalty: 1.1, seed: 3 },
  topLogProbs: 2,
  reusePrefix: true,
  attention: true,
  onToken: "@function@",
  onStage: "@function@",
  read: [{ place: "layers.1.hidden_states" }],
  signal: "@signal@",
};
const KEYS = [
  ...Object.keys(ANSWER),
  ..."settings continuations write factor heads gate constant columns alpha amplification image images question prompt system inputIds pixelValues imageSizes video frames runs rowIndex width height data dtype kvDtype memoryBytes maxPicturePixels chunkRows lookahead cacheBytes chatTemplate tuning profiler name maxPixels applyExif headers stallTimeoutMs retryDelaysMs revision token endpoint rmsNormEps generated unmodified".split(
    " ",
  ),
];

/** Right arguments of each call. */
const RIGHT = {
  answer: ["@inputs@", ANSWER],
  plain: ["@inputs@", { maxNewTokens: 2, ignoreEos: true }],
  ask: [{ image: "@picture@", question: "Where?", system: "Be brief.", maxNewTokens: 2 }],
  fromTensors: [{ inputIds: [1, 2, 3], pixelValues: "@floats@", imageSizes: [[4, 5]] }],
  session: [{ rmsNormEps: 1e-5 }],
  sweep: ["@inputs@", [1, 1.5, 0.5], { maxNewTokens: 2, ignoreEos: true, rows: "last", signal: "@signal@" }],
  score: ["@inputs@"],
  trace: ["@inputs@", { maxNewTokens: 1 }, { generated: true, unmodified: true }],
  decode: ["@png@", { name: "a", applyExif: true, maxPixels: 1e6 }],
  http: ["http://127.0.0.1:9/", { headers: { a: "b" }, retryDelaysMs: [], stallTimeoutMs: 10 }],
  hub: [
    "org/model",
    { revision: "main", token: "x", endpoint: "http://127.0.0.1:9", retryDelaysMs: [], stallTimeoutMs: 10 },
  ],
  load: [
    "@undefined@",
    {
      dtype: "q8",
      kvDtype: "f16",
      memoryBytes: 1e9,
      cacheBytes: 1e6,
      chunkRows: 16,
      lookahead: 2,
      onProgress: "@function@",
      chatTemplate: { file: "a", source: "{{ messages[0].content[0].text }}" },
    },
  ],
} as const;

export const callOptions = defineKind<Call>({
  name: "options",
  maxCpuMs: 60_000, // a load compiles kernels, which software adapters take seconds for
  make(random) {
    const calls = Object.keys(RIGHT) as (keyof typeof RIGHT)[]; // a const object has no other keys
    // A load takes as long as all the rest.
    const call = chance(random, 1, 40) ? "load" : pick(random, calls.slice(0, -1));
    if (chance(random, 1, 12)) {
      const [first, options, ...rest] = RIGHT.plain as readonly unknown[];
      const absent = Object.fromEntries(
        ["stop", "method", "signal", "sampling", "onToken"].map((key) => [key, "@undefined@"]),
      );
      return { input: { call: "plain", args: [first, { ...Object(options), ...absent }, ...rest] }, sameAs: PLAIN };
    }
    const args: readonly unknown[] = RIGHT[call];
    const index = random.integer(args.length);
    const value = chance(random, 1, 3)
      ? withSpecial(args[index], random.integer(1000), pick(random, NAMES))
      : mutateJson(args[index], random, KEYS);
    return { input: { call, args: args.map((arg, at) => (at === index ? value : arg)) } };
  },
  async run({ call, args }) {
    opened ??= await open();
    return CALLS[call](opened, args.map(revived).map(ended));
  },
});

/** A copy with a special value in place of the value number `place` inside of it, or of a new member. */
function withSpecial(value: unknown, place: number, name: string): unknown {
  if (typeof value !== "object" || value === null) return name;
  const entries = Object.entries(value);
  const index = place % (entries.length + 1);
  if (index === entries.length)
    return Array.isArray(value) ? [...value, name] : { ...value, [KEYS[place % KEYS.length] ?? ""]: name };
  const changed = entries.map(([key, child], at) => [
    key,
    at !== index ? child : withSpecial(child, Math.floor(place / 7), name),
  ]);
  return Array.isArray(value) ? changed.map(([, child]) => child) : Object.fromEntries(changed);
}

function revived(value: unknown): unknown {
  if (typeof value === "string") return Object.hasOwn(SPECIALS, value) ? SPECIALS[value]?.() : value;
  if (Array.isArray(value)) return value.map(revived);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, child]) => [key, revived(child)]));
}

/**
 * Long answers and waits are what was asked for, and their time is no finding: an answer without an end of its own is aborted, and
 * waits before a new attempt are shortened.
 */
function ended(value: unknown): unknown {
  const options: Readonly<Record<string, unknown>> = Object(value);
  const { maxNewTokens, signal, retryDelaysMs } = options;
  if (typeof maxNewTokens === "number" && maxNewTokens > 32 && signal === undefined) {
    return { ...options, signal: AbortSignal.timeout(500) };
  }
  if (!Array.isArray(retryDelaysMs)) return value;
  const isLong = (ms: unknown) => typeof ms === "number" && ms > 10;
  return { ...options, retryDelaysMs: retryDelaysMs.map((ms: unknown) => (isLong(ms) ? 10 : ms)) };
}

const PLAIN: Call = { call: "plain", args: RIGHT.plain };

/** A loaded model. */
interface Opened {
  readonly model: Llava;
  readonly device: GPUDevice;
  readonly inputs: unknown;
}

let opened: Opened | undefined;

async function open(): Promise<Opened> {
  const { adapter } = await openNodeAdapter("auto");
  const device = await adapter.requestDevice();
  const model = await Llava.load(fileSource(join(root, MODEL)), { device });
  return { model, device, inputs: model.prepare({ image: PICTURE, question: "Where is the cup?" }) };
}

/** Any arguments, as a program without a type checker passes them. */
type Untyped = (...args: readonly unknown[]) => unknown;

/** What is called; each result is awaited and made a text. */
const CALLS = {
  answer: ({ model }: Opened, args: readonly unknown[]) => textOf((model.answer as Untyped).apply(model, [...args])),
  plain: ({ model }: Opened, args: readonly unknown[]) => textOf((model.answer as Untyped).apply(model, [...args])),
  ask: ({ model }: Opened, args: readonly unknown[]) => textOf((model.ask as Untyped).apply(model, [...args])),
  fromTensors: async ({ model }: Opened, args: readonly unknown[]) =>
    textOf((model.processor.fromTensors as Untyped).apply(model.processor, [...args])),
  session: async ({ model }: Opened, args: readonly unknown[]) => {
    const session = (model.session as Untyped).apply(model, [...args]);
    (session as { close(): void }).close(); // what a session is
    return "session";
  },
  sweep: ({ model }: Opened, args: readonly unknown[]) => textOf((model.sweep as Untyped).apply(model, [...args])),
  score: ({ model }: Opened, args: readonly unknown[]) => textOf((model.score as Untyped).apply(model, [...args])),
  trace: ({ model }: Opened, args: readonly unknown[]) => textOf((model.trace as Untyped).apply(model, [...args])),
  decode: (_: Opened, args: readonly unknown[]) => textOf((decodeImage as Untyped)(...args)),
  http: (_: Opened, args: readonly unknown[]) => sizeOf((httpSource as Untyped)(...args)),
  hub: (_: Opened, args: readonly unknown[]) => sizeOf((webHubSource as Untyped)(...args)),
  load: async ({ device }: Opened, [source, options]: readonly unknown[]) => {
    const given =
      typeof options === "object" && options !== null && !("device" in options) ? { ...options, device } : options;
    const own = source === undefined ? fileSource(join(root, MODEL)) : source;
    const model = await (Llava.load as Untyped).call(Llava, own, given);
    (model as Llava).dispose(); // what a load returns
    return "loaded";
  },
};

async function textOf(result: unknown): Promise<string> {
  const value = await result;
  const { tokens }: { readonly tokens?: unknown } = Object(value);
  return JSON.stringify(tokens ?? typeof value);
}

async function sizeOf(source: unknown): Promise<string> {
  return String(await (source as { size(path: string): Promise<number> }).size("config.json")); // what a source is
}
