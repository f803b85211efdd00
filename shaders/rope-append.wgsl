// Rotates queries and keys by their row's angles and writes keys and values to the cache
// Formula: (a, b) ← (a·cos − b·sin, b·cos + a·sin) for the pairs (i, i + headDim/2) of queries and keys;
//   then keys and values go to the cache slot of their row
// Shapes: qkv [rows, (H + 2·Hkv)·padded headDim] f32, rotated in place for the queries · keys, values
//   [Hkv, capacity, padded headDim] f32 · rotary [rows, headDim] f32: headDim/2 cosines, then as many sines
// Work division: one thread per pair of one head of one row
// Grid: (ceil(headDim / 2 / 32), H + 2·Hkv, rows) workgroups of 32 threads
// Error bound: three roundings and the cosines' and sines' half ulp: 2e-7 · (|a| + |b|)
// Source: arXiv 2104.09864 eq. 34 in the half-split form of modeling_llama.py rotate_half. Appended: shared/step
override NUM_HEADS: u32;
override NUM_KEY_VALUE_HEADS: u32;
override HEAD_DIM: u32;        // the real one, even
override PADDED_HEAD_DIM: u32; // a multiple of 4

struct Params {
  capacity: u32, // cache slots per head
}
@group(0) @binding(0) var<storage, read_write> qkv: array<f32>;
@group(0) @binding(1) var<storage, read> rotary: array<f32>;
@group(0) @binding(2) var<storage, read_write> keys: array<f32>;
@group(0) @binding(3) var<storage, read_write> values: array<f32>;
@group(0) @binding(4) var<uniform> params: Params;

@compute @workgroup_size(32)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let half = HEAD_DIM / 2u;
  let pair = id.x;
  if (pair >= half) {
    return;
  }
  let head = id.y;
  let row = id.z;
  let at = (row * (NUM_HEADS + 2u * NUM_KEY_VALUE_HEADS) + head) * PADDED_HEAD_DIM + pair;
  let a = qkv[at];
  let b = qkv[at + half];
  let cosine = rotary[row * HEAD_DIM + pair];
  let sine = rotary[row * HEAD_DIM + half + pair];
  let rotatedA = a * cosine - b * sine;
  let rotatedB = b * cosine + a * sine;

  if (head < NUM_HEADS) {
    qkv[at] = rotatedA;
    qkv[at + half] = rotatedB;
    return;
  }
  let slot = cacheSlot(rowSlot(row), row);
  if (head < NUM_HEADS + NUM_KEY_VALUE_HEADS) {
    let to = ((head - NUM_HEADS) * params.capacity + slot) * PADDED_HEAD_DIM + pair;
    keys[to] = rotatedA;
    keys[to + half] = rotatedB;
  } else {
    let to = ((head - NUM_HEADS - NUM_KEY_VALUE_HEADS) * params.capacity + slot) * PADDED_HEAD_DIM + pair;
    values[to] = a;
    values[to + half] = b;
  }
}
