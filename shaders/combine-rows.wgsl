// Adds to rows of a matrix the weighted sums of up to four rows of another; resizes a picture's features bilinearly, tile by tile
// Formula: output[outputRow[r]] += Σ_k weights[r, k] · source[index[r, k]], k from 0 to 3
// Shapes: outputRow [n] u32, each row once per dispatch · index [n, 4] u32 · weights [n, 4] f32, 0 where there are fewer than four rows · source [.., D] f32 · output [.., D] f32, D a multiple of 4
// Work division: one thread per vec4
// Grid: (ceil(D / 4 / 64), rows) workgroups of 64 threads
// Error bound: four products and their sum, rounded in f32
// Source: torch.nn.functional.interpolate(mode="bilinear"); modeling_llava_onevision.py pack_image_features
struct Params {
  columns4: u32, // D / 4
  rowStart: u32, // first row of outputRow, index and weights
}
@group(0) @binding(0) var<storage, read> outputRow: array<u32>;
@group(0) @binding(1) var<storage, read> index: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read> weights: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> source: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> output: array<vec4<f32>>;
@group(0) @binding(5) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  if (id.x >= params.columns4) {
    return;
  }
  let row = params.rowStart + id.y;
  let at = index[row] * params.columns4 + id.x;
  let weight = weights[row];
  let sum = weight.x * source[at.x] + weight.y * source[at.y] + weight.z * source[at.z] + weight.w * source[at.w];
  output[outputRow[row] * params.columns4 + id.x] += sum;
}
