// What a watched pass should have written: its kernel's twin on what the pass' own buffers held before it.

import { CACHE_DTYPES, type CacheDtype, cacheSlotLength } from "../../src/gpu/cache-format.ts";
import { ACTIVATIONS, type Activation } from "../../src/gpu/ops/activations.ts";
import type { HeadLayout } from "../../src/gpu/ops/rope.ts";
import { padTo4 } from "../../src/gpu/tensor.ts";
import { unpackScoreEdits } from "../../src/models/layers/describe-edits.ts";
import { type AttentionCall, attentionPrefill } from "../reference/attention-prefill.ts";
import { readSlots } from "../reference/cache-formats.ts";
import { gatedActivation } from "../reference/gated-activation.ts";
import { gatedMatvec } from "../reference/gated-matvec.ts";
import { layerNorm } from "../reference/layer-norm.ts";
import { type LinearCall, matmul, type Sums } from "../reference/matmul.ts";
import { rmsNorm } from "../reference/rms-norm.ts";
import { at, padRows, unpadRows } from "../reference/rows.ts";
import { editScore } from "../reference/score-edit.ts";
import { makeStep, type Step } from "../reference/step.ts";
import { BOUNDS, type Bound, linearBound } from "./bounds.ts";
import type { WatchedPass } from "./watch-passes.ts";

/** Values as they stand in `output`, from `offset`, row by row with padding. */
export interface Expected {
  readonly values: ArrayLike<number>;
  readonly magnitudes: ArrayLike<number>;
  readonly bound: Bound;
  /** Word of `output` at which a row begins, and values of a row. */
  readonly rowStart: (row: number) => number;
  readonly columns: number;
}

/** Undefined for a kernel that is not recomputed here. Weights have to be f32. */
export function expectedOutput(watched: WatchedPass): Expected | undefined {
  switch (watched.call.kernel.name) {
    case "matmul":
    case "matmul-octet":
    case "matmul-quad":
    case "matmul-tiled":
    case "matvec":
    case "matvec-reduce":
    case "matvec-subgroup":
      return linear(watched);
    case "gated-matvec":
    case "gated-matvec-reduce":
    case "gated-matvec-subgroup":
      return gated(watched);
    case "rms-norm":
    case "layer-norm":
      return norm(watched);
    case "gated-activation":
      return activation(watched);
    case "attention-prefill":
    case "attention-prefill-quad":
    case "attention-prefill-tiled":
      return prefill(watched);
    case "attention-decode-quad":
      return decode(watched);
    default:
      return undefined;
  }
}

function floats({ before }: WatchedPass, binding: string): Float32Array<ArrayBuffer> {
  const words = before.get(binding);
  if (words === undefined) throw new Error(`the pass has no ${binding}`);
  return new Float32Array(words.buffer);
}

function param({ call }: WatchedPass, name: string): number {
  const value = call.params[name];
  if (value === undefined) throw new Error(`${call.kernel.name} has no parameter ${name}`);
  return value;
}

function activationOf({ call }: WatchedPass): Activation {
  const names = Object.keys(ACTIVATIONS) as Activation[]; // Activation is keyof ACTIVATIONS
  return names.find((name) => ACTIVATIONS[name] === call.constants.ACTIVATION) ?? "none";
}

function rowsOf(sums: Sums, bound: Bound, columns: number, start = 0, stride = columns): Expected {
  return { ...sums, bound, columns, rowStart: (row) => start + row * stride };
}

function linearCall(watched: WatchedPass, columns: number): LinearCall {
  const inner = param(watched, "inner4") * 4;
  const start = param(watched, "inputRowStart") * inner;
  const numRows = param(watched, "numRows");
  const biasStart = param(watched, "biasColumn4") * 4;
  return {
    input: floats(watched, "input").subarray(start, start + numRows * inner),
    weight: floats(watched, "weight"),
    bias: watched.call.constants.HAS_BIAS === true ? floats(watched, "bias").subarray(biasStart) : undefined,
    numRows,
    inner,
    columns,
    activation: activationOf(watched),
  };
}

