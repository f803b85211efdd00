// Keys and values on their way into a cache of 8 bits (shared/cache-q8), two groups of 32 at a time, whose scales share a word:
// scale = f16(largest magnitude / 127), step = round(value · 127 / largest magnitude). Values are computed twice, which costs less
// than keeping them. Appended to rope-append-packed.
const UNIT: u32 = 64u; // values that are stored at once

// Words from one slot of a head to the next.
fn slotStride() -> u32 {
  return params.headDim4 + (params.headDim4 + 15u) / 16u;
}

// Stores values [first, first + UNIT) of a key or value, as far as it has them, in the slot that begins at word `slot`. The loops
// call valueOf twice in all: software drivers compile every call's copy of it.
fn storeUnit(vector: Vector, slot: u32, first: u32) {
  let end = min(first + UNIT, params.headDim4 * 4u);
  var scales = 0u;
  for (var group = first; group < end; group += 32u) {
    let groupEnd = min(group + 32u, end);
    // Compared as integers, a number that is not finite is the largest: the scale, and so the logits, are not finite either.
    var bits = 0u;
    for (var i = group; i < groupEnd; i++) {
      bits = max(bits, bitcast<u32>(valueOf(vector, i)) & 0x7fffffffu);
    }
    let largest = bitcast<f32>(bits);
    let scale = pack2x16float(vec2<f32>(largest / 127.0, 0.0)) & 0xffffu;
    let steps = select(0.0, 127.0 / largest, scale != 0u);
    var word = 0u;
    for (var i = group; i < groupEnd; i++) {
      // The bytes of a word come in from above.
      word = (word >> 8u) | (bitcast<u32>(i32(round(valueOf(vector, i) * steps))) << 24u);
      if ((i & 3u) == 3u) {
        put(slot + i / 4u, word, vector.isKey);
      }
    }
    scales |= scale << ((group - first) / 2u);
  }
  put(slot + params.headDim4 + first / 64u, scales, vector.isKey);
}
