// As shared/cache-f32, with keys and values quantised to 8 bits. A slot of a head is headDim / 4 words of four signed bytes (byte b
// of word d is value 4d + b), then one f16 scale per group of 32 values, two to a word; a last group or word may be incomplete.
@group(0) @binding(1) var<storage, read> keys: array<u32>;
@group(0) @binding(2) var<storage, read> values: array<u32>;

fn slotStride() -> u32 {
  return params.headDim4 + (params.headDim4 + 15u) / 16u;
}

// Exact: 7 bits times the 11 of an f16 fit an f32.
fn unpack(word: u32, scales: u32, d: u32) -> vec4<f32> {
  let bytes = bitcast<vec4<i32>>(vec4<u32>(word) << vec4<u32>(24u, 16u, 8u, 0u)) >> vec4<u32>(24u);
  let pair = unpack2x16float(scales);
  return vec4<f32>(bytes) * select(pair.x, pair.y, (d & 8u) != 0u);
}

fn loadKey(slot: u32, d: u32) -> vec4<f32> {
  return unpack(keys[slot + d], keys[slot + params.headDim4 + d / 16u], d);
}

fn loadValue(slot: u32, d: u32) -> vec4<f32> {
  return unpack(values[slot + d], values[slot + params.headDim4 + d / 16u], d);
}
