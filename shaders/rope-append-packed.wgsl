// Rotates queries and keys by their row's angles and writes keys and values to a cache in f16 or in 8 bits
// Formula: as rope-append; keys and values are then rounded as shared/cache-store-f16 or shared/cache-store-q8 says
// Shapes: qkv [rows, (H + 2·Hkv)·padded headDim] f32, rotated in place for the queries · keys, values
//   [Hkv, capacity, slot] u32, slot in words: padded headDim / 2 in f16; padded headDim / 4 and a word of scales per 64
//   values in 8 bits · rotary [rows, headDim] f32: headDim/2 cosines, then as many sines
// Work division: one thread per pair of a query; one per unit of a key or value, 2 values in f16 and 64 in 8 bits, with both values
//   of each rotated pair read from qkv, where keys and values stay as they were
// Grid: (ceil(padded headDim / 2 / 32), H + 2·Hkv, rows) workgroups of 32 threads
// Error bound: rope-append's, then one rounding to f16, or half a step and the rounding of the scale: (0.5 / 127 + 2^-11) of the
//   largest magnitude of the group
// Source: as rope-append; the block format Q8_0 of ggml. Appended: shared/step, shared/cache-store-f16 or -q8
override NUM_HEADS: u32;
override NUM_KEY_VALUE_HEADS: u32;
override HEAD_DIM: u32;        // the real one, even
override PADDED_HEAD_DIM: u32; // a multiple of 4

struct Params {
  capacity: u32, // cache slots per head
  headDim4: u32, // padded headDim / 4; no override, because software drivers would unroll the loops over it
}
@group(0) @binding(0) var<storage, read_write> qkv: array<f32>;
@group(0) @binding(1) var<storage, read> rotary: array<f32>;
@group(0) @binding(2) var<storage, read_write> keys: array<u32>;
@group(0) @binding(3) var<storage, read_write> values: array<u32>;
@group(0) @binding(4) var<uniform> params: Params;

// A key or a value in qkv.
struct Vector {
  start: u32,
  row: u32,
  isKey: bool,
}

// One of its values, rotated if it is a key; 0 in the padding.
fn valueOf(vector: Vector, index: u32) -> f32 {
  if (index >= HEAD_DIM) {
    return 0.0;
  }
  let own = qkv[vector.start + index];
  if (!vector.isKey) {
    return own;
  }
  let half = HEAD_DIM / 2u;
  let isFirst = index < half;
  let pair = select(index - half, index, isFirst);
  let other = qkv[vector.start + select(pair, pair + half, isFirst)];
  let cosine = rotary[vector.row * HEAD_DIM + pair];
  let sine = rotary[vector.row * HEAD_DIM + half + pair];
  return own * cosine + select(other, -other, isFirst) * sine;
}

fn put(at: u32, word: u32, isKey: bool) {
  if (isKey) {
    keys[at] = word;
  } else {
    values[at] = word;
  }
}

@compute @workgroup_size(32)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let head = id.y;
  let row = id.z;
  let start = (row * (NUM_HEADS + 2u * NUM_KEY_VALUE_HEADS) + head) * PADDED_HEAD_DIM;
  if (head < NUM_HEADS) {
    let half = HEAD_DIM / 2u;
    if (id.x < half) {
      let a = qkv[start + id.x];
      let b = qkv[start + half + id.x];
      let cosine = rotary[row * HEAD_DIM + id.x];
      let sine = rotary[row * HEAD_DIM + half + id.x];
      qkv[start + id.x] = a * cosine - b * sine;
      qkv[start + half + id.x] = b * cosine + a * sine;
    }
    return;
  }
  let first = id.x * UNIT;
  if (first >= PADDED_HEAD_DIM) {
    return;
  }
  let isKey = head < NUM_HEADS + NUM_KEY_VALUE_HEADS;
  let cached = select(head - NUM_HEADS - NUM_KEY_VALUE_HEADS, head - NUM_HEADS, isKey);
  let slot = (cached * params.capacity + cacheSlot(rowSlot(row), row)) * slotStride();
  storeUnit(Vector(start, row, isKey), slot, first);
}
