// Formula: output[r, c] = activate(Σ_k input[r, k] · weight[c, k] + bias[c]) (+ output[r, c] when ADD_TO_OUTPUT)
// Shapes: as matmul, for the few rows of a decode step
// Work division: one thread computes 4 columns of one row; no shared memory, no barrier (the choice on CPU adapters,
//   where a barrier costs more than the sum it saves)
// Grid: (ceil(N / 4 / 32), rows) workgroups of 32 threads
// Error bound: as matmul
// Source: torch.nn.functional.linear. Appended: shared/weight-*, shared/activation
override HAS_BIAS: bool;
override ADD_TO_OUTPUT: bool;

struct Params {
  numRows: u32,
  inputRowStart: u32, // first row of input that is used
  inner4: u32,        // K / 4
  columns4: u32,      // N / 4 of this piece of the weight
  outputColumn4: u32, // where this piece's columns begin in an output row
  outputStride4: u32, // output row length / 4
  biasColumn4: u32,   // where this piece's columns begin in bias
}
@group(0) @binding(1) var<storage, read> input: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> bias: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> output: array<vec4<f32>>;
@group(0) @binding(4) var<uniform> params: Params;

@compute @workgroup_size(32)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let column4 = id.x;
  let row = id.y;
  if (column4 >= params.columns4) {
    return;
  }
  let x = (params.inputRowStart + row) * params.inner4;
  let w0 = column4 * 4u * params.inner4;
  let w1 = w0 + params.inner4;
  let w2 = w1 + params.inner4;
  let w3 = w2 + params.inner4;

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
  if (HAS_BIAS) {
    sum += bias[params.biasColumn4 + column4];
  }
  sum = activate(sum);
  let at = row * params.outputStride4 + params.outputColumn4 + column4;
  if (ADD_TO_OUTPUT) {
    sum += output[at];
  }
  output[at] = sum;
}
