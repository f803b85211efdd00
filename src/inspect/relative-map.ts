// A map relative to that of a neutral prompt about the same picture: what the question adds to where the model looks anyway.
// Source: Zhang et al., "MLLMs Know Where to Look", arXiv 2502.17422 (relative attention, the ratio).
import { at, InputError } from "../errors.ts";
import type { AttentionMap } from "./attention-map.ts";

/** How two maps are compared: the ratio of each cell to the neutral map's, or the difference. */
export type Comparison = "ratio" | "difference";

/** Two maps of one picture compared. */
export interface RelativeMap {
  readonly comparison: Comparison;
  /** [height, width] as of both maps: 1 or 0 where they agree. A ratio to a neutral attention of 0 is 0. */
  readonly values: Float64Array<ArrayBuffer>;
  readonly map: AttentionMap;
  readonly neutral: AttentionMap;
}

/** Compares a map with that of a neutral prompt. @throws InputError when they are not of the same size. */
export function relativeMap(map: AttentionMap, neutral: AttentionMap, comparison: Comparison = "ratio"): RelativeMap {
  if (map.width !== neutral.width || map.height !== neutral.height) {
    throw new InputError(
      `A map of ${map.width} × ${map.height} cannot be compared with one of ${neutral.width} × ${neutral.height}: both must be of one picture.`,
    );
  }
  const values = map.values.map((value, cell) => {
    const other = at(neutral.values, cell);
    if (comparison === "difference") return value - other;
    return other === 0 ? 0 : value / other;
  });
  return { comparison, values, map, neutral };
}
