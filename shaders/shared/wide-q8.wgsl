// Weights quantised to 8 bits as in weight-q8, 16 bytes (half a group) a load.
@group(0) @binding(0) var<storage, read> weight: array<vec4<u32>>;
@group(0) @binding(9) var<storage, read> scales: array<u32>;

const WIDTH = 4u; // vec4s of weights in a load

struct Packed {
  bits: vec4<u32>,
  scale: f32, // of all its weights
}

fn loadPacked(index: u32) -> Packed {
  let pair = unpack2x16float(scales[index >> 2u]);
  return Packed(weight[index], select(pair.x, pair.y, (index & 2u) != 0u));
}

// Vec4 `part` of a load, before the scale.
fn unpackPart(packed: Packed, part: u32) -> vec4<f32> {
  return vec4<f32>(bitcast<vec4<i32>>(vec4<u32>(packed.bits[part]) << vec4<u32>(24u, 16u, 8u, 0u)) >> vec4<u32>(24u));
}
