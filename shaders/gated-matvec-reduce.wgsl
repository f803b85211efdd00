// Formula: as gated-matvec
// Shapes: as gated-matvec
// Work division: one workgroup computes 4 columns of one row: threads read neighbouring parts of K (coalesced), then add
//   up in shared memory (the choice on GPUs)
// Grid: (I / 4 folded to at most 65,535, ceil of the rest, rows) workgroups of 64 threads
// Error bound: matvec-reduce's for both sums, then gated-activation's
// Source: SwiGLU, arXiv 2002.05202 eq. 6; modeling_llama.py LlamaMLP.forward. Appended: shared/weight-*,
//   shared/linear, shared/activation

var<workgroup> partial: array<vec4<f32>, 128>;

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
  let g0 = column4 * 4u * params.weightStride4;
  let g1 = g0 + params.weightStride4;
  let g2 = g1 + params.weightStride4;
  let g3 = g2 + params.weightStride4;
  let toUp = params.columns4 * 4u * params.weightStride4;

  var gate = vec4<f32>(0.0);
  var up = vec4<f32>(0.0);
  for (var k = lane; k < params.inner4; k += 64u) {
    let value = input[x + k];
    gate += vec4<f32>(
      dot(value, loadWeight(g0 + k)),
      dot(value, loadWeight(g1 + k)),
      dot(value, loadWeight(g2 + k)),
      dot(value, loadWeight(g3 + k)),
    );
    up += vec4<f32>(
      dot(value, loadWeight(g0 + toUp + k)),
      dot(value, loadWeight(g1 + toUp + k)),
      dot(value, loadWeight(g2 + toUp + k)),
      dot(value, loadWeight(g3 + toUp + k)),
    );
  }
  partial[lane] = gate;
  partial[lane + 64u] = up;
  for (var width = 32u; width > 0u; width >>= 1u) {
    workgroupBarrier();
    if (lane < width) {
      partial[lane] += partial[lane + width];
      partial[lane + 64u] += partial[lane + 64u + width];
    }
  }
  if (lane == 0u) {
    storeGated(row, column4, partial[0], partial[64]);
  }
}