function linear(watched: WatchedPass): Expected {
  const columns = param(watched, "columns4") * 4;
  const stride = param(watched, "outputStride4") * 4;
  const start = param(watched, "outputColumn4") * 4;
  const call = linearCall(watched, columns);
  const held = floats(watched, "output");
  const isAdded = watched.call.constants.ADD_TO_OUTPUT === true;
  const addTo = Float32Array.from({ length: call.numRows * columns }, (_, index) =>
    at(held, start + Math.floor(index / columns) * stride + (index % columns)),
  );
  return rowsOf(
    matmul({ ...call, addTo: isAdded ? addTo : undefined }),
    linearBound(call.inner),
    columns,
    start,
    stride,
  );
}

function gated(watched: WatchedPass): Expected {
  const half = param(watched, "columns4") * 4;
  const call = linearCall(watched, 2 * half);
  return rowsOf(gatedMatvec(call, activationOf(watched)), linearBound(call.inner), half);
}

function norm(watched: WatchedPass): Expected {
  const columns = param(watched, "columns");
  const padded = padTo4(columns);
  const numRows = watched.call.grid[0];
  const input = unpadRows(floats(watched, "input").subarray(0, numRows * padded), padded, columns);
  const weight = floats(watched, "weight").subarray(0, columns);
  const eps = param(watched, "eps");
  const pad = (values: ArrayLike<number>) => padRows(values, columns, padded);
  if (watched.call.kernel.name === "rms-norm") {
    const values = pad(rmsNorm(input, weight, { eps }));
    return rowsOf({ values, magnitudes: values } as unknown as Sums, BOUNDS.rmsNorm, padded);
  }
  const { values, magnitudes } = layerNorm(input, weight, { bias: floats(watched, "bias").subarray(0, columns), eps });
  return {
    values: pad(values),
    magnitudes: pad(magnitudes),
    bound: BOUNDS.layerNorm,
    columns: padded,
    rowStart: (row) => row * padded,
  };
}

function activation(watched: WatchedPass): Expected {
  const columns = param(watched, "columns4") * 4;
  const numRows = watched.call.grid[1];
  const gateUp = floats(watched, "gateUp");
  const half = (part: number) =>
    Float32Array.from({ length: numRows * columns }, (_, index) =>
      at(gateUp, (2 * Math.floor(index / columns) + part) * columns + (index % columns)),
    );
  const [gate, up] = [half(0), half(1)];
  const values = gatedActivation(gate, up, { activation: activationOf(watched) });
  const magnitudes = Float64Array.from(values, (value, index) => Math.abs(value) + 0.4 * Math.abs(at(up, index)));
  return rowsOf({ values, magnitudes }, BOUNDS.gatedActivation, columns);
}

function stepOf({ call }: WatchedPass): Step {
  const word = (index: number) => at(call.words, index);
  const isBatch = word(1) === 0;
  const rowOf = (row: number) => [word(4 + 4 * row), word(5 + 4 * row)] as const;
  return makeStep({
    slotStart: word(0),
    slotStep: isBatch ? 0 : 1,
    prefixLength: word(2),
    rows: isBatch ? Array.from({ length: 32 }, (_, row) => rowOf(row)) : undefined,
  });
}

/** What the twin makes of a score: the pass' edits, of its layer. */
function editOf(watched: WatchedPass, step: Step): AttentionCall["edit"] {
  if (watched.call.constants.EDIT !== true) return (score) => score;
  const [layer, numHeads] = [param(watched, "layer"), param(watched, "numHeads")];
  const edits = { rows: unpackScoreEdits(watched.call.editWords, { layer, numHeads }), numLayers: 1, layer: 0 };
  return (score, place) => editScore(score, edits, { step, ...place });
}

/** What both attentions say of their operands; strides in values. */
interface Strides {
  readonly heads: HeadLayout;
  readonly numRows: number;
  readonly numSlots: number;
  readonly queryRow: number;
  readonly key: number;
  readonly value: number;
  readonly position: number;
  readonly head: number;
}

