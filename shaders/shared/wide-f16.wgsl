// Weights of a checkpoint stored as f16, 16 bytes (eight weights) per load; rows are whole loads. Appended with
// shared/wide-load.
const WIDTH = 2u; // vec4s of weights in a load

// Vec4 `part` of a load, before the scale.
fn unpackPart(packed: Packed, part: u32) -> vec4<f32> {
  let four = select(packed.bits.xy, packed.bits.zw, part == 1u);
  return vec4<f32>(unpack2x16float(four.x), unpack2x16float(four.y));
}
