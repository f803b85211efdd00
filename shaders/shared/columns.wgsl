// Σ_k of one input row with four neighbouring rows of the weight, by one thread. Appended with shared/weight-*, shared/dots and
// declarations of input and params. Of the forms of this function, only shared/columns-quad uses `lane`.
fn sumColumns(x: u32, row: u32, lane: u32) -> vec4<f32> {
  let w0 = row * params.weightStride4;
  let w1 = w0 + params.weightStride4;
  let w2 = w1 + params.weightStride4;
  let w3 = w2 + params.weightStride4;
  var sum = vec4<f32>(0.0);
  for (var k = 0u; k < params.inner4; k++) {
    sum += dots(input[x + k], loadWeight(w0 + k), loadWeight(w1 + k), loadWeight(w2 + k), loadWeight(w3 + k));
  }
  return sum;
}
