// The recorded run that the live figures compute with.

import picture from "../../../../weights/tiny-spatial/demo/ball_behind_robot.png";
import recorded from "../../figures/ball-behind-robot.json";

export { picture, recorded };

const [[imageStart, imageEnd]] = recorded.imageRuns;

/** Whether a position of the prompt is the picture's. */
export const isImage = (position) => position >= imageStart && position < imageEnd;

/**
 * Attention of a row when the scores of the picture's positions are multiplied.
 * @param {readonly number[]} scores one per key
 * @param {number} factor
 * @param {number} shift is added to every score before that
 * @returns {{ probabilities: number[], image: number[], share: number, entropy: number }} `image` are the picture's patches, row by
 *   row; entropy in bits, of the attention within the picture
 */
export function attentionUnder(scores, factor, shift = 0) {
  const edited = scores.map((score, position) => (score + shift) * (isImage(position) ? factor : 1));
  const largest = Math.max(...edited);
  const weights = edited.map((score) => Math.exp(score - largest));
  const sum = weights.reduce((total, weight) => total + weight, 0);
  const probabilities = weights.map((weight) => weight / sum);
  const image = probabilities.slice(imageStart, imageEnd);
  const share = image.reduce((total, probability) => total + probability, 0);
  const entropy = image.reduce((total, p) => (p > 0 ? total - (p / share) * Math.log2(p / share) : total), 0);
  return { probabilities, image, share, entropy };
}
