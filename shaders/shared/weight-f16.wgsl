// Weights of a checkpoint stored as f16, two to a u32: unpacked without the shader-f16 feature, exactly.
@group(0) @binding(0) var<storage, read> weight: array<vec2<u32>>;

fn loadWeight(index: u32) -> vec4<f32> {
  let packed = weight[index];
  return vec4<f32>(unpack2x16float(packed.x), unpack2x16float(packed.y));
}
