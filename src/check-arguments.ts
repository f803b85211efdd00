// The schemas of the options of a model's entry points, for programs without a type checker: told before anything is read or allocated.
import type {
  AnswerOptions,
  EachOptions,
  ExpectedQuestion,
  LoadOptions,
  MethodOptions,
  Question,
  SessionOptions,
  SweepOptions,
  TraceOptions,
  WarmUpOptions,
} from "./answer.ts";
import type { AttributionOptions } from "./attribution.ts";
import type { Source } from "./checkpoint/source.ts";
import { accepts, InputError, kindOf } from "./errors.ts";
import type { ExplainOptions } from "./explain.ts";
import { SAMPLING } from "./generate/sampler.ts";
import { CACHE_DTYPES } from "./gpu/cache-format.ts";
import { parseTuningTable } from "./gpu/ops/tuning.ts";
import { ACTIVATION_DTYPES, isQuantized, WEIGHT_DTYPES } from "./gpu/tensor.ts";
import type { PlaceRead, PlaceWrite } from "./inspect/places.ts";
import { MAX_FACTOR } from "./interventions/parameters.ts";
import { type MethodSettings, SETTING_NAMES } from "./interventions/registry.ts";
import type { LensOptions } from "./lens.ts";
import type { ModelConfig } from "./models/config.ts";
import type { FeatureGrid, ImageInput, ModelInputs, PictureTiles, PictureView } from "./models/inputs.ts";
import { MAX_LOOKAHEAD } from "./models/layers/decoder-state.ts";
import { MAX_BATCH_ROWS } from "./models/layers/step.ts";
import {
  abortSignal,
  anything,
  callback,
  data,
  either,
  flag,
  floats,
  isTyped,
  listOf,
  numberFrom,
  objectOf,
  oneOf,
  optionsOf,
  read,
  readOptions,
  record,
  required,
  rule,
  type Schema,
  text,
  whole,
  withMembers,
  withMethods,
} from "./options.ts";
import { picture, pictureList, videoFrames } from "./preprocess/image.ts";
import { DEFAULT_MAX_PIXELS } from "./preprocess/resize-bicubic.ts";
import type { RunOptions } from "./session.ts";

/** A method's settings have descriptions of their own, see parameters.ts. */
const METHOD_SETTINGS = Object.fromEntries(SETTING_NAMES.map((name) => [name, data])) as Schema<MethodSettings>; // every name

const texts = listOf(text, "a list of texts");
const positions = listOf(whole(0), "a list of whole numbers");

const READ: Schema<PlaceRead> = { place: required(text), positions, heads: positions };
const WRITE: Schema<PlaceWrite> = {
  place: required(text),
  positions: required(positions),
  values: required(floats),
  mode: oneOf(["replace", "add"]),
};

const isText = (value: unknown) => typeof value === "string";
const READS_EXPECTED = "a list of { place, positions, heads } or of texts such as layers.*.attention_probs@last";
const READS = listOf(either(isText, text, optionsOf(READ)), READS_EXPECTED);

const METHOD: Schema<MethodOptions> = { ...METHOD_SETTINGS, method: anything, settings: record };

const ANSWER: Schema<AnswerOptions> = {
  ...METHOD,
  confidence: either(
    (value) => value === "vocabulary",
    anything,
    listOf(text, '"vocabulary" or a list of at least one text', 1),
  ),
  roundConfidence: flag,
  maxNewTokens: whole(1),
  ignoreEos: flag,
  stop: texts,
  sampling: optionsOf(SAMPLING),
  topLogProbs: whole(0),
  continuations: texts,
  choices: listOf(text, "a list of at least one text", 1),
  jsonSchema: anything, // read when the answer begins, by what is loaded for it
  onStage: callback,
  onToken: callback,
  reusePrefix: flag,
  attention: flag,
  read: READS,
  write: listOf(optionsOf(WRITE), "a list of { place, positions, values }"),
  signal: abortSignal,
};

const QUESTION: Schema<Question> = {
  ...ANSWER,
  image: picture,
  images: pictureList,
  video: videoFrames,
  question: text,
  prompt: text,
  system: text,
};

const { maxNewTokens, ignoreEos, reusePrefix, roundConfidence, signal } = ANSWER;
const { layers, heads, patches, box, strengths, randomHeads, headSeed } = ANSWER;
const SWEEP: Schema<SweepOptions> = {
  ...{ layers, heads, patches, box, strengths, randomHeads, headSeed },
  ...{ maxNewTokens, ignoreEos, reusePrefix, roundConfidence, signal },
  mapLayers: listOf(whole(0), "a list of at least one layer", 1),
};

