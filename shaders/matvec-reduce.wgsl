// Formula: output[r, c] = activate(Σ_k input[r, k] · weight[c, k] + bias[c]) (+ output[r, c] when ADD_TO_OUTPUT)
// Shapes: as matmul, for the few rows of a decode step
// Work division: one workgroup computes 4 columns of one row: threads read neighbouring parts of K (coalesced), then
//   add up in shared memory (the choice on GPUs, where memory bandwidth is the limit)
// Grid: (N / 4 folded to at most 65,535, ceil of the rest, rows) workgroups of 64 threads
// Error bound: (K/256 + 10) · 2^-24 · Σ|input · weight|
// Source: torch.nn.functional.linear. Appended: shared/weight-*,
//   shared/linear, shared/activation

var<workgroup> partial: array<vec4<f32>, 64>;

@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let column4 = group.y * groups.x + group.x;
  let row = group.z;
  if (column4 >= params.columns4) {
    return; // the whole workgroup leaves: workgroup_id is uniform
  }
  let x = inputRow(row);
  let w0 = column4 * 4u * params.weightStride4;
  let w1 = w0 + params.weightStride4;
  let w2 = w1 + params.weightStride4;
  let w3 = w2 + params.weightStride4;

  var sum = vec4<f32>(0.0);
  for (var k = lane; k < params.inner4; k += 64u) {
    let value = input[x + k];
    sum += vec4<f32>(
      dot(value, loadWeight(w0 + k)),
      dot(value, loadWeight(w1 + k)),
      dot(value, loadWeight(w2 + k)),
      dot(value, loadWeight(w3 + k)),
    );
  }
  partial[lane] = sum;
  for (var width = 32u; width > 0u; width >>= 1u) {
    workgroupBarrier();
    if (lane < width) {
      partial[lane] += partial[lane + width];
    }
  }
  if (lane == 0u) {
    storeColumns(row, column4, partial[0]);
  }
}
