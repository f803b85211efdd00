// Puts the class token, if any, before the patches and adds each position's embedding
// Formula: output[0] = classEmbedding + position[0]; output[i + c] = patches[i] + position[i + c]
// Shapes: patches [P, D] f32 · classEmbedding [D] f32 · position [P + c, D] · output [P + c, D] f32, D a multiple of 4; c: 1 with a
//   class token, 0 without
// Work division: one thread per vec4
// Grid: (ceil(D / 4 / 64), P + c) workgroups of 64 threads
// Error bound: one rounding
// Source: modeling_clip.py CLIPVisionEmbeddings.forward. Appended: shared/weight-* (position)
struct Params {
  columns4: u32, // D / 4
  numClassTokens: u32, // c
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
  if (id.y < params.numClassTokens) {
    output[at] = classEmbedding[id.x] + loadWeight(at);
    return;
  }
  output[at] = patches[at - params.numClassTokens * params.columns4] + loadWeight(at);
}
