// Weights of a checkpoint stored as bf16, 16 bytes (eight weights) a load; rows are whole loads.
@group(0) @binding(0) var<storage, read> weight: array<vec4<u32>>;

const WIDTH = 2u; // vec4s of weights in a load

struct Packed {
  bits: vec4<u32>,
  scale: f32, // of all its weights; 1 where the format has none
}

fn loadPacked(index: u32) -> Packed {
  return Packed(weight[index], 1.0);
}

// Vec4 `part` of a load, before the scale.
fn unpackPart(packed: Packed, part: u32) -> vec4<f32> {
  let four = select(packed.bits.xy, packed.bits.zw, part == 1u);
  let low = four << vec2<u32>(16u);
  let high = four & vec2<u32>(0xffff0000u);
  return vec4<f32>(bitcast<f32>(low.x), bitcast<f32>(high.x), bitcast<f32>(low.y), bitcast<f32>(high.y));
}
