// Weights of a checkpoint stored as f32, 16 bytes (four weights) a load.
@group(0) @binding(0) var<storage, read> weight: array<vec4<u32>>;

const WIDTH = 1u; // vec4s of weights in a load

struct Packed {
  bits: vec4<u32>,
  scale: f32, // of all its weights; 1 where the format has none
}

fn loadPacked(index: u32) -> Packed {
  return Packed(weight[index], 1.0);
}

// Vec4 `part` of a load, before the scale.
fn unpackPart(packed: Packed, part: u32) -> vec4<f32> {
  return bitcast<vec4<f32>>(packed.bits);
}
