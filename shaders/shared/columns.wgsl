// Σ_k of one input row with four neighbouring rows of the weight, by one thread. Appended with shared/weight-* and
// declarations of input and params. Only the other form, shared/columns-quad, uses `lane`.
fn sumColumns(x: u32, row: u32, lane: u32) -> vec4<f32> {
  let w0 = row * params.weightStride4;
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
  return sum;
}
