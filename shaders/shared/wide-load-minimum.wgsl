// 16 bytes of quantised weights per load, a whole group, with their scale and minimum. Appended with shared/wide-q4-1.
const HAS_MINIMUM = true;
@group(0) @binding(0) var<storage, read> weight: array<vec4<u32>>;
@group(0) @binding(9) var<storage, read> scales: array<u32>;

struct Packed {
  bits: vec4<u32>,
  scale: f32,   // of all its unpacked weights
  minimum: f32, // added to all of them
}

fn loadPacked(index: u32) -> Packed {
  let pair = unpack2x16float(scales[index]);
  return Packed(weight[index], pair.x, pair.y);
}