function attention(watched: WatchedPass, strides: Strides, call: Pick<AttentionCall, "numKeys" | "edit">): Expected {
  const { heads, numRows, numSlots } = strides;
  const { numHeads, numKeyValueHeads, headDim, paddedHeadDim } = heads;
  const gather = (
    binding: string,
    sizes: readonly [number, number],
    place: (outer: number, inner: number) => number,
  ) => {
    const held = floats(watched, binding);
    return Float32Array.from({ length: sizes[0] * sizes[1] * headDim }, (_, index) => {
      const vector = Math.floor(index / headDim);
      return at(held, place(Math.floor(vector / sizes[1]), vector % sizes[1]) + (index % headDim));
    });
  };
  const dtype = cacheDtypeOf(watched);
  const cached = (binding: string, offset: number) => {
    if (dtype !== "f32") {
      const { values } = readSlots(floats(watched, binding), headDim, dtype);
      const capacity = strides.head / strides.position;
      return Float32Array.from({ length: numKeyValueHeads * numSlots * headDim }, (_, index) => {
        const slot = Math.floor(index / headDim);
        return at(values, (Math.floor(slot / numSlots) * capacity + (slot % numSlots)) * headDim + (index % headDim));
      });
    }
    return gather(
      binding,
      [numKeyValueHeads, numSlots],
      (head, slot) => offset + head * strides.head + slot * strides.position,
    );
  };
  const values = cached("values", strides.value);
  const rows = attentionPrefill({
    heads,
    queries: gather("queries", [numRows, numHeads], (row, head) => row * strides.queryRow + head * paddedHeadDim),
    keys: cached("keys", strides.key),
    values,
    numRows,
    numSlots,
    slotOf: (_, key) => key,
    window: watched.call.constants.WINDOWED === true ? param(watched, "window") : undefined,
    ...call,
  });
  const largest = values.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  const all = rows.flat();
  const padded = (valuesOf: (row: (typeof all)[number]) => readonly number[]) =>
    padRows(all.flatMap(valuesOf), headDim, paddedHeadDim);
  return {
    values: padded(({ output }) => output),
    magnitudes: padded(({ output, largestScore }) => output.map(() => largest * (1 + largestScore))),
    bound: BOUNDS.attention,
    columns: numHeads * paddedHeadDim,
    rowStart: (row) => row * numHeads * paddedHeadDim,
  };
}

/** How the keys are stored that the pass reads. */
function cacheDtypeOf({ bound }: WatchedPass): CacheDtype {
  return CACHE_DTYPES.find((dtype) => dtype === bound.keys?.dtype) ?? "f32";
}

function headsOf(watched: WatchedPass): HeadLayout {
  const shape = watched.bound.queries?.shape ?? [];
  const [, numHeads = 0, headDim = 0] = shape;
  return { numHeads, numKeyValueHeads: numHeads / param(watched, "group"), headDim, paddedHeadDim: padTo4(headDim) };
}

function prefill(watched: WatchedPass): Expected {
  const isCausal = watched.call.constants.CAUSAL === true;
  const numRows = param(watched, "numRows");
  const step = isCausal ? stepOf(watched) : makeStep();
  const numSlots = isCausal ? step.slotStart + numRows : param(watched, "numKeys");
  return attention(
    watched,
    {
      heads: headsOf(watched),
      numRows,
      numSlots,
      queryRow: param(watched, "queryRowStride4") * 4,
      key: param(watched, "keyOffset4") * 4,
      value: param(watched, "valueOffset4") * 4,
      position: param(watched, "positionStride4") * 4,
      head: param(watched, "headStride4") * 4,
    },
    {
      numKeys: (row) => (isCausal ? step.slotStart + row + 1 : numSlots),
      edit: editOf(watched, step),
    },
  );
}

function decode(watched: WatchedPass): Expected {
  const step = stepOf(watched);
  const heads = headsOf(watched);
  const numSlots = step.slotStart + 1;
  return attention(
    watched,
    {
      heads,
      numRows: 1,
      numSlots,
      queryRow: param(watched, "queryRowStride4") * 4,
      key: 0,
      value: 0,
      position: cacheSlotLength(heads.paddedHeadDim, cacheDtypeOf(watched)),
      head: param(watched, "headStride4") * 4,
    },
    { numKeys: () => numSlots, edit: editOf(watched, step) },
  );
}