const EACH: Schema<EachOptions> = {
  confidence: ANSWER.confidence,
  roundConfidence,
  maxNewTokens,
  ignoreEos,
  continuations: texts,
  reusePrefix,
  attention: flag,
  signal,
  maxRows: whole(1, MAX_BATCH_ROWS),
};

/** With the options of an answer that need no other kernels, so that those of the question may be given as they are. */
const EXPECTED: Schema<ExpectedQuestion & AnswerOptions> = { ...ANSWER, hasImage: flag };

const METHODS = listOf(optionsOf(METHOD), "a list of methods with their settings");
const SESSION: Schema<SessionOptions> = {
  rmsNormEps: numberFrom({ above: 0 }),
  batched: flag,
  memoryBytes: numberFrom({ above: 0 }),
};
const TRACE: Schema<TraceOptions> = {
  generated: flag,
  unmodified: flag,
  read: listOf(either(isText, text, optionsOf(READ)), READS_EXPECTED, 1),
};

const { reusePrefix: _, ...EXPLAINED } = ANSWER;
const EXPLAIN: Schema<ExplainOptions> = { ...EXPLAINED, onPass: callback, values: flag };

const { read: _read, ...READING } = ANSWER;
const LENS: Schema<LensOptions> = {
  ...READING,
  layers: listOf(whole(-1), "a list of whole numbers"),
  positions: either(isText, text, positions),
  topTokens: whole(1, 100),
  isNormalized: flag,
};
const idOrText = either((value) => typeof value === "number", whole(0), text);
const ATTRIBUTION: Schema<AttributionOptions> = { ...READING, position: idOrText, token: idOrText, against: idOrText };

const WARM_UP: Schema<WarmUpOptions> = {
  questions: listOf(optionsOf(EXPECTED), "a list of expected questions"),
  sweep: flag,
  batched: flag,
  signal,
  onProgress: callback,
};

const RUN: Schema<RunOptions> = {
  executor: withMethods("an executor", "prepare", "run"),
  phase: text,
  trace: withMembers("{ tensors, generated }", (value) => Array.isArray(value.tensors)),
};

const INT32 = rule("an Int32Array", (value) => isTyped(value, "Int32Array"));
const side = whole(1, 2 ** 20);
const share = numberFrom({ least: -1e9, most: 1e9 }); // of a thin picture, padding may be many times as wide
const part = objectOf("{ left, top, right, bottom }", {
  left: required(share),
  top: required(share),
  right: required(share),
  bottom: required(share),
});

const TILES: Schema<PictureTiles> = {
  imageSize: required(listOf(side, "[height, width]", 2)),
  patchGrid: required(whole(1, 4096)),
  views: required(listOf(part, "a list of { left, top, right, bottom }", 1)),
  grids: listOf(
    objectOf("{ width, height }", { width: required(side), height: required(side) }),
    "a list of { width, height }",
  ),
};

const count = whole(0, 2 ** 16);
const FEATURE_GRID = objectOf<FeatureGrid>("a grid of features", {
  firstTile: required(count),
  tilesPerRow: required(whole(1, 2 ** 16)),
  patchGrid: required(whole(1, 4096)),
  from: required(
    objectOf("{ top, left, height, width }", {
      top: required(count),
      left: required(count),
      height: required(side),
      width: required(side),
    }),
  ),
  size: required(objectOf("{ width, height }", { width: required(side), height: required(side) })),
});

const VIEW: Schema<PictureView> = {
  imageSize: TILES.imageSize,
  part: required(part),
};

const IMAGE_INPUT: Schema<ImageInput> = {
  pixelValues: required(floats),
  runs: required(listOf(listOf(whole(0), "[start, end]", 2), "a list of [start, end]")),
  rowIndex: required(INT32),
  featureGrids: listOf(FEATURE_GRID, "a list of grids of features", 1),
  grid: objectOf("{ width, height }", { width: required(side), height: required(side) }),
  tiles: objectOf("{ imageSize, patchGrid, views }", TILES),
  view: objectOf("{ imageSize, part }", VIEW),
  video: whole(0),
};

const INPUTS: Schema<ModelInputs> = {
  inputIds: required(INT32),
  images: required(listOf(objectOf("a picture of the inputs", IMAGE_INPUT), "a list of pictures of the inputs")),
  positions: INT32,
};

