// Edits of attention scores as the kernels read them: see shaders/shared/score-edit.wgsl, which applies them.
import { at, InputError } from "../../errors.ts";
import { MAX_BATCH_ROWS } from "./step.ts";

/** The operations by their number in shaders/shared/score-edit.wgsl. */
const OPERATIONS = { multiply: 0, add: 1, "add-magnitude": 2, "knock-out": 3 } as const satisfies Partial<
  Record<ScoreOperation, number>
>;

const HEADER_WORDS = 2 * MAX_BATCH_ROWS;
const EDIT_WORDS = 8;
/** Words of a rule before its dimensions. */
const RULE_WORDS = 7;
/** Words of a row and head's strengths. */
const ROW_STRENGTH_WORDS = 2;

/** The end of rows without end. */
const LAST_SLOT = 0xffffffff;

/**
 * What an edit makes of a score: `multiply` score · strength, `add` score + strength, `add-magnitude`
 * score + strength · |score|, `knock-out` −3e38 where the strength is not 0. Two keep the row's total attention: `temperature`
 * makes of the scores of its columns score · strength + c, with c of each row such that they keep their share of the attention;
 * `redistribute` takes the share `strength` of the attention of the row's sinks and gives it to those of its columns that are
 * none, in proportion to theirs, where the head meets {@link SinkRule}. The neutral strength, which changes nothing, is 1 for
 * `multiply` and `temperature` and 0 for the others.
 */
export type ScoreOperation = "multiply" | "add" | "add-magnitude" | "knock-out" | "temperature" | "redistribute";

/** Which positions are attention sinks, and which heads redistribute what they give to them. */
export interface SinkRule {
  /** Dimensions of the hidden states that sinks stand out in. */
  readonly dimensions: readonly number[];
  /** Largest |value| of these dimensions, of a layer's input at a root mean square of 1, from which a position is a sink. */
  readonly tau: number;
  /** Least share of the columns that are no sinks in the attention of all columns. */
  readonly rho: number;
  /** Least share of the columns in the attention of the row. */
  readonly minimumShare: number;
}

/** One change of the attention scores of some query rows and keys of a sequence, before softmax. */
export interface ScoreEdit {
  readonly operation: ScoreOperation;
  /** Query slots [start, end); an end of Infinity takes in all generated rows. */
  readonly rows: readonly [start: number, end: number];
  /** Key slots, as half-open runs. */
  readonly columns: readonly (readonly [start: number, end: number])[];
  /** [layers, H]; neutral where a layer or head is left alone. */
  readonly strengths: Float32Array;
  /** Of `redistribute`, and of no other operation: its rule, and the number of first slots that may be sinks. */
  readonly sinks?: (SinkRule & { readonly numSlots: number }) | undefined;
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
  for (const edit of edits.flat()) checkEdit(edit, sizes);
  checkRowStrengths(edits);
  let end = HEADER_WORDS + edits.flat().reduce((sum, { operation }) => sum + numPacked(operation), 0) * EDIT_WORDS;
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
      sinkMasks: placedSinks(edit, place),
    })),
  );

  const words = new Uint32Array(end);
  const floats = new Float32Array(words.buffer);
  let at = HEADER_WORDS;
  for (const [batchRow, rowEdits] of placed.entries()) {
    words.set([at, rowEdits.reduce((sum, { operation }) => sum + numPacked(operation), 0)], 2 * batchRow);
    for (const { operation, rows, columns, strengths, maskStart, strengthStart, sinks, sinkMasks } of rowEdits) {
      const mask = [maskStart, maskWords(columns)];
      const put = (number: number, mask: readonly number[], [rowStrengthStart = 0, rule = 0] = []) => {
        words.set([number, rows[0], lastRow(rows), ...mask, strengthStart, rowStrengthStart, rule], at);
        at += EDIT_WORDS;
      };
      writeMask(words, maskStart, columns);
      floats.set(strengths, strengthStart);
      if (sinks !== undefined && sinkMasks !== undefined) {
        // Added to the sinks, and to the columns that are none; which these are is written for each layer.
        const { ruleStart, start, numWords } = sinkMasks;
        put(OPERATIONS.add, [start, numWords], [end, ruleStart]);
        put(OPERATIONS.add, [start + numWords, numWords], [end + 1]);
        floats.set([sinks.rho, sinks.minimumShare, sinks.tau], ruleStart);
        words.set([sinks.numSlots, ...mask, sinks.dimensions.length, ...sinks.dimensions], ruleStart + 3);
      } else if (operation === "temperature") {
        put(OPERATIONS.multiply, mask);
        put(OPERATIONS.add, mask, [end]);
      } else if (operation !== "redistribute") {
        put(OPERATIONS[operation], mask);
      }
    }
  }
  return words;
}

