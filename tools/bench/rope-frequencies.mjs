// Rotary frequencies of the engine's rope config, written apart from the engine's own so that a peer does not inherit its mistakes.
// Source: https://arxiv.org/abs/2104.09864 §3.2; transformers modeling_rope_utils.py

/** headDim / 2 factors by which the plain frequencies θ^(−2i/headDim) are divided: all 1 by default. */
export function frequencyFactors(rope, headDim) {
  return plainFrequencies(rope.theta, headDim).map((frequency) => {
    if (rope.type === "default") return 1;
    if (rope.type === "linear") return rope.factor;
    const turns = (rope.originalMaxPositionEmbeddings * frequency) / (2 * Math.PI);
    if (turns < rope.lowFreqFactor) return rope.factor;
    if (turns > rope.highFreqFactor) return 1;
    const smooth = (turns - rope.lowFreqFactor) / (rope.highFreqFactor - rope.lowFreqFactor);
    return 1 / ((1 - smooth) / rope.factor + smooth);
  });
}

/** Cosines and sines, [numPositions, headDim / 2] each. */
export function rotaryCaches(rope, headDim, numPositions) {
  const factors = frequencyFactors(rope, headDim);
  const frequencies = plainFrequencies(rope.theta, headDim).map((frequency, index) => frequency / factors[index]);
  const half = headDim / 2;
  const cos = new Float32Array(numPositions * half);
  const sin = new Float32Array(numPositions * half);
  for (let position = 0; position < numPositions; position++) {
    for (let i = 0; i < half; i++) {
      cos[position * half + i] = Math.cos(position * frequencies[i]);
      sin[position * half + i] = Math.sin(position * frequencies[i]);
    }
  }
  return { cos, sin };
}

function plainFrequencies(theta, headDim) {
  return Array.from({ length: headDim / 2 }, (_, i) => theta ** ((-2 * i) / headDim));
}
