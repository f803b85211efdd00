// A trace of what was read: one tensor per place, with its positions in the metadata.
import type { ModelConfig } from "../models/config.ts";
import type { ModelInputs } from "../models/inputs.ts";
import { canonicalPlace, placeKindOf } from "./place-names.ts";
import type { PlaceValues } from "./places.ts";
import { type ReadContext, readName } from "./read-expression.ts";
import { TokenTexts } from "./token-texts.ts";
import { type TracedAnswer, type TracedModel, type TraceTensor, traceMetadata } from "./trace.ts";

/** What the metadata's `reads` says about a tensor. */
export interface ReadMetadata {
  /** Our name of the place. */
  readonly place: string;
  /** What the tensor's axes are, such as position, head and key. */
  readonly axes: readonly string[];
  /** Prompt positions, then those of generated tokens; null for the vision tower. */
  readonly positions: readonly number[] | null;
  /** The heads in their order; null for a place without heads. */
  readonly heads: readonly number[] | null;
}

/** What the words of a read stand for. @param maxNewTokens of which the last is not run */
export function readContext(
  model: Pick<TracedModel, "processor"> & { readonly config: ModelConfig },
  inputs: ModelInputs,
  maxNewTokens: number,
): ReadContext {
  const { processor, config } = model;
  const texts = processor.hasTokenizer ? new TokenTexts(processor.tokenizer) : undefined;
  return {
    text: config.text,
    numVisionStates: config.multimodal === undefined ? 0 : config.multimodal.numVisionLayers + 1,
    inputs,
    maxPositions: inputs.inputIds.length + Math.max(0, maxNewTokens - 1),
    textOf: texts && ((id) => texts.of(id)),
  };
}

/** The tensors and the metadata of what was read: `input_ids`, a tensor per place and selection of heads, `generated_ids`. */
export function readTrace(
  model: TracedModel & { readonly config: ModelConfig },
  inputs: ModelInputs,
  answer: TracedAnswer & { readonly reads: readonly PlaceValues[] },
): { readonly tensors: readonly TraceTensor[]; readonly metadata: Readonly<Record<string, string>> } {
  const generatedIds = Int32Array.from(answer.tokens, ({ tokenId }) => tokenId);
  const byName = new Map<string, PlaceValues>();
  for (const read of answer.reads) {
    const name = readName(read);
    const before = byName.get(name);
    byName.set(name, before === undefined ? read : merged(before, read));
  }
  const reads = [...byName];
  const { numAttentionHeads } = model.config.text;
  const about = reads.map(([name, read]) => [name, aboutRead(read, numAttentionHeads)] as const);
  const integers = (name: string, data: Int32Array<ArrayBuffer>): TraceTensor => {
    return { name, dtype: "I32", shape: [data.length], data };
  };
  return {
    tensors: [
      integers("input_ids", inputs.inputIds),
      ...reads.map(([name, { shape, data }]): TraceTensor => ({ name, dtype: "F32", shape, data })),
      integers("generated_ids", generatedIds),
    ],
    metadata: { ...traceMetadata(model, { inputs, answer }), reads: JSON.stringify(Object.fromEntries(about)) },
  };
}

function aboutRead({ place, positions, heads }: PlaceValues, numHeads: number): ReadMetadata {
  const kind = placeKindOf(place);
  const axes = (kind?.shape ?? "")
    .slice(1, -1)
    .split(", ")
    .map((letter) => AXES[letter] ?? "column");
  const all = kind?.hasHeads === true ? Array.from({ length: numHeads }, (_, head) => head) : null;
  return { place: ownName(place), axes, positions: positions ?? null, heads: heads ?? all };
}

const AXES: Readonly<Record<string, string>> = {
  n: "position",
  H: "head",
  S: "key",
  V: "token",
  tiles: "tile",
  "P + 1": "patch",
};

/** Our name, in the form that the tables have. */
function ownName(place: string): string {
  return canonicalPlace(place).replace(/^(layers\.\d+)\.mlp\.down_proj$/, "$1.hidden_states");
}

/** The rows of two reads of one place; attention rows that see fewer keys get zeros behind them. */
function merged(a: PlaceValues, b: PlaceValues): PlaceValues {
  if (a.positions === undefined || b.positions === undefined) return a;
  const rows = new Map<number, { readonly read: PlaceValues; readonly row: number }>();
  for (const read of [a, b])
    for (const [row, position] of (read.positions ?? []).entries()) rows.set(position, { read, row });
  const positions = [...rows.keys()].sort((first, second) => first - second);
  const wider = Number(a.shape.at(-1)) >= Number(b.shape.at(-1)) ? a : b;
  const width = Number(wider.shape.at(-1));
  const inner = wider.shape.slice(1, -1).reduce((product, size) => product * size, 1);
  const data = new Float32Array(positions.length * inner * width);
  for (const [index, position] of positions.entries()) {
    const found = rows.get(position);
    if (found === undefined) continue;
    const own = Number(found.read.shape.at(-1));
    for (let line = 0; line < inner; line++) {
      const start = (found.row * inner + line) * own;
      data.set(found.read.data.subarray(start, start + own), (index * inner + line) * width);
    }
  }
  return { ...wider, positions, shape: [positions.length, ...wider.shape.slice(1)], data };
}
