// Row strengths against their twin, and the attention that adds them against the same edit of its probabilities.
import { describe, expect, test } from "vitest";
import { cacheSlotLength } from "../../src/gpu/cache-format.ts";
import {
  attentionDecode,
  attentionPrefill,
  type DecodeKernelName,
  NUM_DECODE_SPLITS,
  type PrefillKernelName,
} from "../../src/gpu/ops/attention.ts";
import { rowStrengths } from "../../src/gpu/ops/row-strengths.ts";
import { packScoreEdits, type ScoreEdit, type SinkRule } from "../../src/models/layers/score-edits.ts";
import { type AttentionRow, attentionPrefill as twin } from "../reference/attention-prefill.ts";
import { createRandom } from "../reference/random.ts";
import {
  redistributedProbs,
  redistributionStrengths,
  type ScoredRow,
  temperatureProbs,
  temperatureStrength,
} from "../reference/row-strengths.ts";
import { at, padRows } from "../reference/rows.ts";
import { editScore, makeEdit } from "../reference/score-edit.ts";
import { batchRow, cacheSlot, makeStep, packStep, rowSlot, type Step } from "../reference/step.ts";
import { openTestGpu, POISON, runKernel } from "../setup/run-kernel.ts";
import {
  attendStep,
  expectAttention,
  expectCapture,
  headLayout,
  inCache,
  makeOperands,
  type Operands,
  packed,
} from "./attention-cases.ts";

const HEADS = headLayout(4, 2, 32);
const NUM_LAYERS = 2;
/** The layer that runs; the other's strengths and sinks would show. */
const LAYER = 1;
const COLUMNS = [
  [4, 20],
  [31, 58],
] as const;
/** Rows see at most 74 keys; slots from 66 on are no sinks whatever their activation. */
const NUM_SINK_SLOTS = 66;
const SINKS = [0, 9, 10, 33, 63];
const RULE = { dimensions: [3], tau: 20, rho: 0.5, minimumShare: 0.2, numSlots: NUM_SINK_SLOTS };

const layered = (strengths: readonly number[]) => [9, 9, 9, 9, ...strengths];
const temperature = (...factors: readonly number[]): ScoreEdit =>
  makeEdit(8, layered(factors), { operation: "temperature", columns: COLUMNS });
const redistribute = (shares: readonly number[], rule: Partial<SinkRule> = {}): ScoreEdit =>
  makeEdit(8, layered(shares), { operation: "redistribute", columns: COLUMNS, sinks: { ...RULE, ...rule } });
const before = makeEdit(8, layered([1.5, 0.5, 1, 1]), { columns: [[0, 12]] });
const after = makeEdit(8, layered([0.5, 0, 0, -1]), { operation: "add", columns: [[2, 40]] });

interface Run {
  readonly edits: readonly (readonly ScoreEdit[])[];
  readonly isDecode: boolean;
  readonly decodeKernel?: DecodeKernelName;
  readonly prefillKernel?: PrefillKernelName;
  /** Rows that strengths are computed for; all unless given. */
  readonly rows?: readonly [number, number];
  /** Whether the attention does not run: each variant of its kernels takes long to compile. */
  readonly hasNoAttention?: boolean;
}

const isRowEdit = ({ operation }: ScoreEdit) => operation === "temperature" || operation === "redistribute";

