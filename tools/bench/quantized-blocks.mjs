// Weight-only quantisation in groups of 32 along the columns, with the same whole numbers and f16 scales as the engine's q8 and q4
// (shaders/quantize.wgsl), in the layouts of the peers, so that exact arithmetic gives the same results.

export const groupSize = 32;

/** Bits of a weight by dtype. */
export const weightBits = { q8: 8, q4: 4 };

/**
 * Quantises a matrix [rows, columns] for ONNX Runtime's MatMulNBits: value = (code − 2^(bits − 1)) · scale.
 * Returns `packed` [rows, groups, 4 · bits] (of 4 bits, column 2i in the low half of byte i) and `scales` [rows · groups] f32, each
 * an f16's value.
 * Source: https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md#com.microsoft.MatMulNBits
 */
export function packMatMulNBits(data, [rows, columns], bits = 4) {
  const groups = Math.ceil(columns / groupSize);
  const groupBytes = (groupSize * bits) / 8;
  const packed = new Uint8Array(rows * groups * groupBytes);
  const scales = new Float32Array(rows * groups);
  const steps = new Int8Array(groupSize);
  const zero = 2 ** (bits - 1);
  for (let index = 0; index < rows * groups; index++) {
    scales[index] = quantize(groupOf(data, { index, groups, columns }), steps, bits);
    const start = index * groupBytes;
    if (bits === 8) for (let i = 0; i < groupSize; i++) packed[start + i] = steps[i] + zero;
    else
      for (let i = 0; i < groupBytes; i++) packed[start + i] = (steps[2 * i] + zero) | ((steps[2 * i + 1] + zero) << 4);
  }
  return { packed, scales, groups };
}

/** The values [rows, columns] that quantisation leaves of a matrix. */
export function roundedToSteps(data, [rows, columns], bits) {
  const groups = Math.ceil(columns / groupSize);
  const result = new Float32Array(data.length);
  const steps = new Int8Array(groupSize);
  for (let index = 0; index < rows * groups; index++) {
    const scale = quantize(groupOf(data, { index, groups, columns }), steps, bits);
    const target = groupOf(result, { index, groups, columns });
    for (let i = 0; i < target.length; i++) target[i] = steps[i] * scale;
  }
  return result;
}

/** Group `index` of a matrix of rows of `groups` groups; the last of a row may be shorter. */
function groupOf(data, { index, groups, columns }) {
  const row = Math.floor(index / groups);
  const start = row * columns + (index % groups) * groupSize;
  return data.subarray(start, Math.min(start + groupSize, (row + 1) * columns));
}

/**
 * Fills `steps` with one group's whole numbers (0 beyond its end) and returns the scale: an f16's value, by which the weights are
 * divided; ties go to even. Of 4 bits the scale takes the sign for which the value of the largest magnitude falls on −8.
 */
export function quantize(values, steps, bits) {
  let largest = 0;
  for (const value of values) if (Math.abs(value) > Math.abs(largest)) largest = value;
  const scale = toF16Value(bits === 8 ? Math.abs(largest) / 127 : largest / -8);
  steps.fill(0);
  if (scale === 0) return scale;
  const [lowest, highest] = bits === 8 ? [-127, 127] : [-8, 7];
  for (let i = 0; i < values.length; i++) {
    steps[i] = Math.min(highest, Math.max(lowest, roundToEven(values[i] / scale)));
  }
  return scale;
}

/** The f16 value nearest to a finite number, as a number (Math.f16round, which Node 20 lacks). */
function toF16Value(number) {
  const magnitude = Math.abs(number);
  if (magnitude === 0) return 0;
  // The exponent of a number that is not a power of two may come out of log2 one too high or too low at its ends.
  let exponent = Math.floor(Math.log2(magnitude));
  if (2 ** exponent > magnitude) exponent--;
  else if (2 ** (exponent + 1) <= magnitude) exponent++;
  const unit = 2 ** (Math.max(exponent, -14) - 10);
  return Math.sign(number) * roundToEven(magnitude / unit) * unit;
}

function roundToEven(number) {
  const rounded = Math.round(number);
  return Math.abs(number % 1) === 0.5 && rounded % 2 !== 0 ? rounded - 1 : rounded;
}
