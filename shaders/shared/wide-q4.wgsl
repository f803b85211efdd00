// Weights quantised to 4 bits as in weight-q4, 16 bytes (a group) per load. Appended with shared/wide-load-scaled.
const WIDTH = 8u; // vec4s of weights in a load
const LOADS = 2u; // loads with a pair of scales

// Vec4 `part` of a load, before the scale.
fn unpackPart(packed: Packed, part: u32) -> vec4<f32> {
  let halves = packed.bits[part >> 1u] >> ((part & 1u) * 4u);
  return vec4<f32>((vec4<u32>(halves) >> vec4<u32>(0u, 8u, 16u, 24u)) & vec4<u32>(15u)) - 8.0;
}
