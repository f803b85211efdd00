// Weights quantised to 4 bits with a minimum: eight to a u32 along a matrix row (byte b of word i holds weight 8i + b in its low half
// and 8i + 4 + b in its high half), and one u32 per group of 32 with two f16s, the scale and the minimum: a weight is minimum +
// scale · step. Rows are whole groups, so vec4 i belongs to group i / 8. What pads the last group need not be 0.
@group(0) @binding(0) var<storage, read> weight: array<u32>;
@group(0) @binding(9) var<storage, read> scales: array<u32>;

// Rounded once: 4 bits times the 11 of an f16 fit an f32.
fn loadWeight(index: u32) -> vec4<f32> {
  let halves = weight[index >> 1u] >> ((index & 1u) * 4u);
  let nibbles = (vec4<u32>(halves) >> vec4<u32>(0u, 8u, 16u, 24u)) & vec4<u32>(15u);
  let pair = unpack2x16float(scales[index >> 3u]);
  return fma(vec4<f32>(nibbles), vec4<f32>(pair.x), vec4<f32>(pair.y));
}
