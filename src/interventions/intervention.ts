// What an intervention is: parameters described once, what it has to read of the unmodified pass, and what it edits from
// that. Each method is one file beside this one and a line in registry.ts.
import { InputError } from "../errors.ts";
import type { ImageInput, Run } from "../models/inputs.ts";
import type { ScoreEdit as PackedEdit, ScoreOperation, SinkRule } from "../models/layers/score-edits.ts";
import type { ColumnSelection, Parameters, RowSelection, SettingsOf } from "./parameters.ts";

/** The prompt and the model that an intervention acts on. */
export interface EditContext {
  readonly numLayers: number;
  /** Query heads of a layer. */
  readonly numHeads: number;
  /** Key/value heads of a layer. */
  readonly numKeyValueHeads: number;
  readonly hiddenSize: number;
  readonly intermediateSize: number;
  readonly promptLength: number;
  /** Whether lm_head is the embedding table. */
  readonly tieWordEmbeddings: boolean;
  /** Positions that hold image features, in order. */
  readonly imageRuns: readonly Run[];
  /** The pictures, in order: which part of each its positions show. */
  readonly images: readonly EditedImage[];
}

/** What says which part of a picture its positions show. */
export type EditedImage = Pick<ImageInput, "rowIndex" | "grid" | "tiles" | "view">;

/** An edit of attention scores before the softmax. */
export interface ScoreEdit {
  readonly operation: ScoreOperation;
  /** One strength for all layers and heads of the edit, or [numLayers, numHeads] f32. */
  readonly strength: number | Float32Array;
  /** Decoder layers it acts on; all unless given. */
  readonly layers?: readonly number[] | undefined;
  /** Query heads it acts on; all unless given. */
  readonly heads?: readonly number[] | undefined;
  /** Key positions. */
  readonly columns: readonly Run[];
  /** Query positions; an end beyond the prompt reaches that many generated rows. */
  readonly rows: Run;
  /** Which positions of the prompt are attention sinks: of `redistribute`, and of no other operation. */
  readonly sinks?: SinkRule | undefined;
}

/** What a gate reads from the first token's distribution in the unmodified pass; see {@link confidenceOf}. */
export type ConfidenceMeasure = "probability" | "margin" | "entropy" | "logit";

/** What was read before an intervention decides. */
export interface Readings {
  /** The first token's confidence by the measure that {@link Intervention.reads} names; undefined where it names none. */
  readonly confidence: number | undefined;
}

/** What an intervention does to one answer. */
export interface Edits {
  readonly scores: readonly ScoreEdit[];
  /** What image scores are multiplied by, for reports; 1 where nothing is multiplied. */
  readonly factor: number;
}

/**
 * Other logits that change those of the answer at every token, before one is chosen. `combine` changes the next token's logits
 * [V], its first argument, in place. They must stay finite, so a token is ruled out with {@link RULED_OUT}.
 */
export type Contrast = NoPictureContrast | ChangedPictureContrast | EarlyLayerContrast;

/** The other logits come from a second, unmodified stream: the same prompt without its pictures. Without a picture there is none. */
export interface NoPictureContrast {
  readonly against: "no-picture";
  /**
   * @param other logits [V] of the second stream
   * @param index of the token in the answer, from 0
   */
  readonly combine: (logits: Float32Array, other: Float32Array, index: number) => void;
}

/** The other logits come from a second, unmodified stream: the same prompt with other pixel values. Without a picture there is none. */
export interface ChangedPictureContrast {
  readonly against: "changed-picture";
  /**
   * The pixel values that the second stream sees in place of a picture's, as many.
   * @param pixelValues [N, C, S, S] f32, to be left unchanged
   * @param index of the picture in the prompt
   */
  readonly changed: (pixelValues: Float32Array<ArrayBuffer>, index: number) => Float32Array<ArrayBuffer>;
  /**
   * @param other logits [V] of the second stream
   * @param index of the token in the answer, from 0
   */
  readonly combine: (logits: Float32Array, other: Float32Array, index: number) => void;
}

/** The other logits are those that hidden states of the same row in earlier layers give through lm_head. */
export interface EarlyLayerContrast {
  readonly against: "early-layers";
  /** Numbers of hidden states: 0 is the decoder's input, i the output of its i-th layer; at least one, each below the number of layers. */
  readonly layers: readonly number[];
  /** Whether the final norm is applied to them before lm_head. */
  readonly isNormalised: boolean;
  /** @param early logits [V] for each of `layers` */
  readonly combine: (logits: Float32Array, early: readonly Float32Array[]) => void;
}

/** The logit of a token that a contrast rules out: its probability is 0 at any temperature in use. */
export const RULED_OUT = -1e9;

