// Answers as rows of one batch: of several methods, or of several factors. Methods whose edits begin at the last prompt row share
// the rows before it, and those with the same edits share a row.
import type { Answer, AnswerOptions, EachOptions, MethodOptions, SweepAnswer, SweepOptions } from "./answer.ts";
import { editContext, roundedConfidence } from "./edits.ts";
import { at, InputError } from "./errors.ts";
import type { ContinuationScorer } from "./generate/continuations.ts";
import type { GeneratedToken } from "./generate/generate.ts";
import { type GeneratedRow, generateRows, type PromptRows } from "./generate/generate-rows.ts";
import type { Sequence } from "./generate/sequence.ts";
import { type Executor, SubmitExecutor } from "./gpu/executor.ts";
import type { AttentionProbs } from "./inspect/attention-map.ts";
import { inspection } from "./inspect/inspection-loader.ts";
import type { Places } from "./inspect/places.ts";
import type { RowAttention } from "./inspect/row-attention.ts";
import type { ConfidenceMeasure, EditContext, Edits, ScoreEdit } from "./interventions/intervention.ts";
import type { Llava } from "./llava.ts";
import { imageSpan, type ModelInputs } from "./models/inputs.ts";
import type { Settings } from "./settings.ts";

/** Rows of a batch unless given. */
const DEFAULT_MAX_ROWS = 8;

/** The session that the rows are run in. */
export interface RowHost {
  readonly model: Llava;
  /** As settingsOf, for this model. */
  settings(options: AnswerOptions, promptLength: number): Settings;
  /** As Session.prepare. */
  prepare(
    inputs: ModelInputs,
    run: {
      readonly settings: Pick<Settings, "maxNewTokens">;
      readonly executor: Executor;
      readonly reuse: boolean;
      readonly first: number;
      readonly signal: AbortSignal | undefined;
      readonly batchRows: number;
    },
  ): Promise<{ readonly sequence: Sequence; readonly start: number }>;
  /** As packedEdits: not imported here, so that bundles without answers share no code with them. */
  pack(rows: readonly (readonly ScoreEdit[])[], context: EditContext): Uint32Array<ArrayBuffer> | undefined;
  scorer(texts: readonly string[] | undefined, promptLength: number): ContinuationScorer | undefined;
  confidence(
    sequence: Sequence,
    run: { readonly options: EachOptions; readonly measure: ConfidenceMeasure; readonly executor: Executor },
  ): Promise<number>;
  /** Where the last prompt row's attention is captured. */
  attentionPlaces(promptLength: number): Promise<Places>;
}

/** The answers that were rows. */
export interface RowAnswers {
  /** By index of the method. */
  readonly answers: ReadonlyMap<number, Answer>;
  /** Largest probability of the first token in the unmodified pass; undefined when no method was a row. */
  readonly unmodifiedConfidence: number | undefined;
}

/** A method that may be a row. */
interface Candidate {
  /** In the caller's list of methods. */
  readonly index: number;
  readonly settings: Settings;
  /** The confidence that its gate reads. */
  readonly measure: ConfidenceMeasure | undefined;
  /** Undefined until the confidence is known, for a method with a gate. */
  readonly edits: Edits | undefined;
}

/** A method whose edits are known. */
interface DecidedMethod extends Candidate {
  readonly edits: Edits;
  /** What its gate has read, unrounded; undefined without a gate. */
  readonly read: number | undefined;
}

/**
 * Answers under those methods that can be rows; greedily.
 * @throws InputError for a bad option; AbortError between steps; GpuError.
 */
