// What multiplying the scores on a picture did, in words that the signs of the scores allow.
//
// Multiplying scores s by a factor f > 1 is a lower temperature within the picture: it sharpens there, whatever the signs. Its share
// of all attention falls where the scores are negative and rises where they are positive, since the other keys keep their scores.

/** The numbers of a map that the words are chosen from. */
export interface EffectNumbers {
  readonly share: number;
  readonly entropy: number;
  readonly negativeScores?: number | undefined;
}

/** From this fraction of negative (or positive) scores on, they count as of one sign. */
const ONE_SIGN = 0.95;

/**
 * "sharper within the picture, less of the total", where the scores are of one sign and the maps do not contradict it; else that
 * the factor acts both ways. Undefined for a factor of 1, and where the signs are not known.
 * @param used of the pass under the factor, whose scores are those before edits
 * @param unmodified of the unmodified pass
 */
export function effectOfFactor(
  factor: number,
  used: EffectNumbers,
  unmodified: EffectNumbers | undefined,
): string | undefined {
  const { negativeScores } = used;
  if (factor === 1 || negativeScores === undefined || Number.isNaN(negativeScores)) return undefined;
  const isSharper = factor > 1;
  const isNegative = negativeScores >= ONE_SIGN;
  const takes = isNegative === isSharper;
  const contradicts =
    unmodified !== undefined &&
    (used.entropy < unmodified.entropy !== isSharper || used.share < unmodified.share !== takes);
  if ((isNegative || negativeScores <= 1 - ONE_SIGN) && !contradicts) {
    return `${isSharper ? "sharper" : "wider"} within the picture, ${takes ? "less" : "more"} of the total`;
  }
  return "it moves attention the other way on negative scores than on positive ones";
}
