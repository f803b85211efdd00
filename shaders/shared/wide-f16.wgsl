// Weights of a checkpoint stored as f16, 16 bytes (eight weights) per load; rows are whole loads. Appended with
// shared/wide-load.
const WIDTH = 2u;   // vec4s of weights in a load
const OFFSET = 0.0; // added to each unpacked weight

// Vec4 `part` of a load.
fn unpackPart(packed: Packed, part: u32) -> vec4<f32> {
  let four = select(packed.bits.xy, packed.bits.zw, part == 1u);
  return vec4<f32>(unpack2x16float(four.x), unpack2x16float(four.y));
}
