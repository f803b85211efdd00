// What programs without a type checker may pass: of thousands of arguments that were changed at random, each is taken or refused with
// one sentence of a typed error. Nothing runs on the GPU: what is taken ends at a signal that is aborted already.
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { uniformInt } from "pure-rand/distribution/uniformInt";
import { xoroshiro128plus } from "pure-rand/generator/xoroshiro128plus";
import { afterAll, beforeAll, expect, test } from "vitest";
import { webHubSource } from "../../src/checkpoint/hub/web-hub-source.ts";
import * as adaptvis from "../../src/index.node.ts";
import { openTestDevice } from "../setup/device.ts";

const FOLDER = fileURLToPath(new URL("../../weights/tiny-spatial", import.meta.url));
/** Fewer of what waits for its turn on the GPU, or draws. */
const NUM_TRIES = { usual: 2000, slow: 100 } as const;

const TYPED = [adaptvis.InputError, adaptvis.CheckpointError, adaptvis.GpuError, adaptvis.AbortError];

const fails = () => {
  throw new SyntaxError("the caller's own getter");
};
const revoked = Proxy.revocable({}, {});
revoked.revoke();
const cyclic: unknown[] = [];
cyclic.push(cyclic);

/** What takes the place of a part of valid arguments. */
const WRONG: readonly unknown[] = [
  null,
  undefined,
  true,
  "",
  "a text",
  "\u001b]0;title\u0007\u202e",
  "x".repeat(5000),
  0,
  -1,
  0.5,
  Number.NaN,
  Number.POSITIVE_INFINITY,
  1e300,
  2 ** 53,
  10n,
  Symbol("s"),
  () => undefined,

  [],
  [null],
  [undefined, 3],
  ["a"],
  [[1, 2]],
  new Array(4e9),
  {},
  { length: 3 },
  { length: 4e9, data: "abc" },
  Object.create(null),
  { toString: fails, toJSON: fails },
  { constructor: { name: 3 } },
  { constructor: { name: "x".repeat(9999) } },
  new Proxy({}, { get: fails, has: fails, ownKeys: fails, getPrototypeOf: fails }),
  new Proxy([], { get: fails }),
  revoked.proxy,
  cyclic,
  new Date(Number.NaN),
  new Map([["a", 1]]),
  new Set([1]),
  Promise.resolve(3),
  new Uint8Array(12),
  new Float32Array(3),
  new DataView(new ArrayBuffer(3)),
  new ArrayBuffer(8),
  new Error("an error"),
  AbortSignal.abort(),
  { aborted: true },
  new Blob(["x"]),
  /a/,
];

type Random = ReturnType<typeof xoroshiro128plus>;

function pick<T>(random: Random, list: readonly T[]): T {
  return list[uniformInt(random, 0, list.length - 1)] as T; // in range
}

/** A copy of a value with one place replaced, removed, added to, or made to throw when it is read. */
function changed(random: Random, value: unknown): unknown {
  const isList = Array.isArray(value);
  const isPlain = typeof value === "object" && value !== null && Object.getPrototypeOf(value) === Object.prototype;
  const keys = isList || isPlain ? Object.keys(Object(value)) : [];
  if (keys.length === 0 || uniformInt(random, 0, 4) === 0) return pick(random, WRONG);
  const copy: object = isList ? [...value] : { ...Object(value) };
  const key = pick(random, keys);
  switch (uniformInt(random, 0, 9)) {
    case 0:
      Reflect.deleteProperty(copy, key);
      break;
    case 1:
      Object.defineProperty(copy, key, { get: fails, enumerable: true });
      break;
    case 2:
      Reflect.set(copy, pick(random, ["maxTokens", "extra", "__proto__", "constructor", "0"]), pick(random, WRONG));
      break;
    default:
      Reflect.set(copy, key, changed(random, Reflect.get(copy, key)));
  }
  return copy;
}

