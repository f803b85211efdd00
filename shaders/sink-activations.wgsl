// Measures how much each position's hidden state is that of an attention sink
// Formula: output[layer, slot of r] = max_d |input[r, d]| / √(mean_c(input[r, c]²) + 1e-6) over the dimensions d
// Shapes: input [rows, D] f32, rows padded with zeros to a multiple of 4 · dimensions u32, in edits · output [layers, capacity] f32
// Work division: as rms-norm
// Grid: (rows) workgroups of 64 threads
// Error bound: as rms-norm
// Source: arXiv 2503.03321 section 4; eps is that of the authors' code. Appended: shared/step, shared/edits
struct Params {
  columns4: u32,        // padded D / 4
  columns: u32,         // D
  layer: u32,
  capacity: u32,        // of output
  dimensionsStart: u32, // word of the first dimension in edits
  numDimensions: u32,
}
@group(0) @binding(0) var<storage, read> input: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> output: array<f32>;
@group(0) @binding(3) var<uniform> params: Params;

var<workgroup> partial: array<f32, 64>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let row = group.x * params.columns4;
  var sum = 0.0;
  for (var i = lane; i < params.columns4; i += 64u) {
    let x = input[row + i];
    sum += dot(x, x);
  }
  partial[lane] = sum;
  workgroupBarrier();
  if (lane > 0u) {
    return;
  }
  var total = 0.0;
  for (var i = 0u; i < 64u; i++) {
    total += partial[i];
  }
  var largest = 0.0;
  for (var i = 0u; i < params.numDimensions; i++) {
    let dimension = edits[params.dimensionsStart + i];
    largest = max(largest, abs(input[row + dimension / 4u][dimension % 4u]));
  }
  output[params.layer * params.capacity + rowSlot(group.x)] = largest * inverseSqrt(total / f32(params.columns) + 1e-6);
}
