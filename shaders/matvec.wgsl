// Formula: output[r, c] = activate(Σ_k input[r, k] · weight[c, k] + bias[c]) (+ output[r, c] when ADD_TO_OUTPUT)
// Shapes: as matmul, for the few rows of a decode step
// Work division: one thread computes 4 columns of one row; no shared memory, no barrier (the choice on CPU adapters,
//   where a barrier costs more than the sum it saves)
// Grid: (ceil(N / 4 / 8), rows) workgroups of 8 threads
// Error bound: as matmul
// Source: torch.nn.functional.linear. Appended: shared/weight-*,
//   shared/linear, shared/activation

@compute @workgroup_size(8)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let column4 = id.x;
  let row = id.y;
  if (column4 >= params.columns4) {
    return;
  }
  let x = inputRow(row);
  let w0 = column4 * 4u * params.weightStride4;
  let w1 = w0 + params.weightStride4;
  let w2 = w1 + params.weightStride4;
  let w3 = w2 + params.weightStride4;

  var sum = vec4<f32>(0.0);
  for (var k = 0u; k < params.inner4; k++) {
    let value = input[x + k];
    sum += vec4<f32>(
      dot(value, loadWeight(w0 + k)),
      dot(value, loadWeight(w1 + k)),
      dot(value, loadWeight(w2 + k)),
      dot(value, loadWeight(w3 + k)),
    );
  }
  storeColumns(row, column4, sum);
}