export async function answerRows(
  host: RowHost,
  inputs: ModelInputs,
  given: EachOptions & { readonly methods: readonly MethodOptions[] },
): Promise<RowAnswers> {
  const { model } = host;
  const { text } = model.config;
  const { methods, maxRows = DEFAULT_MAX_ROWS, ...options } = given;
  const { signal, continuations } = options;
  const promptLength = inputs.inputIds.length;
  const context = editContext(inputs, model.config);
  const settings = methods.map((method) => host.settings({ ...options, ...method }, promptLength));
  const candidates = candidatesOf(settings, context);
  const answers = new Map<number, Answer>();
  if (candidates.length === 0) return { answers, unmodifiedConfidence: undefined };

  const isMapped = options.attention === true && inputs.images.length > 0;
  const hasPlainRow = candidates.some(({ edits }) => edits?.scores.length === 0);
  const places = isMapped && !hasPlainRow ? await host.attentionPlaces(promptLength) : undefined;
  let captured: RowAttention | undefined;
  try {
    // The unmodified pass
    const { maxNewTokens } = at(settings, 0);
    const room = Math.max(maxNewTokens, host.scorer(continuations, promptLength)?.maxTokens ?? 0);
    const executor = new SubmitExecutor(model.gpu);
    const { sequence, start } = await host.prepare(inputs, {
      settings: { maxNewTokens: room },
      executor,
      reuse: options.reusePrefix !== false,
      first: promptLength - 1,
      signal,
      batchRows: Math.min(candidates.length, maxRows),
    });
    await sequence.prefill([start, promptLength], { executor, places, signal });
    sequence.hold(inputs, promptLength - 1);
    const choice = await sequence.chooser.choose(executor, { repetitionPenalty: 1, topK: 0, stage: "confidence" });
    const readings = new Map<ConfidenceMeasure, number>();
    for (const { measure } of candidates) {
      if (measure === undefined || readings.has(measure)) continue;
      readings.set(measure, await host.confidence(sequence, { options, measure, executor }));
    }
    let plain: readonly AttentionProbs[] | undefined = await places?.attentionRows(promptLength - 1);

    // The rows, an unmodified one first
    const decided = candidates.flatMap((candidate) => {
      const { method, values } = candidate.settings;
      const read = candidate.measure && readings.get(candidate.measure);
      const confidence = read === undefined ? undefined : roundedConfidence(read, options);
      const edits = candidate.edits ?? method.edits(values, context, { confidence });
      return isOfLastRow(edits.scores, context) ? [{ ...candidate, edits, read }] : [];
    });
    for (const rows of partsOf(sharedRows(host, decided, context), maxRows)) {
      const { answerAttention, RowAttention } = await inspection();
      captured?.dispose();
      const size = { numRows: rows.length, numKeys: promptLength };
      captured = isMapped ? new RowAttention(model.gpu, text, size) : undefined;
      const scorer = host.scorer(continuations, promptLength);
      const generated = await generateRows(sequence, promptRows(host, rows, context), {
        executor,
        maxNewTokens,
        eosTokenIds: options.ignoreEos === true ? [] : model.processor.eosTokenIds,
        places: captured,
        scorer,
        signal,
      });
      const used = await captured?.read();
      for (const [row, sharing] of rows.entries()) {
        if (!isEdited(at(sharing, 0))) plain ??= used?.[row];
        const maps = used && { used: at(used, row), unmodified: plain };
        for (const method of sharing) {
          answers.set(method.index, {
            ...rowAnswer(at(generated, row), method, { model, options }),
            promptTokens: promptLength,
            reusedTokens: start,
            imageSpan: imageSpan(inputs),
            attention: maps && answerAttention(maps, inputs.images, text.numAttentionHeads),
            reads: [],
            continuations: scorer?.continuations(row) ?? [],
          });
        }
      }
    }
    return { answers, unmodifiedConfidence: choice.confidence };
  } finally {
    captured?.dispose();
    places?.dispose();
  }
}

/**
 * Answers under each of several factors, 1 leaving the scores as they are.
 * @throws as {@link answerRows}.
 */
export async function sweepRows(
  host: RowHost,
  inputs: ModelInputs,
  given: SweepOptions & { readonly factors: readonly number[] },
): Promise<SweepAnswer[]> {
  const { model } = host;
  const { factors, mapLayers, ...options } = given;
  const { signal } = options;
  const { text } = model.config;
  const promptLength = inputs.inputIds.length;
  const strange = mapLayers?.find((layer) => layer >= text.numHiddenLayers);
  if (strange !== undefined) {
    throw new InputError(`mapLayers: expected layers from 0 to ${text.numHiddenLayers - 1}, got ${strange}.`);
  }
  const settings = host.settings({ ...options, method: "scaling" }, promptLength);
  const { method, values } = settings;
  const context = editContext(inputs, model.config);
  const executor = new SubmitExecutor(model.gpu);
  const { sequence, start } = await host.prepare(inputs, {
    settings,
    executor,
    reuse: options.reusePrefix !== false,
    first: promptLength - 1,
    signal,
    batchRows: factors.length,
  });
  await sequence.prefill([start, promptLength - 1], { executor, signal });
  sequence.hold(inputs, promptLength - 1);
  const edits = factors.map((factor) => {
    const { scores } = method.edits({ ...values, factor }, context, { confidence: undefined });
    return scores;
  });
  const prompt = { promptLength, numRows: factors.length, edits: host.pack(edits, context), reachesGenerated: false };
  const isMapped = mapLayers !== undefined && inputs.images.length > 0;
  const { answerAttention, RowAttention } = isMapped ? await inspection() : {};
  const size = {
    numRows: factors.length,
    numKeys: promptLength,
    layers: mapLayers && [...new Set(mapLayers)].sort((a, b) => a - b),
  };
  const captured = RowAttention && new RowAttention(model.gpu, text, size);
  let rows: readonly GeneratedRow[];
  let used: Awaited<ReturnType<RowAttention["read"]>> | undefined;
  try {
    rows = await generateRows(sequence, prompt, {
      executor,
      maxNewTokens: settings.maxNewTokens,
      eosTokenIds: options.ignoreEos === true ? [] : model.processor.eosTokenIds,
      places: captured,
      signal,
    });
    used = await captured?.read();
  } finally {
    captured?.dispose();
  }
  const plain = factors.indexOf(1);
  return rows.map(({ tokens, isEnded, confidence }, index) => {
    const tokenIds = tokens.map(({ tokenId }) => tokenId);
    return {
      factor: at(factors, index),
      text: model.processor.textOf(tokenIds),
      tokenIds,
      finishReason: isEnded ? "eos" : "length",
      confidence: roundedConfidence(confidence, options),
      attention:
        used &&
        answerAttention?.(
          { used: at(used, index), unmodified: plain < 0 ? undefined : used[plain] },
          inputs.images,
          text.numAttentionHeads,
        ),
    };
  });
}

