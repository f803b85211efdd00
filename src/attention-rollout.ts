// What a row's attention adds up to over all layers, and which tokens receive attention whatever is asked.
import type { Answer, AnswerOptions } from "./answer.ts";
import { DEFAULT_ROW_BYTES, eachLayerOfRows } from "./attention-layers.ts";
import { at } from "./errors.ts";
import { type AttentionMap, attentionMap } from "./inspect/attention-map.ts";
import { RolledRow } from "./inspect/rollout.ts";
import { Importance, SINK_THRESHOLD } from "./inspect/sink-tokens.ts";
import type { Llava } from "./llava.ts";
import type { ModelInputs } from "./models/inputs.ts";
import { numberFrom, readOptions, whole } from "./options.ts";

/** Whose attention is rolled out, and how much memory that may take. */
export interface AttentionRolloutOptions extends AnswerOptions {
  /** The generated token, from 0, whose row is rolled out: that which it was chosen from. 0, the last prompt row, unless given. */
  readonly token?: number | undefined;
  /** Bytes on the GPU for the rows that are read at a time; 256 MiB unless given. Fewer bytes take more runs of the prompt. */
  readonly maxBytes?: number | undefined;
}

/** The rollout of a row. */
export interface AttentionRollout {
  readonly answer: Answer;
  /** [positions up to the row] f64: the share of the row that comes from each position; they sum to 1. */
  readonly values: Float64Array<ArrayBuffer>;
  /** The rollout over a picture, the first unless given; its `layer` is the last that was rolled out. */
  map(image?: number): AttentionMap;
}

/**
 * Attention rollout of the row that a token was chosen from: the product over all layers of (A + I) / 2, A being the mean over heads.
 * Source: Abnar & Zuidema, arXiv 2005.00928, section 3.
 *
 * It needs the attention of all rows in all layers: 8 · S² · H bytes on the GPU per layer for S positions and H heads, read in as many
 * runs as `maxBytes` asks for (LLaVA-1.5-7B, 600 positions: 92 MB per layer, 16 runs of the prompt at 256 MiB).
 * @throws InputError for a bad option; GpuError.
 */
export async function attentionRollout(
  model: Llava,
  inputs: ModelInputs,
  options: AttentionRolloutOptions = {},
): Promise<AttentionRollout> {
  const { token = 0, maxBytes, ...asked } = options;
  readOptions("attentionRollout", { token, maxBytes }, { token: whole(0), maxBytes: numberFrom({ above: 0 }) });
  const { text } = model.config;
  const row = inputs.inputIds.length - 1 + token;
  const rolled = new RolledRow(row);
  let answer: Answer | undefined;
  const ask = async (of: AnswerOptions) => {
    answer = await model.answer(inputs, of);
    return answer;
  };
  await eachLayerOfRows(
    ask,
    {
      text,
      numRows: row + 1,
      layers: layersOf(model).reverse(),
      maxBufferBytes: model.gpu.device.limits.maxStorageBufferBindingSize,
      maxBytes,
      options: { ...asked, maxNewTokens: token + 1 },
    },
    (rows) => rolled.add(rows),
  );
  const values = rolled.values();
  return {
    answer: at(
      [answer].flatMap((made) => made ?? []),
      0,
    ),
    values,
    map: (image = 0) =>
      attentionMap([{ layer: text.numHiddenLayers - 1, probs: Float32Array.from(values) }], at(inputs.images, image), {
        numHeads: 1,
        selection: { layer: text.numHiddenLayers - 1 },
      }),
  };
}

/** Which tokens are attention sinks, and by what. */
export interface SinkTokensOptions extends AnswerOptions {
  /** Layer whose attention is looked at. */
  readonly layer: number;
  /** Head whose attention is looked at; the mean of all unless given. */
  readonly head?: number | undefined;
  /** Importance above which a token is a sink; 0.3, the paper's, unless given. */
  readonly threshold?: number | undefined;
  /** As for a rollout. */
  readonly maxBytes?: number | undefined;
}

/** The attention sinks of a layer. */
export interface SinkTokens {
  /** Positions of sinks in the prompt, ascending. */
  readonly positions: readonly number[];
  /** [prompt positions] f64: the mean attention that each position receives from itself and all rows after it. */
  readonly importance: Float64Array<ArrayBuffer>;
  readonly threshold: number;
}

/**
 * Finds the tokens that the rows after them attend to whatever they hold: those whose importance, the mean over rows i ≥ k of A[i, k],
 * is above a threshold. Source: Gu et al., arXiv 2410.10781 (importance score α, threshold ε).
 * @throws InputError for a bad option; GpuError.
 */
export async function sinkTokens(model: Llava, inputs: ModelInputs, options: SinkTokensOptions): Promise<SinkTokens> {
  const { layer, head, threshold = SINK_THRESHOLD, maxBytes = DEFAULT_ROW_BYTES, ...asked } = options;
  const { numHiddenLayers, numAttentionHeads } = model.config.text;
  readOptions(
    "sinkTokens",
    { layer, head, threshold, maxBytes },
    {
      layer: whole(0, numHiddenLayers - 1),
      head: whole(0, numAttentionHeads - 1),
      threshold: numberFrom({ least: 0, most: 1 }),
      maxBytes: numberFrom({ above: 0 }),
    },
  );
  const numRows = inputs.inputIds.length;
  const importance = new Importance(numRows, head);
  await eachLayerOfRows(
    (of) => model.answer(inputs, of),
    {
      text: model.config.text,
      numRows,
      layers: [layer],
      maxBufferBytes: model.gpu.device.limits.maxStorageBufferBindingSize,
      maxBytes,
      options: { ...asked, maxNewTokens: 1 },
    },
    (rows) => importance.add(rows),
  );
  const values = importance.values();
  const positions = Array.from(values.keys()).filter((position) => at(values, position) > threshold);
  return { positions, importance: values, threshold };
}

function layersOf(model: Llava): number[] {
  return Array.from({ length: model.config.text.numHiddenLayers }, (_, layer) => layer);
}
