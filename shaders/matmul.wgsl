// Computes a linear layer over many rows
// Formula: output[r, c] = activate(Σ_k input[r, k] · weight[c, k] + bias[c]) (+ output[r, c] when ADD_TO_OUTPUT)
// Shapes: input [rows, K] f32 · weight [N, K] as the checkpoint stores it · bias [N] f32 · output [rows, stride] f32;
//   K and N are multiples of 4 (the loader pads with zeros)
// Work division: one thread computes 4 rows × 4 columns in registers; no shared memory, no barrier
// Grid: (ceil(N / 32), ceil(rows / 32)) workgroups of 8 × 8 threads
// Error bound: K sequential f32 additions in four lanes, |error| <= (K/4 + 4) · 2^-24 · Σ|input · weight|
// Source: torch.nn.functional.linear; register tiling as in any GEMM text. Appended: shared/weight-*,
//   shared/dots, shared/input, shared/linear, shared/activation

@compute @workgroup_size(8, 8)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let column4 = id.x;
  let row = id.y * 4u;
  if (column4 >= params.columns4 || row >= params.numRows) {
    return;
  }
  let last = params.numRows - 1u;
  let x0 = inputRow(row);
  let x1 = inputRow(min(row + 1u, last));
  let x2 = inputRow(min(row + 2u, last));
  let x3 = inputRow(min(row + 3u, last));
  let w0 = column4 * 4u * params.weightStride4;
  let w1 = w0 + params.weightStride4;
  let w2 = w1 + params.weightStride4;
  let w3 = w2 + params.weightStride4;

  var sum = array<vec4<f32>, 4>();
  for (var k = 0u; k < params.inner4; k++) {
    let a = loadWeight(w0 + k);
    let b = loadWeight(w1 + k);
    let c = loadWeight(w2 + k);
    let d = loadWeight(w3 + k);
    let p = input[x0 + k];
    let q = input[x1 + k];
    let r = input[x2 + k];
    let s = input[x3 + k];
    sum[0] += dots(p, a, b, c, d);
    sum[1] += dots(q, a, b, c, d);
    sum[2] += dots(r, a, b, c, d);
    sum[3] += dots(s, a, b, c, d);
  }

  for (var i = 0u; i < min(4u, params.numRows - row); i++) {
    storeColumns(row + i, column4, sum[i]);
  }
}
