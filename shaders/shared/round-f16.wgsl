// Whole numbers times powers of two as f16s, computed with integers: adapters may round floats in other ways.

// The bits of the f16 nearest to (significand + a fraction below 1 if hasRest) · 2^exponent, ties to even; infinity where it is too
// large. significand is 0 or at least 2^12.
fn roundToF16(significand: u32, exponent: i32, hasRest: bool) -> u32 {
  if (significand == 0u) {
    return 0u;
  }
  // The f16's last place is 2^unit, at least that of its subnormals.
  let unit = max(i32(firstLeadingBit(significand)) + exponent - 10, -24);
  let shift = u32(unit - exponent);
  if (shift > 31u) {
    return 0u;
  }
  let kept = significand >> shift;
  let rest = significand & ((1u << shift) - 1u);
  let half = 1u << (shift - 1u);
  let isUp = rest > half || (rest == half && (hasRest || (kept & 1u) == 1u));
  // A carry into the next exponent comes out right by itself.
  return min(kept + select(0u, 1u, isUp) + (u32(unit + 24) << 10u), 0x7c00u);
}
