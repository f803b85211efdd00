// Formula: output[r, c] = activate(Σ_k input[r, k] · weight[c, k] + bias[c]) · (Σ_k input[r, k] · weight[I + c, k] + bias[I + c])
// Shapes: input [rows, K] f32 · weight [2·I, K], gate_proj above up_proj · bias [2·I] f32 · output [rows, I] f32; K and I
//   are multiples of 4
// Work division: one thread computes 4 columns of one row: 4 of the gate's, 4 of the up projection's; no shared memory,
//   no barrier (the choice on CPU adapters)
// Grid: (ceil(I / 4 / 8), rows) workgroups of 8 threads
// Error bound: matmul's for both sums, then gated-activation's
// Source: SwiGLU, arXiv 2002.05202 eq. 6; modeling_llama.py LlamaMLP.forward. Appended: shared/weight-*,
//   shared/linear, shared/activation

@compute @workgroup_size(8)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let column4 = id.x;
  let row = id.y;
  if (column4 >= params.columns4) {
    return;
  }
  let x = inputRow(row);
  let g0 = column4 * 4u * params.weightStride4;
  let g1 = g0 + params.weightStride4;
  let g2 = g1 + params.weightStride4;
  let g3 = g2 + params.weightStride4;
  let toUp = params.columns4 * 4u * params.weightStride4;

  var gate = vec4<f32>(0.0);
  var up = vec4<f32>(0.0);
  for (var k = 0u; k < params.inner4; k++) {
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
  storeGated(row, column4, gate, up);
}
