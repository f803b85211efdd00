// What the qkv-rope kernels share: bindings, parameters, and where four rotated pairs go. Appended with shared/weight-* or
// shared/wide-* (binding 0) and shared/step (binding 8).
override HAS_BIAS: bool;
override NUM_HEADS: u32;
override NUM_KEY_VALUE_HEADS: u32;
override HEAD_DIM: u32; // a multiple of 8

struct Params {
  numRows: u32,
  inner4: u32,        // K / 4
  weightStride4: u32, // vec4s from a weight row to the next
  capacity: u32,      // cache slots per head
}
@group(0) @binding(2) var<storage, read> bias: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> queries: array<vec4<f32>>;
@group(0) @binding(4) var<uniform> params: Params;
@group(0) @binding(5) var<storage, read> rotary: array<vec4<f32>>;
@group(0) @binding(6) var<storage, read_write> keys: array<vec4<f32>>;
@group(0) @binding(7) var<storage, read_write> values: array<vec4<f32>>;

// First vec4 of an input row.
fn inputRow(row: u32) -> u32 {
  return row * params.inner4;
}

// Vec4s from a head's first half to its second.
fn half4() -> u32 {
  return HEAD_DIM / 8u;
}

// Adds the bias to columns [4·pair4, +4) of a head's halves, rotates queries and keys, and stores: queries to their
// place in a row of qkv, keys and values to the row's cache slot.
fn storePairs(row: u32, head: u32, pair4: u32, first: vec4<f32>, second: vec4<f32>) {
  let column4 = head * 2u * half4() + pair4;
  var a = first;
  var b = second;
  if (HAS_BIAS) {
    a += bias[column4];
    b += bias[column4 + half4()];
  }
  if (head < NUM_HEADS + NUM_KEY_VALUE_HEADS) {
    let cosine = rotary[row * 2u * half4() + pair4];
    let sine = rotary[row * 2u * half4() + half4() + pair4];
    let rotated = a * cosine - b * sine;
    b = b * cosine + a * sine;
    a = rotated;
  }
  if (head < NUM_HEADS) {
    let at = row * (NUM_HEADS + 2u * NUM_KEY_VALUE_HEADS) * 2u * half4() + column4;
    queries[at] = a;
    queries[at + half4()] = b;
    return;
  }
  let slot = cacheSlot(rowSlot(row), row);
  if (head < NUM_HEADS + NUM_KEY_VALUE_HEADS) {
    let at = ((head - NUM_HEADS) * params.capacity + slot) * 2u * half4() + pair4;
    keys[at] = a;
    keys[at + half4()] = b;
  } else {
    let at = ((head - NUM_HEADS - NUM_KEY_VALUE_HEADS) * params.capacity + slot) * 2u * half4() + pair4;
    values[at] = a;
    values[at + half4()] = b;
  }
}
