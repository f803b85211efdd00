// Weights of a checkpoint stored as f32, 16 bytes (four weights) per load. Appended with shared/wide-load.
const WIDTH = 1u;   // vec4s of weights in a load
const OFFSET = 0.0; // added to each unpacked weight

// Vec4 `part` of a load.
fn unpackPart(packed: Packed, part: u32) -> vec4<f32> {
  return bitcast<vec4<f32>>(packed.bits);
}