const LOAD: Schema<LoadOptions> = {
  device: required({ expected: "a GPUDevice", read: deviceOf }),
  dtype: oneOf(["auto", ...WEIGHT_DTYPES]),
  memoryBytes: numberFrom({ above: 0 }),
  kvDtype: oneOf(CACHE_DTYPES),
  activationDtype: oneOf(ACTIVATION_DTYPES),
  signal,
  onProgress: callback,
  chatTemplate: objectOf("{ file, source }, as one of CHAT_TEMPLATES", {
    file: required(text),
    source: required(text),
  }),
  imageSplitting: flag,
  maxPicturePixels: whole(1, DEFAULT_MAX_PIXELS),
  chunkRows: whole(1),
  tuning: { expected: "a tuning table", read: parseTuningTable },
  lookahead: whole(1, MAX_LOOKAHEAD),
  adapterClass: oneOf(["cpu", "gpu"]),
  cacheBytes: numberFrom({ least: 0 }),
  profiler: withMethods("a Profiler", "attach", "phase", "report"),
  firstQuestion: optionsOf(EXPECTED),
};

/** The options of `Llava.load`. @throws InputError naming what was expected and what was given. */
export function loadOptions(source: Source | string, given: LoadOptions): LoadOptions {
  if (typeof source !== "string" && !accepts(source, ({ read }) => typeof read === "function")) {
    const wanted = 'an id such as "llava-hf/llava-1.5-7b-hf", or a source such as httpSource(url) or blobSource(files)';
    throw new InputError(`Llava.load: expected ${wanted}, got ${kindOf(source)}.`);
  }
  const options = readOptions("Llava.load", given ?? {}, LOAD);
  const { dtype, memoryBytes, activationDtype } = options;
  if (dtype === "auto" && memoryBytes === undefined) {
    throw new InputError('memoryBytes must be a number above 0, got undefined: dtype "auto" needs it.');
  }
  if (activationDtype === "q8" && (dtype === undefined || dtype === "auto" || !isQuantized(dtype))) {
    const got = dtype ?? "the checkpoint's dtype";
    throw new InputError(`activationDtype q8 needs weights in q8, q4_1 or q4, got ${got}: set dtype (--dtype) too.`);
  }
  return options;
}

/** @throws InputError for what is not a device, such as a promise of one. */
function deviceOf(value: unknown): unknown {
  const { createBuffer, createCommandEncoder, features, limits, queue, lost }: Partial<GPUDevice> = Object(value);
  const hasMethods = typeof createBuffer === "function" && typeof createCommandEncoder === "function";
  if (hasMethods && typeof features?.has === "function" && limits && queue && lost) return value;
  const wanted = "options with a GPUDevice as device, such as await requestGpuDevice(adapter)";
  throw new InputError(`Llava.load: expected ${wanted}, got ${kindOf(value)}.`);
}

/** The options of an answer. @throws as {@link readOptions}. */
export function answerOptions(given: AnswerOptions): AnswerOptions {
  return readOptions("an answer", given, ANSWER);
}

/** A question with its options. @throws as {@link readOptions}. */
export function questionOptions(given: Question): Question {
  return readOptions("a question", given, QUESTION);
}

/** The options of an explanation. @throws as {@link readOptions}. */
export function explainOptions(given: ExplainOptions): ExplainOptions {
  return readOptions("an explanation", given, EXPLAIN);
}

/** The options of a logit lens. @throws as {@link readOptions}. */
export function lensOptions(given: LensOptions): LensOptions {
  return readOptions("a logit lens", given, LENS);
}

/** The options of an attribution. @throws as {@link readOptions}. */
export function attributionOptions(given: AttributionOptions): AttributionOptions {
  return readOptions("an attribution", given, ATTRIBUTION);
}

/** How an answer is run. @throws as {@link readOptions}. */
export function runOptions(given: RunOptions): RunOptions {
  return readOptions("a run", given, RUN);
}

/** The options of a sweep. @throws as {@link readOptions}. */
export function sweepOptions(given: SweepOptions): SweepOptions {
  return readOptions("a sweep", given, SWEEP);
}

/** Factors of a sweep, 1 to 32. @throws InputError. */
export function factorList(given: readonly number[]): readonly number[] {
  const factors = read("factors", given, listOf(numberFrom({ least: 0, most: MAX_FACTOR }), "a list of numbers"));
  const list = factors as readonly number[]; // checked by the rule
  if (list.length >= 1 && list.length <= MAX_BATCH_ROWS) return list;
  throw new InputError(`factors must be 1 to ${MAX_BATCH_ROWS} numbers, got ${list.length}.`);
}

