// Looks up a row of the embedding table for every token
// Formula: output[r] = weight[ids[r] − firstToken] where firstToken <= ids[r] < firstToken + numTokens
// Shapes: ids [rows] u32 · weight [V, D] (or one row piece of it) · output [rows, D] f32, D a multiple of 4
// Work division: one thread per vec4; a row whose token is in another piece is skipped
// Grid: (ceil(D / 4 / 64), rows) workgroups of 64 threads
// Error bound: exact (f16 and bf16 widen exactly; q8 and q4 times an f16 scale fit an f32)
// Source: torch.nn.Embedding. Appended: shared/weight-*
struct Params {
  columns4: u32,      // D / 4
  weightStride4: u32, // vec4s from a table row to the next: columns4, or more where groups of 32 pad the row
  firstToken: u32,    // token of this piece's first row
  numTokens: u32,     // rows of this piece
}
@group(0) @binding(1) var<storage, read> ids: array<u32>;
@group(0) @binding(2) var<storage, read_write> output: array<vec4<f32>>;
@group(0) @binding(3) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let token = ids[id.y];
  if (id.x >= params.columns4 || token < params.firstToken || token >= params.firstToken + params.numTokens) {
    return;
  }
  output[id.y * params.columns4 + id.x] = loadWeight((token - params.firstToken) * params.weightStride4 + id.x);
}
