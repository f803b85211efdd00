// Weight-only quantisation in groups of 32 along the columns, in the layouts of the two peers. Symmetric: value = (q − 8) · scale.

export const groupSize = 32;

/**
 * Quantises a matrix [rows, columns] for ONNX Runtime's MatMulNBits.
 * Returns `packed` [rows, groups, 16] (column 2i in the low half of byte i) and `scales` [rows · groups] f32.
 * The scale takes the sign of the value that is largest in magnitude, so that this value falls on −8 exactly.
 * Source: https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md#com.microsoft.MatMulNBits
 */
export function packMatMulNBits(data, [rows, columns]) {
  const groups = Math.ceil(columns / groupSize);
  const packed = new Uint8Array((rows * groups * groupSize) / 2);
  const scales = new Float32Array(rows * groups);
  const codes = new Uint8Array(groupSize);
  for (let index = 0; index < rows * groups; index++) {
    const start = Math.floor(index / groups) * columns + (index % groups) * groupSize;
    const end = Math.min(start + groupSize, (Math.floor(index / groups) + 1) * columns);
    scales[index] = quantize(data.subarray(start, end), codes);
    for (let i = 0; i < groupSize / 2; i++)
      packed[(index * groupSize) / 2 + i] = codes[2 * i] | (codes[2 * i + 1] << 4);
  }
  return { packed, scales, groups };
}

/** Fills `codes` with one group's 4-bit codes (8, which is zero, beyond its end) and returns the scale. */
export function quantize(values, codes) {
  let extreme = 0;
  for (const value of values) if (Math.abs(value) > Math.abs(extreme)) extreme = value;
  const scale = Math.fround(extreme / -8);
  codes.fill(8);
  if (scale === 0) return scale;
  for (let i = 0; i < values.length; i++) {
    codes[i] = Math.min(15, Math.max(0, Math.round(values[i] / scale) + 8));
  }
  return scale;
}
