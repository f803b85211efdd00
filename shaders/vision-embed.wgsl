// Puts the class token before the patches and adds to each its position's embedding
// Formula: output[0] = classEmbedding + position[0]; output[i + 1] = patches[i] + position[i + 1]
// Shapes: patches [P, D] f32 · classEmbedding [D] f32 · position [P + 1, D] · output [P + 1, D] f32, D a multiple of 4
// Work division: one thread a vec4
// Grid: (ceil(D / 4 / 64), P + 1) workgroups of 64 threads
// Error bound: one rounding
// Source: modeling_clip.py CLIPVisionEmbeddings.forward. Appended: shared/weight-* (position)
struct Params {
  columns4: u32, // D / 4
}
@group(0) @binding(1) var<storage, read> patches: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> classEmbedding: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> output: array<vec4<f32>>;
@group(0) @binding(4) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  if (id.x >= params.columns4) {
    return;
  }
  let at = id.y * params.columns4 + id.x;
  var value = classEmbedding[id.x];
  if (id.y > 0u) {
    value = patches[at - params.columns4];
  }
  output[at] = value + loadWeight(at);
}