/** Entry points that run until they see the signal. */
const ENDS_ABORTED = [
  "ask",
  "answer",
  "answer by an intervention",
  "trace",
  "sweep",
  "explain",
  "warmUp",
  "session's ask",
  "session's answerEach",
  "heatMapPng",
];
const NAMES = [
  ...ENDS_ABORTED,
  ..."load,load of a source,openCheckpoint,readSafetensorsHeader,prepare,session,chatPrompt,conversation".split(","),
  ..."processor's inputs,fromTensors,seen,decodeImage,readImageFile,httpSource,hubSource,hubSource on the web".split(
    ",",
  ),
  ..."blobSource,fileSource,encodeSafetensors,writeFileWhole,Profiler,measureTuning,parseTuningTable".split(","),
  ..."describeAdapter,openNodeAdapter,drawHeatMap,fitToSquare".split(","),
];

let model: adaptvis.Llava;
let entries: Readonly<Record<string, Entry>>;

/** A function and arguments that it takes. */
type Entry = readonly [call: (...args: never[]) => unknown, args: readonly unknown[]];

function entry(name: string): Entry {
  const found = entries[name];
  if (found === undefined) throw new Error(`no entry point ${name}`);
  return found;
}

beforeAll(async () => {
  const { device, adapter } = await openTestDevice();
  model = await adaptvis.Llava.load(adaptvis.fileSource(FOLDER), { device });
  const signal = AbortSignal.abort();
  const image = { width: 8, height: 8, data: new Uint8Array(192) };
  const asked = { image, question: "Where is the mug?" };
  const sampling = { temperature: 1, topK: 3, topP: 0.5, repetitionPenalty: 1.1, seed: 3 };
  const place = { layers: [0], heads: [0], rows: { last: 2 } };
  const mine = {
    name: "mine",
    title: "Mine",
    summary: "",
    source: "",
    parameters: { a: { type: { kind: "number", minimum: 0, maximum: 1 }, default: 1, meaning: "" } },
    edits: () => ({ scores: [], factor: 1 }),
    contrast: () => ({ against: "no-picture", combine: () => undefined }),
  };
  const options = {
    method: "scaling",
    factor: 2,
    ...place,
    confidence: [" Left", " Right"],
    roundConfidence: true,
    maxNewTokens: 1,
    ignoreEos: true,
    stop: ["."],
    sampling,
    topLogProbs: 2,
    continuations: [" Left"],
    onStage: () => undefined,
    onToken: () => undefined,
    reusePrefix: true,
    attention: true,
    read: [{ place: "layers.0.hidden_states", positions: [1] }],
    write: [
      { place: "layers.0.hidden_states", positions: [1], values: new Float32Array(model.config.text.hiddenSize) },
    ],
    signal,
  };
  const { reusePrefix: _, ...explained } = options;
  const own = { method: mine, settings: { a: 0.5 } };
  const prepared = model.prepare(asked);
  // As plain objects, so that their parts are changed too.
  const inputs = { ...prepared, images: prepared.images.map((picture) => ({ ...picture })) };
  const session = model.session();
  const messages = [
    {
      role: "user",
      content: [
        { type: "image", image },
        { type: "text", text: "Where?" },
      ],
    },
  ];
  const map = { values: new Float64Array(4), width: 2, height: 2, layer: 0, share: 1, unplacedShare: 0, entropy: 1 };
  const panel = { map: { ...map, head: undefined }, title: "a", lines: ["b"] };
  const processor = model.processor;
  const empty = adaptvis.blobSource(new Map());
  const source = {
    name: "mine",
    size: async () => 3,
    read: async () => new Uint8Array(3),
    close: async () => undefined,
  };
  entries = {
    load: [
      adaptvis.Llava.load,
      [
        empty,
        {
          device,
          dtype: "q8",
          memoryBytes: 1e9,
          kvDtype: "f16",
          activationDtype: "q8",
          signal,
          onProgress: () => undefined,
          chatTemplate: { file: "a", source: "b" },
          chunkRows: 8,
          lookahead: 2,
          adapterClass: "cpu",
          cacheBytes: 1e6,
          firstQuestion: { hasImage: true, method: "scaling", sampling, topLogProbs: 3, attention: true },
          tuning: { format: 1, key: "a", choices: {} },
        },
      ],
    ],
    "load of a source": [adaptvis.Llava.load, [source, { device, signal }]],
    openCheckpoint: [adaptvis.openCheckpoint, [source, signal]],
    readSafetensorsHeader: [adaptvis.readSafetensorsHeader, [source, "a", signal]],
    ask: [model.ask.bind(model), [{ ...asked, ...options }]],
    prepare: [model.prepare.bind(model), [{ ...asked, ...options }]],
    answer: [model.answer.bind(model), [inputs, options, { phase: "a" }]],
    "answer by an intervention": [model.answer.bind(model), [inputs, { ...own, signal }]],
    trace: [model.trace.bind(model), [inputs, options, { generated: true, unmodified: true }]],
    sweep: [model.sweep.bind(model), [inputs, [1, 2], { layers: [0], maxNewTokens: 2, signal }]],
    explain: [adaptvis.explain, [model, inputs, { ...explained, onPass: () => undefined, values: true }]],
    warmUp: [
      model.warmUp.bind(model),
      [{ questions: [{ ...place, method: "scaling", sampling }], sweep: false, signal, onProgress: () => 0 }],
    ],
    session: [model.session.bind(model), [{ rmsNormEps: model.config.text.rmsNormEps }]],
    "session's ask": [
      (...args: never[]) => session.ask(...(args as unknown as Parameters<typeof session.ask>)).answer,
      [messages, options],
    ],
    "session's answerEach": [
      session.answerEach.bind(session),
      [
        inputs,
        [{ method: "scaling", factor: 2 }, own],
        { maxNewTokens: 1, maxRows: 2, continuations: [" Left"], signal },
      ],
    ],
    chatPrompt: [processor.chatPrompt.bind(processor), ["Where?", { numImages: 1, hasImage: true }]],
    conversation: [processor.conversation.bind(processor), [messages, { addGenerationPrompt: true }]],
    "processor's inputs": [processor.inputs.bind(processor), ["<image> Where?", [image]]],
    fromTensors: [
      processor.fromTensors.bind(processor),
      [{ inputIds: [1, 2], pixelValues: undefined, imageSizes: [[8, 8]] }],
    ],
    seen: [processor.seen.bind(processor), [image]],
    decodeImage: [adaptvis.decodeImage, [new Uint8Array(8), { applyExif: true, name: "a.png", maxPixels: 100 }]],
    readImageFile: [adaptvis.readImageFile, [join(FOLDER, "none.png"), { applyExif: true, maxPixels: 100 }]],
    httpSource: [
      adaptvis.httpSource,
      ["http://127.0.0.1:1/", { headers: { a: "b" }, retryDelaysMs: [1], stallTimeoutMs: 10 }],
    ],
    hubSource: [
      adaptvis.hubSource,
      ["a/b", { revision: "main", token: "t", cacheFolder: "/tmp", onProgress: () => undefined }],
    ],
    "hubSource on the web": [webHubSource, ["a/b", { revision: "main", token: "t", endpoint: "http://127.0.0.1:1" }]],
    blobSource: [adaptvis.blobSource, [[["a", new Blob([])]], "name"]],
    fileSource: [adaptvis.fileSource, [FOLDER]],
    encodeSafetensors: [
      adaptvis.encodeSafetensors,
      [[{ name: "a", dtype: "F32", shape: [2], data: new Float32Array(2) }], { key: "value" }],
    ],
    writeFileWhole: [
      // Whatever text it is, the path is in no folder that exists.
      (path: unknown, content: never) => {
        const nowhere = join(tmpdir(), "adaptvis-no-such-folder");
        return adaptvis.writeFileWhole((typeof path === "string" ? `${nowhere}/${path}` : path) as never, content);
      },
      ["a", "text"],
    ],
    Profiler: [(given: never) => new adaptvis.Profiler(given), [{ maxSpans: 3, passesPerReadback: 3 }]],
    measureTuning: [
      adaptvis.measureTuning,
      [model.gpu, { inner: 32, columns: 4, vectorColumns: 4, rows: 1, rounds: 1 }],
    ],
    parseTuningTable: [adaptvis.parseTuningTable, [{ format: 1, key: "a", choices: {} }]],
    describeAdapter: [adaptvis.describeAdapter, [adapter]],
    openNodeAdapter: [adaptvis.openNodeAdapter, ["none", { dawnToggles: ["a-b"] }]],
    drawHeatMap: [adaptvis.drawHeatMap, [image, map, { side: 8 }]],
    heatMapPng: [
      adaptvis.heatMapPng,
      [{ heading: "a", rows: [{ picture: image, caption: "b", panels: [panel] }] }, { signal }],
    ],
    fitToSquare: [adaptvis.fitToSquare, [image, processor.imageProcessor]],
  };
});
afterAll(() => model.dispose());

