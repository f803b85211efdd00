// Weights of a checkpoint stored as bf16, 16 bytes (eight weights) per load; rows are whole loads. Appended with
// shared/wide-load.
const WIDTH = 2u;   // vec4s of weights in a load
const OFFSET = 0.0; // added to each unpacked weight

// Vec4 `part` of a load.
fn unpackPart(packed: Packed, part: u32) -> vec4<f32> {
  let four = select(packed.bits.xy, packed.bits.zw, part == 1u);
  let low = four << vec2<u32>(16u);
  let high = four & vec2<u32>(0xffff0000u);
  return vec4<f32>(bitcast<f32>(low.x), bitcast<f32>(high.x), bitcast<f32>(low.y), bitcast<f32>(high.y));
}