/** Runs both ops, and compares strengths, captured attention and output with the twin's. */
async function expectEdited(operands: Operands, step: Step, run: Run): Promise<void> {
  const { heads, numRows, numSlots, cacheDtype = "f32", window } = operands;
  const { numHeads, numKeyValueHeads, headDim, paddedHeadDim } = heads;
  const words = packScoreEdits(run.edits, { numLayers: NUM_LAYERS, numHeads });
  const capture = { rows: [0, numRows], stride: 80 } as const;
  const length = (numRows + 1) * numHeads * capture.stride;
  const activations = new Float32Array(NUM_LAYERS * numSlots);
  for (const slot of [...SINKS, NUM_SINK_SLOTS]) activations[LAYER * numSlots + slot] = 20;
  activations[LAYER * numSlots + 12] = 19.9;
  activations[13] = 99; // of the other layer
  const queryRowStride = (numHeads + 2 * numKeyValueHeads) * paddedHeadDim;
  const padded = padRows(operands.queries, headDim, paddedHeadDim);
  const result = await runKernel(({ gpu, program, upload, uniform, output }) => {
    const edits = output(words.length + numRows * numHeads * 2);
    gpu.write(edits, words);
    const common = {
      heads,
      queries: upload(padRows(padded, numHeads * paddedHeadDim, queryRowStride, 1e30)),
      queryRowStride,
      keys: upload(packed(operands.keys, operands)),
      values: upload(packed(operands.values, operands)),
      cacheDtype,
      step: uniform(packStep(step)),
      numRows,
      window,
    };
    const place = { words: edits, layer: LAYER };
    const sinkActivations = upload(activations);
    rowStrengths(program, gpu, { ...common, edits: place, sinkActivations, capacity: numSlots, rows: run.rows });
    const captured = { scores: output(length), probs: output(length) };
    const attention = {
      ...common,
      output: output(numRows * numHeads * paddedHeadDim),
      capture: { ...captured, ...capture },
      edits: place,
    };
    const slotLength = cacheSlotLength(paddedHeadDim, cacheDtype);
    if (run.hasNoAttention === true) return { edits, ...captured, output: attention.output };
    if (run.isDecode) {
      const partials = output(numRows * numHeads * NUM_DECODE_SPLITS * paddedHeadDim);
      const stats = output(numRows * numHeads * NUM_DECODE_SPLITS * 2);
      attentionDecode(program, gpu, { ...attention, partials, stats, capacity: numSlots, kernel: run.decodeKernel });
    } else {
      attentionPrefill(program, gpu, {
        ...attention,
        causal: true,
        numKeys: 0,
        keyOffset: 0,
        valueOffset: 0,
        positionStride: slotLength,
        headStride: numSlots * slotLength,
        kernel: run.prefillKernel,
      });
    }
    return { edits, ...captured, output: attention.output };
  });

  const editsOf = (row: number) => run.edits[batchRow(step, row)] ?? [];
  const earlier = run.edits.map((edits) => edits.slice(0, Math.max(0, edits.findIndex(isRowEdit))));
  const later = run.edits.map((edits) => edits.slice(edits.findIndex(isRowEdit) + 1));
  const place = { numLayers: NUM_LAYERS, layer: LAYER };
  const rows = attendStep(operands, step, { rows: earlier, ...place });
  const shifts = rows.map((row, index) =>
    row.map((scored, head) => {
      const edit = editsOf(index).find(isRowEdit);
      const slot = rowSlot(step, index);
      if (edit === undefined || slot < edit.rows[0] || slot >= edit.rows[1]) return undefined;
      return shiftsOf(edit, at(edit.strengths, LAYER * numHeads + head), scored);
    }),
  );
  const expected = twin({
    ...operands,
    numKeys: (row) => rowSlot(step, row) + 1,
    slotOf: (row, key) => cacheSlot(step, row, key),
    edit: (score, { row, head, key }) => {
      const where = { step, row, head, key };
      const edited = editScore(score, { rows: earlier, ...place }, where);
      const shifted = shifts[row]?.[head]?.edited(edited, key) ?? edited;
      return editScore(shifted, { rows: later, ...place }, where);
    },
  });
  if (run.hasNoAttention !== true) expectAttention(result.output, expected, operands);
  if (run.hasNoAttention !== true) expectCapture(result, expected, { capture, filler: POISON });

  const strengths = result.edits.subarray(words.length);
  for (const [row, heads] of shifts.entries()) {
    for (const [head, shift] of heads.entries()) {
      const got = strengths.subarray(2 * (row * numHeads + head), 2 * (row * numHeads + head) + 2);
      for (const [index, value] of (shift?.strengths ?? []).entries()) {
        expect(Math.abs(at(got, index) - value), `row ${row}, head ${head}`).toBeLessThan(2e-5);
      }
      // The strengths mean what the paper says of the probabilities.
      const scored = rows[row]?.[head];
      if (shift === undefined || scored === undefined || later.some((edits) => edits.length > 0)) continue;
      for (const [index, prob] of shift.probs.entries()) {
        expect(at(expected[row]?.[head]?.probs ?? [], index)).toBeCloseTo(prob, 10);
      }
    }
  }
}

