// Familiar against unfamiliar relations.
//
// Models are confident about left and right and unsure about on, under, front and behind, so the first two are called
// familiar. Where the user has counts of the relations in a training corpus, those decide instead.
// Source: Chen et al., ICML 2025 (arXiv 2503.01773), the analysis of confidence per relation.
import { at, InputError, isObject } from "../../errors.ts";

/** Whether models know a relation well. */
export type Familiarity = "familiar" | "unfamiliar";

/** How often each relation occurs in a corpus, and from which count on it is familiar. */
export interface CorpusCounts {
  readonly counts: ReadonlyMap<string, number>;
  /** The least count of a familiar relation. */
  readonly minCount: number;
}

/**
 * Whether a relation is familiar.
 *
 * Without counts, a relation is familiar if it has the word left or right, in any case: "left", "Right of", "at the left
 * side of". All others (on, under, in front of, behind, above, below, top, bottom, and the rest of VSR's) are unfamiliar.
 * @throws InputError when counts are given and lack the relation.
 */
export function familiarityOf(relation: string, corpus?: CorpusCounts): Familiarity {
  if (corpus === undefined) return /\b(left|right)\b/i.test(relation) ? "familiar" : "unfamiliar";
  const count = corpus.counts.get(relation);
  if (count === undefined) {
    const known = [...corpus.counts.keys()].join(", ");
    throw new InputError(`The corpus counts lack the relation "${relation}", they have ${known}: add its count.`);
  }
  return count >= corpus.minCount ? "familiar" : "unfamiliar";
}

/** Answers about the relations of one class. */
export interface FamiliarityGroup {
  /** The relations in it, in the order in which they first appear. */
  readonly relations: readonly string[];
  readonly count: number;
  readonly numRight: number;
  /** Null without answers. */
  readonly accuracy: number | null;
  /** Mean over the answers that have a confidence; null without any. */
  readonly meanConfidence: number | null;
}

/** One answer, for the comparison of familiar and unfamiliar relations. */
export interface RelationAnswer {
  readonly relation: string;
  readonly isRight: boolean;
  /** Null where it was not recorded. */
  readonly confidence: number | null;
}

/**
 * Accuracy and confidence of familiar and of unfamiliar relations.
 * @throws InputError as `familiarityOf`.
 */
export function compareFamiliarity(
  answers: readonly RelationAnswer[],
  corpus?: CorpusCounts,
): Readonly<Record<Familiarity, FamiliarityGroup>> {
  const group = (familiarity: Familiarity): FamiliarityGroup => {
    const members = answers.filter(({ relation }) => familiarityOf(relation, corpus) === familiarity);
    const confidences = members.flatMap(({ confidence }) => (confidence === null ? [] : [confidence]));
    const numRight = members.filter(({ isRight }) => isRight).length;
    return {
      relations: [...new Set(members.map(({ relation }) => relation))],
      count: members.length,
      numRight,
      accuracy: members.length === 0 ? null : numRight / members.length,
      meanConfidence:
        confidences.length === 0 ? null : confidences.reduce((sum, value) => sum + value, 0) / confidences.length,
    };
  };
  return { familiar: group("familiar"), unfamiliar: group("unfamiliar") };
}

/**
 * Reads corpus counts from a JSON object of relation → count, such as `{"left": 120431, "under": 9120}`.
 * @param minCount the least count of a familiar relation; by default the least count in the more frequent half of the
 *   relations (of an odd number, the smaller half)
 * @throws InputError when the text is not such an object, or has no relation.
 */
export function parseCorpusCounts(
  text: string,
  { file, minCount }: { readonly file: string; readonly minCount?: number },
): CorpusCounts {
  const expected = `${file}: expected a JSON object of relation → count, such as {"left": 120431}`;
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    throw new InputError(`${expected}, got text that is not JSON.`, { cause });
  }
  if (!isObject(json)) throw new InputError(`${expected}, got other JSON.`);
  const counts = new Map<string, number>();
  for (const [relation, count] of Object.entries(json)) {
    if (typeof count !== "number" || !Number.isFinite(count) || count < 0) {
      throw new InputError(`${file}: ${relation} must be a number of at least 0, got ${JSON.stringify(count)}.`);
    }
    counts.set(relation, count);
  }
  if (counts.size === 0) throw new InputError(`${expected}, got an empty one.`);
  const ascending = [...counts.values()].sort((a, b) => a - b);
  return {
    counts,
    minCount: minCount ?? at(ascending, Math.min(Math.ceil(ascending.length / 2), ascending.length - 1)),
  };
}