/** The options of answers under several methods. @throws as {@link readOptions}. */
export function eachOptions(given: EachOptions): EachOptions {
  return readOptions("answers under several methods", given, EACH);
}

/** Methods with their settings. @throws InputError. */
export function methodList(given: readonly MethodOptions[]): readonly MethodOptions[] {
  return read("methods", given, METHODS) as readonly MethodOptions[]; // checked by the rule
}

/** The options of a trace. @throws as {@link readOptions}. */
export function traceOptions(given: TraceOptions): TraceOptions {
  return readOptions("a trace", given, TRACE);
}

/** The options of a warm-up. @throws as {@link readOptions}. */
export function warmUpOptions(given: WarmUpOptions): WarmUpOptions {
  return readOptions("a warm-up", given, WARM_UP);
}

/** The options of a session. @throws as {@link readOptions}. */
export function sessionOptions(given: SessionOptions): SessionOptions {
  return readOptions("a session", given, SESSION);
}

/**
 * The inputs of a prompt.
 * @throws InputError for a question in place of its inputs, say, and for numbers that fit neither each other nor the model.
 */
export function modelInputs(
  given: ModelInputs,
  model: { readonly config: Pick<ModelConfig, "text">; readonly tileShape: readonly number[] | undefined },
): ModelInputs {
  const expected = "what model.prepare(question) returns";
  if (!accepts(given, ({ inputIds, images }) => typeof inputIds.length === "number" && Array.isArray(images))) {
    throw new InputError(`inputs: expected ${expected}, got ${kindOf(given)}.`);
  }
  const inputs = read("inputs", given, objectOf(expected, INPUTS)) as ModelInputs; // checked by the rule
  const { inputIds, images, positions } = inputs;
  const problem = (what: string) => new InputError(`inputs: ${what}; give ${expected}.`);
  const { vocabSize } = model.config.text;
  const numTokens = inputIds.length;
  if (numTokens === 0) throw problem("expected at least one token, got none");
  const isPlaced = (length: number) =>
    length === numTokens || (length === 3 * numTokens && model.config.text.rope.axes !== undefined);
  if (positions !== undefined && (!isPlaced(positions.length) || positions.some((position) => position < 0))) {
    throw problem(`expected ${numTokens} positions of at least 0, got ${positions.length}`);
  }
  const isInPicture = new Uint8Array(numTokens);
  const tileLength = model.tileShape?.reduce((product, size) => product * size, 1) ?? 1;
  for (const { pixelValues, runs, rowIndex, grid, featureGrids = [] } of images) {
    let numPositions = 0;
    for (const [start, end] of runs) {
      if (start > end || end > numTokens)
        throw problem(`expected runs within ${numTokens} tokens, got [${start}, ${end}]`);
      isInPicture.fill(1, start, end);
      numPositions += end - start;
    }
    if (rowIndex.length !== numPositions) {
      throw problem(`expected a rowIndex of ${numPositions} positions, got ${rowIndex.length}`);
    }
    if (pixelValues.length === 0 || pixelValues.length % tileLength !== 0) {
      throw problem(`expected pixelValues of whole tiles of ${tileLength} numbers, got ${pixelValues.length}`);
    }
    const numTiles = pixelValues.length / tileLength;
    if (model.tileShape?.length === 2 && (grid?.width ?? 0) * (grid?.height ?? 0) !== numTiles) {
      throw problem(`expected a grid of ${numTiles} positions, got ${grid?.width ?? 0} × ${grid?.height ?? 0}`);
    }
    const numRows = featureGrids.reduce((sum, { size }) => sum + size.height * size.width, 0);
    if (numRows > numPositions || !featureGrids.every((each) => isWithin(each, numTiles))) {
      throw problem(`expected featureGrids of at most ${numPositions} rows within ${numTiles} tiles`);
    }
  }
  const bad = inputIds.findIndex((id, index) => isInPicture[index] === 0 && !(id >= 0 && id < vocabSize));
  if (bad >= 0) throw problem(`token ${bad} must be from 0 to ${vocabSize - 1}, got ${inputIds[bad]}`);
  return inputs;
}

/** Whether a grid's patches are those of tiles that are there. */
function isWithin({ firstTile, tilesPerRow, patchGrid, from }: FeatureGrid, numTiles: number): boolean {
  const tileRows = Math.ceil((from.top + from.height) / patchGrid);
  return from.left + from.width <= tilesPerRow * patchGrid && firstTile + tileRows * tilesPerRow <= numTiles;
}