/** Packed edits that an operation takes: those that keep a row's total attention take two. */
function numPacked(operation: ScoreOperation): number {
  return hasRowStrengths(operation) ? 2 : 1;
}

/** Where a redistribution's rule lies, and the masks of its sinks and of the other columns, `numWords` words each. */
function placedSinks({ sinks, columns }: ScoreEdit, place: (shared: object, numWords: number) => number) {
  if (sinks === undefined) return undefined;
  const numWords = Math.max(Math.ceil(sinks.numSlots / 32), maskWords(columns));
  return { ruleStart: place({}, RULE_WORDS + sinks.dimensions.length), start: place({}, 2 * numWords), numWords };
}

/** What the row strengths of packed edits need. */
export interface RowStrengthNeeds {
  /** Words that row strengths take behind the packed edits, for each row of a call. */
  readonly wordsPerRow: number;
  /** Slots [start, end) of the first to the last row that such edits act on. */
  readonly rows: readonly [start: number, end: number];
  /** Where the dimensions of its sinks begin in the packed edits, and the dimensions; undefined where it has none. */
  readonly sinks: { readonly dimensionsStart: number; readonly dimensions: Uint32Array } | undefined;
}

/** What is needed for the row strengths of packed edits; undefined where no edit has any. */
export function rowStrengthNeeds(words: Uint32Array, numHeads: number): RowStrengthNeeds | undefined {
  const wordsPerRow = ROW_STRENGTH_WORDS * numHeads;
  let [first, last] = [LAST_SLOT, 0];
  let sinks: RowStrengthNeeds["sinks"];
  for (let batchRow = 0; batchRow < MAX_BATCH_ROWS; batchRow++) {
    const start = at(words, 2 * batchRow);
    const end = start + at(words, 2 * batchRow + 1) * EDIT_WORDS;
    for (let edit = start; edit < end; edit += EDIT_WORDS) {
      if (at(words, edit + 6) === 0) continue;
      first = Math.min(first, at(words, edit + 1));
      last = Math.max(last, at(words, edit + 2));
      const rule = at(words, edit + 7);
      if (rule === 0) continue;
      const dimensionsStart = rule + RULE_WORDS;
      sinks ??= { dimensionsStart, dimensions: words.slice(dimensionsStart, dimensionsStart + at(words, rule + 6)) };
    }
  }
  return last === 0 ? undefined : { wordsPerRow, rows: [first, last], sinks };
}

/** Whether an operation's strengths depend on the row's own scores. */
export function hasRowStrengths(operation: ScoreOperation): boolean {
  return operation === "temperature" || operation === "redistribute";
}

/** One edit of a batch row may have row strengths, and the sinks of all edits have the same dimensions. */
function checkRowStrengths(edits: readonly (readonly ScoreEdit[])[]): void {
  for (const rowEdits of edits) {
    const names = rowEdits.map(({ operation }) => operation).filter(hasRowStrengths);
    if (names.length <= 1) continue;
    throw new InputError(`edits: at most one of temperature and redistribute may act, got ${names.join(" and ")}.`);
  }
  const rules = edits.flat().flatMap(({ sinks }) => (sinks === undefined ? [] : [sinks.dimensions.join()]));
  const [first, other] = new Set(rules);
  if (other === undefined) return;
  throw new InputError(`redistribute: all edits must have the same dimensions, got ${first} and ${other}.`);
}

function checkSinks({ operation, sinks }: ScoreEdit): void {
  if ((operation === "redistribute") !== (sinks !== undefined)) {
    const expected = sinks === undefined ? "a rule for sinks, got none" : "no rule for sinks, got one";
    throw new InputError(`${operation}: expected ${expected}.`);
  }
  if (sinks === undefined) return;
  const bad = sinks.dimensions.find((dimension) => !Number.isInteger(dimension) || dimension < 0);
  if (sinks.dimensions.length === 0 || bad !== undefined) {
    const got = bad === undefined ? "none" : `${bad}`;
    throw new InputError(`redistribute: expected dimensions of the hidden states, whole numbers from 0, got ${got}.`);
  }
  const { tau, rho, minimumShare } = sinks;
  for (const [name, value] of Object.entries({ tau, rho, minimumShare })) {
    if (!Number.isFinite(value)) throw new InputError(`redistribute: ${name} must be a finite number, got ${value}.`);
  }
}

function checkEdit(edit: ScoreEdit, { numLayers, numHeads }: EditSizes): void {
  const { operation, rows, columns, strengths } = edit;
  checkSinks(edit);
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
