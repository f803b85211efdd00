// Weights quantised to 8 bits as in weight-q8, 16 bytes (half a group) per load. Appended with shared/wide-load-scaled.
const WIDTH = 4u;     // vec4s of weights in a load
const LOADS = 4u;     // loads with a pair of scales
const OFFSET = 128.0; // added to each unpacked weight

// Vec4 `part` of a load as step + 128: many GPUs convert an unsigned byte of a word to f32 in one instruction.
fn unpackPart(packed: Packed, part: u32) -> vec4<f32> {
  let word = packed.bits[part] ^ 0x80808080u;
  return vec4<f32>((vec4<u32>(word) >> vec4<u32>(0u, 8u, 16u, 24u)) & vec4<u32>(255u));
}
