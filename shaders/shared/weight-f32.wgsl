// Weights of a checkpoint stored as f32: four neighbours along a matrix row.
@group(0) @binding(0) var<storage, read> weight: array<vec4<f32>>;

fn loadWeight(index: u32) -> vec4<f32> {
  return weight[index];
}