/** What an edit adds to the scores of one row and head, and the probabilities that it is to have. */
function shiftsOf(edit: ScoreEdit, strength: number, { firstKey, editedScores }: AttentionRow) {
  const isColumnKey = (key: number) => edit.columns.some(([start, end]) => key >= start && key < end);
  const isSinkKey = (key: number) => SINKS.includes(key);
  const row: ScoredRow = {
    scores: editedScores,
    isColumn: (index) => isColumnKey(firstKey + index),
    isSink: (index) => isSinkKey(firstKey + index),
  };
  if (edit.sinks === undefined) {
    if (strength === 1) return undefined;
    const shift = temperatureStrength(row, strength);
    return {
      strengths: [shift],
      probs: temperatureProbs(row, strength),
      edited: (score: number, key: number) => (isColumnKey(key) ? strength * score + shift : score),
    };
  }
  if (strength === 0) return undefined;
  const rule = { share: strength, rho: edit.sinks.rho, minimumShare: edit.sinks.minimumShare };
  const [ofSinks, ofOthers] = redistributionStrengths(row, rule);
  return {
    strengths: strength === 1 ? [] : [ofSinks, ofOthers],
    probs: redistributedProbs(row, rule),
    edited: (score: number, key: number) => {
      if (isSinkKey(key)) return score + Math.max(ofSinks, -69);
      return isColumnKey(key) ? score + ofOthers : score;
    },
  };
}

const random = createRandom(5);
const prompt = makeOperands(random, HEADS, { numRows: 20, numSlots: 80 }); // as many as make a variant that others test too
const promptStep = makeStep({ slotStart: 54 });
const batchStep = makeStep({ slotStart: 70, slotStep: 0, prefixLength: 64, tailStride: 2 });
const batch = makeOperands(random, HEADS, { numRows: 4, numSlots: 80 });

/** A batch whose rows have a temperature, none, a redistribution, and one between two other edits. */
const BATCH_EDITS = [
  [temperature(0.5, 1, 2, -1)],
  [after],
  [redistribute([0.6, 0.6, 1, 0], { rho: 0.1, minimumShare: 0.1 })],
  [before, redistribute([0.6, 0.3, 0.6, 0.6], { rho: 0.6 }), after],
];

describe("rowStrengths, then attentionPrefill", () => {
  const { prefill, window } = { prefill: { isDecode: false }, window: 50 };

  test.each(["attention-prefill", "attention-prefill-tiled", "attention-prefill-quad"] as const)("%s", async (name) => {
    if (name === "attention-prefill-quad" && !(await openTestGpu()).device.features.has("subgroups")) return;
    const temperatures = { ...temperature(0.5, 1, 2, -1), rows: [62, 70] as const };
    for (const edit of [temperatures, redistribute([0.6, 0.3, 0, 0.6])]) {
      const rows = edit === temperatures ? ([8, 16] as const) : undefined;
      await expectEdited(prompt, promptStep, { ...prefill, prefillKernel: name, edits: [[edit]], rows });
    }
  });

  test("between other edits, with a sliding window, over a cache in q8", async () => {
    const operands = { ...inCache(prompt, "q8"), window };
    for (const edit of [temperature(0.5, 1, 2, 3), redistribute([0.6, 0.3, 0.6, 0.6], { rho: 0.3, minimumShare: 0 })]) {
      await expectEdited(operands, promptStep, { ...prefill, edits: [[before, edit, after]], hasNoAttention: true });
    }
  });

  test("rows that see no column, and columns that are all sinks, are left alone", async () => {
    const early = makeOperands(random, HEADS, { numRows: 12, numSlots: 80 });
    const edits = [
      [{ ...redistribute([0.6, 0.6, 0.6, 0.6], { rho: 0, minimumShare: 0 }), columns: [[9, 11]] as const }],
    ];
    await expectEdited(early, makeStep(), { ...prefill, edits, hasNoAttention: true });
    await expectEdited(early, makeStep(), { ...prefill, edits: [[temperature(0.5, 2, 2, 2)]], hasNoAttention: true });
  });
});

describe("rowStrengths, then attentionDecode", () => {
  test.each(["attention-decode-split", "attention-decode-split-tiled", "attention-decode-quad"] as const)(
    "%s: batch rows, each with its own edits",
    async (decodeKernel) => {
      if (decodeKernel === "attention-decode-quad" && !(await openTestGpu()).device.features.has("subgroups")) return;
      await expectEdited(batch, batchStep, { isDecode: true, decodeKernel, edits: BATCH_EDITS });
    },
  );
});
