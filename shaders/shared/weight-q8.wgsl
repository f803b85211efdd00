// Weights quantised to 8 bits: four signed bytes to a u32 along a matrix row (byte b of word i is weight 4i + b), and
// one f16 scale per group of 32, two to a u32. Rows are whole groups, so vec4 i belongs to group i / 8.
@group(0) @binding(0) var<storage, read> weight: array<u32>;
@group(0) @binding(9) var<storage, read> scales: array<u32>;

// Exact: 7 bits times the 11 of an f16 fit an f32.
fn loadWeight(index: u32) -> vec4<f32> {
  let bytes = bitcast<vec4<i32>>(vec4<u32>(weight[index]) << vec4<u32>(24u, 16u, 8u, 0u)) >> vec4<u32>(24u);
  let pair = unpack2x16float(scales[index >> 4u]);
  return vec4<f32>(bytes) * select(pair.x, pair.y, (index & 8u) != 0u);
}
