// Adds vectors to chosen rows of a matrix, for instance to steer the hidden states at these positions
// Formula: output[outputRowStart + r] += values[valueRowStart + r]
// Shapes: values [n, D] f32 · output [.., D] f32, D a multiple of 4
// Work division: one thread per vec4
// Grid: (ceil(D / 4 / 64), rows) workgroups of 64 threads
// Error bound: one rounding
// Source: torch.Tensor.add_
struct Params {
  columns4: u32,       // D / 4
  valueRowStart: u32,  // first row of values
  outputRowStart: u32, // first row of output
}
@group(0) @binding(0) var<storage, read> values: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> output: array<vec4<f32>>;
@group(0) @binding(2) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  if (id.x >= params.columns4) {
    return;
  }
  let at = (params.outputRowStart + id.y) * params.columns4 + id.x;
  output[at] += values[(params.valueRowStart + id.y) * params.columns4 + id.x];
}
