// Weights quantised to 4 bits as in weight-q4, 16 bytes (a group) a load.
@group(0) @binding(0) var<storage, read> weight: array<vec4<u32>>;
@group(0) @binding(9) var<storage, read> scales: array<u32>;

const WIDTH = 8u; // vec4s of weights in a load

struct Packed {
  bits: vec4<u32>,
  scale: f32, // of all its weights
}

fn loadPacked(index: u32) -> Packed {
  let pair = unpack2x16float(scales[index >> 1u]);
  return Packed(weight[index], select(pair.x, pair.y, (index & 1u) != 0u));
}

// Vec4 `part` of a load, before the scale.
fn unpackPart(packed: Packed, part: u32) -> vec4<f32> {
  let halves = packed.bits[part >> 1u] >> ((part & 1u) * 4u);
  return vec4<f32>((vec4<u32>(halves) >> vec4<u32>(0u, 8u, 16u, 24u)) & vec4<u32>(15u)) - 8.0;
}
