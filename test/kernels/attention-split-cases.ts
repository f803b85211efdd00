// What the tests of the two split kernels share: the twin's splits, and the comparison.
import { attentionDecodeSplit, type SplitResult } from "../reference/attention-decode-split.ts";
import { at, unpadRows } from "../reference/rows.ts";
import type { Edits } from "../reference/score-edit.ts";
import { cacheSlot, type Step } from "../reference/step.ts";
import { BOUNDS } from "../setup/bounds.ts";
import { expectClose } from "../setup/expect-close.ts";
import { attendStep, type Operands } from "./attention-cases.ts";

/** The twin's splits of all rows and heads, in the buffers' order. */
export function splitsOf(
  operands: Operands,
  { step, edits }: { readonly step: Step; readonly edits?: Edits | undefined },
  { numSplits, multiple = 1 }: { readonly numSplits: number; readonly multiple?: number },
): readonly SplitResult[] {
  const { heads, numSlots, values } = operands;
  return attendStep(operands, step, edits).flatMap((row, rowIndex) =>
    row.flatMap(({ firstKey, editedScores }, head) => {
      const keyHead = Math.floor(head / (heads.numHeads / heads.numKeyValueHeads));
      return attentionDecodeSplit(
        editedScores,
        editedScores.map((_, key) => {
          const start = (keyHead * numSlots + cacheSlot(step, rowIndex, firstKey + key)) * heads.headDim;
          return Array.from({ length: heads.headDim }, (_, d) => at(values, start + d));
        }),
        { numSplits, multiple },
      );
    }),
  );
}

/** Compares the splits that a kernel left with the twin's. */
export function expectSplits(
  actual: { readonly partials: Float32Array; readonly stats: Float32Array },
  expected: readonly SplitResult[],
  operands: Operands,
): void {
  const { headDim, paddedHeadDim } = operands.heads;
  const largestValue = operands.values.reduce((largest, value) => Math.max(largest, Math.abs(value)), 0);
  // Of a split of which all keys are knocked out, the largest score is as large as a score can be, and exact.
  const counted = expected.filter(({ total, largest }) => total > 0 && largest > -1e38);
  const largestScore = Math.max(0, ...counted.map(({ largest }) => Math.abs(largest)));
  const column = (index: number) => actual.stats.filter((_, at) => at % 2 === index);
  // A split without keys has a sum of 0; its largest score then is whatever is smaller than every score.
  expectClose(
    column(0).map((largest, index) => (expected[index]?.total === 0 ? 0 : largest)),
    expected.map(({ largest, total }) => (total === 0 ? 0 : largest)),
    BOUNDS.attentionScores,
    { shape: [expected.length], magnitudes: expected.map(({ largest }) => Math.max(1 + largestScore, -largest)) },
  );
  expectClose(
    column(1),
    expected.map(({ total }) => total),
    BOUNDS.attention,
    { shape: [expected.length], magnitudes: expected.map(({ total }) => total * (1 + largestScore)) },
  );
  expectClose(
    unpadRows(actual.partials, paddedHeadDim, headDim),
    expected.flatMap(({ partial }) => partial),
    BOUNDS.attention,
    {
      shape: [expected.length, headDim],
      magnitudes: expected.flatMap(({ partial, total }) =>
        partial.map(() => total * largestValue * (1 + largestScore)),
      ),
    },
  );
}
