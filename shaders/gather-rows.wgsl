// Copies rows by index; puts the picture's features at their positions in the prompt
// Formula: output[r] = index[r] >= 0 ? source[index[r]] : filler
// Shapes: index [rows] i32 · source [n, D] f32 · filler [D] f32 (LLaVA-NeXT's image_newline) · output [.., D] f32
// Work division: one thread per vec4
// Grid: (ceil(D / 4 / 64), rows) workgroups of 64 threads
// Error bound: exact
// Source: torch.index_select; modeling_llava_next.py pack_image_features
struct Params {
  columns4: u32,       // D / 4
  outputRowStart: u32, // first output row
}
@group(0) @binding(0) var<storage, read> index: array<i32>;
@group(0) @binding(1) var<storage, read> source: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> filler: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> output: array<vec4<f32>>;
@group(0) @binding(4) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  if (id.x >= params.columns4) {
    return;
  }
  let row = index[id.y];
  let at = (params.outputRowStart + id.y) * params.columns4 + id.x;
  if (row >= 0) {
    output[at] = source[u32(row) * params.columns4 + id.x];
  } else {
    output[at] = filler[id.x];
  }
}