test("the arguments that are changed are right by themselves", async () => {
  expect(NAMES.toSorted()).toEqual(Object.keys(entries).toSorted());
  const ends: Record<string, unknown> = {};
  for (const [name, [call, args]] of Object.entries(entries)) ends[name] = await failureOf(call, args);
  for (const name of ENDS_ABORTED) expect({ [name]: ends[name] }).toEqual({ [name]: expect.any(adaptvis.AbortError) });
  const others = Object.entries(ends).filter(([name]) => !ENDS_ABORTED.includes(name));
  const refused = others.flatMap(([name, failure]) => (failure === undefined ? [] : [[name, String(failure)]]));
  expect(Object.fromEntries(refused)).toEqual({
    load: expect.stringContaining("The tuning table is for"),
    decodeImage: expect.stringContaining("is not a picture"),
    readImageFile: expect.stringContaining("there is no such file"),
    openCheckpoint: expect.stringContaining("config.json is not valid JSON"),
    readSafetensorsHeader: expect.stringContaining("the file has 3 bytes"),
    "load of a source": expect.stringContaining("config.json is not valid JSON"),
    writeFileWhole: expect.stringContaining("its folder does not exist"),
    openNodeAdapter: expect.stringContaining("expected a name of a-z"),
  });
});

test.each(NAMES)("arguments that were changed at random: %s", async (name) => {
  const [call, args] = entry(name);
  const numTries = [...ENDS_ABORTED, "drawHeatMap"].includes(name) ? NUM_TRIES.slow : NUM_TRIES.usual;
  const random = xoroshiro128plus(NAMES.indexOf(name));
  const untyped: unknown[] = [];
  let numRefused = 0;
  for (let count = 0; count < numTries; count++) {
    const given = [...args];
    for (let changes = uniformInt(random, 1, 2); changes > 0; changes--) {
      const index = uniformInt(random, 0, args.length - 1);
      given[index] = changed(random, args[index]);
    }
    const failure = await failureOf(call, given);
    if (failure === undefined) continue;
    numRefused++;
    if (!isTypedSentence(failure) && untyped.length < 5) untyped.push(failure);
  }
  expect(untyped).toEqual([]);
  expect(numRefused).toBeGreaterThan(numTries / 10);
});

function isTypedSentence(failure: unknown): boolean {
  if (!(failure instanceof Error) || !TYPED.some((kind) => failure instanceof kind)) return false;
  return failure.message.length <= 500 && !/[\p{Cc}\u202e]/u.test(failure.message);
}

async function failureOf(call: (...args: never[]) => unknown, args: readonly unknown[]): Promise<unknown> {
  try {
    await call(...(args as never[])); // as untyped code would
    return undefined;
  } catch (failure) {
    return failure ?? "nothing";
  }
}
