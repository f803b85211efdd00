// Weights quantised to 4 bits as in weight-q4, 16 bytes (a group) per load. Appended with shared/wide-load-scaled.
const WIDTH = 8u;    // vec4s of weights in a load
const LOADS = 2u;    // loads with a pair of scales
const OFFSET = 24.0; // added to each unpacked weight

// Vec4 `part` of a load as step + 16, where a step is the weight + 8. Two steps at a time become the fractions of f16s between
// 16 and 32, so that no integer is converted; GPUs with mixed f16 × f32 multiply-adds need no conversion at all.
fn unpackPart(packed: Packed, part: u32) -> vec4<f32> {
  let word = packed.bits[part >> 1u];
  let low = (part & 1u) * 4u; // the steps' first bit in their bytes; it goes to bit 6 of a half
  let even = unpack2x16float(((word << (6u - low)) & 0x03c003c0u) | 0x4c004c00u);
  let odd = unpack2x16float(((word >> (2u + low)) & 0x03c003c0u) | 0x4c004c00u);
  return vec4<f32>(even.x, odd.x, even.y, odd.y);
}
