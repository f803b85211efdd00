// Computes the gate and up projections of an MLP and their product, for the few rows of a decode step
// Formula: output[r, c] = activate(Σ_k input[r, k] · weight[c, k] + bias[c]) · (Σ_k input[r, k] · weight[I + c, k] + bias[I + c])
// Shapes: input [rows, K] f32 · weight [2·I, K], gate_proj above up_proj · bias [2·I] f32 · output [rows, I] f32; K and I
//   are multiples of 4
// Work division: one thread computes 4 columns of one row: 4 of the gate's, 4 of the up projection's; no shared memory,
//   no barrier (the choice on CPU adapters)
// Grid: (ceil(I / 4 / 8), rows) workgroups of 8 threads
// Error bound: matmul's for both sums, then gated-activation's
// Source: SwiGLU, arXiv 2002.05202 eq. 6; modeling_llama.py LlamaMLP.forward. Appended: as for matvec

@compute @workgroup_size(8)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  // Past the last column a thread computes it again and stores nothing.
  let column4 = min(id.x, params.columns4 - 1u);
  let x = inputRow(id.y);
  let gate = sumColumns(x, column4 * 4u, lane);
  let up = sumColumns(x, (params.columns4 + column4) * 4u, lane);
  if (id.x < params.columns4) {
    storeGated(id.y, column4, gate, up);
  }
}
