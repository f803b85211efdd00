// Weights quantised to 8 bits as in weight-q8, 16 bytes (half a group) per load. Appended with shared/wide-load-scaled.
const WIDTH = 4u; // vec4s of weights in a load
const LOADS = 4u; // loads with a pair of scales

// Vec4 `part` of a load, before the scale.
fn unpackPart(packed: Packed, part: u32) -> vec4<f32> {
  return vec4<f32>(bitcast<vec4<i32>>(vec4<u32>(packed.bits[part]) << vec4<u32>(24u, 16u, 8u, 0u)) >> vec4<u32>(24u));
}
