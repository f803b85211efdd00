// The map of a word of an answer, and what it says in words.
import { at } from "../../errors.ts";
import { type AttentionMap, meanMap } from "../../inspect/attention-map.ts";
import type { AttentionView } from "../protocol.ts";
import { brightestPatch, mapOf, placeInWords } from "./attention-view.ts";
import { percent } from "./words.ts";

/**
 * The map of a word: the mean over the rows that its tokens were chosen from.
 * @param tokens attention by token of the answer
 * @param head undefined: the mean over heads
 */
export function wordMap(
  tokens: readonly AttentionView[],
  word: { readonly tokens: readonly number[] },
  head: number | undefined,
): AttentionMap {
  return meanMap(word.tokens.map((token) => mapOf(at(tokens, token), { layer: 0, head })));
}

/** What a map says to those who do not see it. */
export function mapInWords(map: AttentionMap): string {
  return `looked most at the ${placeInWords(map, brightestPatch(map))}, ${percent(map.share)} of attention on the picture`;
}

/** What is said of a word: without the punctuation around it, unless there is nothing else. */
export function wordInWords(word: string, map: AttentionMap): string {
  const bare = word.replaceAll(/^[^\p{L}\p{N}]+|[^\p{L}\p{N}]+$/gu, "");
  return `“${bare === "" ? word : bare}”: ${mapInWords(map)}`;
}

/** The second map minus the first, cell by cell; undefined where they are not of one picture or do not differ. */
export function differenceOf(
  one: AttentionMap,
  other: AttentionMap,
): Pick<AttentionMap, "values" | "width" | "height" | "view"> | undefined {
  if (one.width !== other.width || one.height !== other.height) return undefined;
  const values = other.values.map((value, cell) => value - at(one.values, cell));
  const isSame = values.every((value) => Math.abs(value) < ROUNDING);
  return isSame ? undefined : { values, width: one.width, height: one.height, view: one.view };
}

/** Differences below this come from rounding to f32. */
const ROUNDING = 1e-7;
