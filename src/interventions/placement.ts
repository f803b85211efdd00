// Where an edit acts, from the settings that methods share: layers, heads, rows; a strength of its own for each layer and head, or
// heads drawn at random, the negative control of a choice of heads.
import { at, InputError } from "../errors.ts";
import { type EditContext, NEUTRAL, rowsOf, type ScoreEdit } from "./intervention.ts";
import { wordsOf } from "./noise.ts";
import { flatStrengths, type RowSelection, type Strengths } from "./parameters.ts";

/** The settings of {@link PLACE_PARAMETERS} and {@link HEAD_PARAMETERS}. */
export interface PlaceSettings {
  readonly layers?: readonly number[] | undefined;
  readonly heads?: readonly number[] | undefined;
  readonly rows: RowSelection;
  readonly strengths?: Strengths | undefined;
  readonly randomHeads?: number | undefined;
  readonly headSeed?: number | undefined;
}

/**
 * An edit in its place. With `strengths`, the strength c of a layer and head becomes n + s · (c − n), s being its number in the table
 * and n the strength that changes nothing (1 for factors, else 0). With `randomHeads`, that many of the layers and heads that the edit
 * would act on keep their strength, drawn by `headSeed`, and the others have none.
 * @throws InputError for `strengths` together with `randomHeads`, a seed without random heads, and more of them than there are.
 */
export function placed(
  edit: Pick<ScoreEdit, "operation" | "columns"> & { readonly strength: number },
  place: PlaceSettings,
  context: EditContext,
): ScoreEdit {
  const { layers, heads, rows, strengths, randomHeads, headSeed } = place;
  const { operation, columns } = edit;
  const shares = strengths && flatStrengths(strengths);
  if (shares !== undefined && randomHeads !== undefined) {
    throw new InputError("strengths and randomHeads both choose heads: give one of them.");
  }
  if (headSeed !== undefined && randomHeads === undefined) {
    throw new InputError("headSeed draws random heads, of which there are none: give randomHeads too.");
  }
  const table = randomHeads === undefined ? shares : drawn({ layers, heads, randomHeads, headSeed }, context);
  const neutral = NEUTRAL[operation];
  const strength = table?.map((share) => neutral + share * (edit.strength - neutral)) ?? edit.strength;
  return { operation, strength, layers, heads, columns, rows: rowsOf(rows, context) };
}

/** [numLayers · numHeads]: 1 for the heads that were drawn, else 0. */
function drawn(
  of: Pick<PlaceSettings, "layers" | "heads" | "headSeed"> & { readonly randomHeads: number },
  { numLayers, numHeads }: EditContext,
): Float32Array<ArrayBuffer> {
  const { layers, heads, randomHeads, headSeed = 0 } = of;
  const all = Array.from({ length: numLayers * numHeads }, (_, index) => index).filter(
    (index) => layers?.includes(Math.floor(index / numHeads)) !== false && heads?.includes(index % numHeads) !== false,
  );
  if (randomHeads > all.length) {
    throw new InputError(
      `randomHeads must be at most ${all.length}, the heads of all layers that the method acts on, got ${randomHeads}.`,
    );
  }
  const table = new Float32Array(numLayers * numHeads);
  for (const index of sample(all, randomHeads, headSeed)) table[index] = 1;
  return table;
}

/** The first members of a Fisher–Yates shuffle: step i swaps member i with member i + ⌊w · (n − i) / 2³²⌋, w being the i-th word. */
function sample(values: readonly number[], count: number, seed: number): readonly number[] {
  const shuffled = [...values];
  const word = wordsOf(seed);
  for (let index = 0; index < count; index++) {
    const other = index + Math.floor((word() / 2 ** 32) * (shuffled.length - index));
    const kept = at(shuffled, index);
    shuffled[index] = at(shuffled, other);
    shuffled[other] = kept;
  }
  return shuffled.slice(0, count);
}