/** A method of answering. */
export interface Intervention<P extends Parameters = Parameters, Name extends string = string> {
  /** As the command line and the library spell it, in kebab-case. */
  readonly name: Name;
  /** As papers spell it. */
  readonly title: string;
  /** One phrase for help texts. */
  readonly summary: string;
  /** Paper and section. */
  readonly source: string;
  readonly parameters: P;
  /**
   * The confidence that has to be read from an unmodified pass before {@link Intervention.edits} can decide. Without it, the
   * edits act in the first pass, and no unmodified pass runs.
   */
  reads?(settings: SettingsOf<P>): ConfidenceMeasure;
  /** The edits of one answer. Rows before the first edited one are shared with the unmodified pass. */
  edits(settings: SettingsOf<P>, context: EditContext, readings: Readings): Edits;
  /** The logits that those of every token are contrasted with; undefined where the settings ask for no contrast. */
  contrast?(settings: SettingsOf<P>, context: EditContext): Contrast | undefined;
}

/** Types an intervention's settings from its parameters. */
export function defineIntervention<const P extends Parameters, const Name extends string>(
  intervention: Intervention<P, Name>,
): Intervention<P, Name> {
  return intervention;
}

/** No change. */
export const NO_EDITS: Edits = { scores: [], factor: 1 };

/** The confidence that was read. @throws RangeError when the intervention names no measure in `reads`. */
export function readConfidence({ confidence }: Readings): number {
  if (confidence === undefined) throw new RangeError("readings: expected a confidence, but `reads` names no measure");
  return confidence;
}

/** Query positions [start, end) of a selection; an end at infinity reaches every generated row. */
export function rowsOf(rows: RowSelection, context: EditContext): Run {
  const { promptLength, imageRuns } = context;
  if (rows === "last") return [promptLength - 1, promptLength];
  if (rows === "generated") return [promptLength - 1, Number.POSITIVE_INFINITY];
  if (rows === "after-image") return [imageRuns.at(-1)?.[1] ?? 0, Number.POSITIVE_INFINITY];
  return [promptLength - rows.last, promptLength];
}

/** Key positions of a selection as runs in ascending order. */
export function columnsOf(columns: ColumnSelection, context: EditContext): readonly Run[] {
  return columns === "image" ? context.imageRuns : runsOf(columns);
}

/** Positions as runs in ascending order. */
export function runsOf(positions: readonly number[]): readonly Run[] {
  const runs: [number, number][] = [];
  for (const position of [...new Set(positions)].sort((a, b) => a - b)) {
    const last = runs.at(-1);
    if (last !== undefined && last[1] === position) last[1]++;
    else runs.push([position, position + 1]);
  }
  return runs;
}

/** @throws InputError for a prompt without a picture. */
export function requirePicture(method: string, { imageRuns }: EditContext): void {
  if (imageRuns.length > 0) return;
  throw new InputError(`Method ${method} changes the attention on a picture, and there is none: ask about one.`);
}

/** Strength that leaves a score unchanged. */
export const NEUTRAL: Readonly<Record<ScoreOperation, number>> = {
  multiply: 1,
  add: 0,
  "add-magnitude": 0,
  "knock-out": 0,
  temperature: 1,
  redistribute: 0,
};

/** The largest slot, where a range of rows is open. */
const EVERY_ROW = 0xffffffff;

/** An edit as the kernels take it: a strength for each layer and head, neutral where it does not act. */
export function packedEdit(edit: ScoreEdit, context: EditContext): PackedEdit {
  const { operation, strength, columns, rows, sinks } = edit;
  const { numLayers, numHeads, hiddenSize, promptLength } = context;
  const bad = sinks?.dimensions.find((dimension) => !(dimension < hiddenSize));
  if (bad !== undefined) {
    throw new InputError(`dimensions must be whole numbers from 0 to ${hiddenSize - 1}, got ${bad}.`);
  }
  const strengths = new Float32Array(numLayers * numHeads).fill(NEUTRAL[operation]);
  const given = typeof strength === "number" ? new Float32Array(strengths.length).fill(strength) : strength;
  for (let layer = 0; layer < numLayers; layer++) {
    if (edit.layers !== undefined && !edit.layers.includes(layer)) continue;
    for (let head = 0; head < numHeads; head++) {
      if (edit.heads !== undefined && !edit.heads.includes(head)) continue;
      const at = layer * numHeads + head;
      const value = given[at];
      if (value === undefined) {
        throw new InputError(`strengths must be ${numLayers} × ${numHeads} numbers, got ${given.length}.`);
      }
      strengths[at] = value;
    }
  }
  return {
    operation,
    columns,
    strengths,
    rows: [rows[0], Math.min(rows[1], EVERY_ROW)],
    sinks: sinks && { ...sinks, numSlots: promptLength },
  };
}
