// 16 bytes of quantised weights per load, with their scale; two scales to a u32. Appended with shared/wide-q8 or -q4,
// whose LOADS is the number of loads that share such a pair.
@group(0) @binding(0) var<storage, read> weight: array<vec4<u32>>;
@group(0) @binding(9) var<storage, read> scales: array<u32>;

const HAS_MINIMUM = false;

struct Packed {
  bits: vec4<u32>,
  scale: f32,   // of all its unpacked weights
  minimum: f32, // not read
}

fn loadPacked(index: u32) -> Packed {
  let shift = (index & (LOADS / 2u)) * (32u / LOADS); // 16 for the second scale of a pair
  return Packed(weight[index], unpack2x16float(scales[index / LOADS] >> shift).x, 0.0);
}
