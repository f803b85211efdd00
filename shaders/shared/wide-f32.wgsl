// Weights of a checkpoint stored as f32, 16 bytes (four weights) per load. Appended with shared/wide-load.
const WIDTH = 1u; // vec4s of weights in a load

// Vec4 `part` of a load, before the scale.
fn unpackPart(packed: Packed, part: u32) -> vec4<f32> {
  return bitcast<vec4<f32>>(packed.bits);
}
