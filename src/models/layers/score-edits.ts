// Edits of attention scores as the kernels read them: see shaders/shared/score-edit.wgsl, which applies them.
import { at, InputError } from "../../errors.ts";
import { MAX_BATCH_ROWS } from "./step.ts";

/** The operations by their number in shaders/shared/score-edit.wgsl. */
const OPERATIONS = { multiply: 0, add: 1, "add-magnitude": 2, "knock-out": 3 } as const;

const HEADER_WORDS = 2 * MAX_BATCH_ROWS;
const EDIT_WORDS = 8;

/** The end of rows without end. */
const LAST_SLOT = 0xffffffff;

/**
 * What an edit makes of a score: `multiply` score · strength, `add` score + strength, `add-magnitude`
 * score + strength · |score|, `knock-out` −3e38 where the strength is not 0. The neutral strength, which changes nothing,
 * is 1 for `multiply` and 0 for the others.
 */
export type ScoreOperation = keyof typeof OPERATIONS;

/** One change of the attention scores of some query rows and keys of a sequence, before softmax. */
export interface ScoreEdit {
  readonly operation: ScoreOperation;
  /** Query slots [start, end); an end of Infinity takes in all generated rows. */
  readonly rows: readonly [start: number, end: number];
  /** Key slots, as half-open runs. */
  readonly columns: readonly (readonly [start: number, end: number])[];
  /** [layers, H]; neutral where a layer or head is left alone. */
  readonly strengths: Float32Array;
}

/** Sizes of the decoder that edits are packed for. */
export interface EditSizes {
  readonly numLayers: number;
  readonly numHeads: number;
}

/**
 * Packs edits as the kernels read them. Columns and strengths arrays that edits share are stored once.
 * @param edits the edits of each batch row (of the one sequence), in the order in which they apply
 * @throws InputError for more than 32 batch rows, rows or columns that are not ranges of slots, and strengths that are not
 *   layers × heads finite numbers.
 */
export function packScoreEdits(edits: readonly (readonly ScoreEdit[])[], sizes: EditSizes): Uint32Array<ArrayBuffer> {
  if (edits.length > MAX_BATCH_ROWS) {
    throw new InputError(`edits: ${edits.length} batch rows were given, at most ${MAX_BATCH_ROWS} run in one batch.`);
  }
  const all = edits.flat();
  for (const edit of all) checkEdit(edit, sizes);
  let end = HEADER_WORDS + all.length * EDIT_WORDS;
  const startOf = new Map<object, number>();
  const place = (shared: object, numWords: number): number => {
    const known = startOf.get(shared);
    if (known !== undefined) return known;
    const start = end;
    startOf.set(shared, start);
    end += numWords;
    return start;
  };
  const placed = edits.map((rowEdits) =>
    rowEdits.map((edit) => ({
      ...edit,
      maskStart: place(edit.columns, maskWords(edit.columns)),
      strengthStart: place(edit.strengths, edit.strengths.length),
    })),
  );

  const words = new Uint32Array(end);
  const floats = new Float32Array(words.buffer);
  let at = HEADER_WORDS;
  for (const [batchRow, rowEdits] of placed.entries()) {
    words.set([at, rowEdits.length], 2 * batchRow);
    for (const { operation, rows, columns, strengths, maskStart, strengthStart } of rowEdits) {
      words.set([OPERATIONS[operation], rows[0], lastRow(rows), maskStart, maskWords(columns), strengthStart], at);
      writeMask(words, maskStart, columns);
      floats.set(strengths, strengthStart);
      at += EDIT_WORDS;
    }
  }
  return words;
}

function checkEdit({ operation, rows, columns, strengths }: ScoreEdit, { numLayers, numHeads }: EditSizes): void {
  for (const [start, end] of [...columns, [rows[0], lastRow(rows)]] as const) {
    if (Number.isInteger(start) && Number.isInteger(end) && start >= 0 && start <= end) continue;
    throw new InputError(
      `${operation}: rows and columns must be ranges [start, end) of slots, got [${start}, ${end}).`,
    );
  }
  if (strengths.length !== numLayers * numHeads) {
    throw new InputError(
      `${operation}: expected a strength for each of ${numLayers} layers × ${numHeads} heads, got ${strengths.length}.`,
    );
  }
  const bad = strengths.find((strength) => !Number.isFinite(strength));
  if (bad !== undefined) throw new InputError(`${operation}: strengths must be finite numbers, got ${bad}.`);
}

type Columns = ScoreEdit["columns"];

function lastRow([, end]: ScoreEdit["rows"]): number {
  return Math.min(end, LAST_SLOT);
}

function maskWords(columns: Columns): number {
  return Math.ceil(columns.reduce((most, [start, end]) => (end > start ? Math.max(most, end) : most), 0) / 32);
}

function writeMask(words: Uint32Array, maskStart: number, columns: Columns): void {
  for (const [start, end] of columns) {
    for (let slot = start; slot < end; slot++) {
      const word = maskStart + (slot >>> 5);
      words[word] = at(words, word) | (1 << (slot & 31));
    }
  }
}
