// What the three linear kernels share: bindings, parameters and the end of each sum. Appended with shared/weight-*
// (binding 0), shared/input or shared/matvec-sums-int8 (binding 1), and shared/activation.
override HAS_BIAS: bool;
override ADD_TO_OUTPUT: bool; // the residual connection

struct Params {
  numRows: u32,
  inputRowStart: u32, // first row of input that is used
  inner4: u32,        // K / 4
  weightStride4: u32, // vec4s from a weight row to the next: inner4, or more where groups of 32 pad the row
  columns4: u32,      // N / 4 of this piece of the weight
  outputColumn4: u32, // where this piece's columns begin in an output row
  outputStride4: u32, // output row length / 4
  biasColumn4: u32,   // where this piece's columns begin in bias
}
@group(0) @binding(2) var<storage, read> bias: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> output: array<vec4<f32>>;
@group(0) @binding(4) var<uniform> params: Params;

// First vec4 of an input row.
fn inputRow(row: u32) -> u32 {
  return (params.inputRowStart + row) * params.inner4;
}

// Adds the bias, activates and stores four columns of a row.
fn storeColumns(row: u32, column4: u32, sum: vec4<f32>) {
  var value = sum;
  if (HAS_BIAS) {
    value += bias[params.biasColumn4 + column4];
  }
  value = activate(value);
  let at = row * params.outputStride4 + params.outputColumn4 + column4;
  if (ADD_TO_OUTPUT) {
    value += output[at];
  }
  output[at] = value;
}

// Of a gate and an up projection below one another in the weight: stores activate(gate) · up.
fn storeGated(row: u32, column4: u32, gate: vec4<f32>, up: vec4<f32>) {
  var left = gate;
  var right = up;
  if (HAS_BIAS) {
    left += bias[column4];
    right += bias[params.columns4 + column4];
  }
  output[row * params.outputStride4 + column4] = activate(left) * right;
}
