// Four weights of 4 bits of a 16-byte load. Appended with shared/wide-q4 or -q4-1.

// Vec4 `part` of a load as step + 16, where a step is what the four bits are. Two steps at a time become the fractions of f16s
// between 16 and 32, so that no integer is converted; GPUs with mixed f16 × f32 multiply-adds need no conversion at all.
fn unpackPart(packed: Packed, part: u32) -> vec4<f32> {
  let word = packed.bits[part >> 1u];
  let low = (part & 1u) * 4u; // the steps' first bit in their bytes; it goes to bit 6 of a half
  let even = unpack2x16float(((word << (6u - low)) & 0x03c003c0u) | 0x4c004c00u);
  let odd = unpack2x16float(((word >> (2u + low)) & 0x03c003c0u) | 0x4c004c00u);
  return vec4<f32>(even.x, odd.x, even.y, odd.y);
}
