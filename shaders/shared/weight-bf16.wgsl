// Weights of a checkpoint stored as bf16, two to a u32: a bf16 is the upper half of an f32.
@group(0) @binding(0) var<storage, read> weight: array<vec2<u32>>;

fn loadWeight(index: u32) -> vec4<f32> {
  let packed = weight[index];
  let low = packed << vec2<u32>(16u);
  let high = packed & vec2<u32>(0xffff0000u);
  return vec4<f32>(bitcast<f32>(low.x), bitcast<f32>(high.x), bitcast<f32>(low.y), bitcast<f32>(high.y));
}