/** The methods whose edits may begin at the last prompt row: the rows before it are then the same for all of them. */
function candidatesOf(methods: readonly Settings[], context: EditContext): readonly Candidate[] {
  return methods.flatMap((settings, index) => {
    const { method, values } = settings;
    if (method.contrast?.(values, context) !== undefined) return [];
    const measure = method.reads?.(values);
    const edits = measure === undefined ? method.edits(values, context, { confidence: undefined }) : undefined;
    return edits !== undefined && !isOfLastRow(edits.scores, context) ? [] : [{ index, settings, measure, edits }];
  });
}

/**
 * Whether edits leave every row before the last of the prompt as it is, and need nothing of these rows but keys and values:
 * attention sinks are marked while a prompt runs.
 */
function isOfLastRow(scores: readonly ScoreEdit[], { promptLength }: EditContext): boolean {
  return scores.every(({ rows: [start], sinks }) => start >= promptLength - 1 && sinks === undefined);
}

function isEdited({ edits }: DecidedMethod): boolean {
  return edits.scores.length > 0;
}

/** Methods row by row, unmodified ones first; those with the same edits share a row. */
function sharedRows(
  host: RowHost,
  methods: readonly DecidedMethod[],
  context: EditContext,
): readonly (readonly DecidedMethod[])[] {
  const rows = new Map<string, DecidedMethod[]>();
  for (const method of [...methods].sort((a, b) => Number(isEdited(a)) - Number(isEdited(b)))) {
    const key = host.pack([method.edits.scores], context)?.join() ?? "";
    rows.set(key, [...(rows.get(key) ?? []), method]);
  }
  return [...rows.values()];
}

/** What a batch of rows runs with. */
function promptRows(host: RowHost, rows: readonly (readonly DecidedMethod[])[], context: EditContext): PromptRows {
  const { promptLength } = context;
  const edits = rows.map((sharing) => at(sharing, 0).edits.scores);
  const reachesGenerated = edits.flat().some(({ rows: [, end] }) => end > promptLength);
  return { promptLength, numRows: rows.length, edits: host.pack(edits, context), reachesGenerated };
}

/** The part of an answer that is the row's and the method's own. */
function rowAnswer(
  { tokens, isEnded, confidence }: GeneratedRow,
  { settings, edits, read }: DecidedMethod,
  { model, options }: { readonly model: Llava; readonly options: EachOptions },
) {
  const stream = model.processor.textStream();
  const generated = tokens.map(({ tokenId, logProb }, index): GeneratedToken => {
    const isLast = index === tokens.length - 1;
    const text = (isLast && isEnded ? "" : stream.push(tokenId)) + (isLast ? stream.flush() : "");
    return { tokenId, logProb, text, top: [] };
  });
  const exactConfidence = read ?? confidence;
  return {
    text: generated.map(({ text }) => text).join(""),
    tokens: generated,
    finishReason: isEnded ? ("eos" as const) : ("length" as const),
    method: settings.method.name,
    settings: settings.values,
    exactConfidence,
    confidence: roundedConfidence(exactConfidence, options),
    factor: edits.factor,
  };
}

/** Parts of a list, of at most `size` members each. */
function partsOf<T>(list: readonly T[], size: number): readonly (readonly T[])[] {
  const count = Math.ceil(list.length / size);
  return Array.from({ length: count }, (_, part) => list.slice(part * size, (part + 1) * size));
}
