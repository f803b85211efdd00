// Keys and values on their way into a cache in f16 (shared/cache-f16), a word of two at a time. A number beyond 65504 becomes
// infinite, so that the logits show it. Appended to rope-append-packed.
const UNIT: u32 = 2u; // values that are stored at once

// Words from one slot of a head to the next.
fn slotStride() -> u32 {
  return params.headDim4 * 2u;
}

// Stores values [first, first + UNIT) of a key or value in the slot that begins at word `slot`.
fn storeUnit(vector: Vector, slot: u32, first: u32) {
  put(slot + first / 2u, pack2x16float(vec2<f32>(valueOf(vector, first), valueOf(vector, first + 1u))), vector.isKey);
}
