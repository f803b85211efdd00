// Gate and up projection of an MLP and their product, one workgroup per four columns
// Formula: as gated-matvec
// Shapes: as gated-matvec
// Work division: one workgroup computes 4 columns of one row: threads read neighbouring parts of K (coalesced), then add
//   up in shared memory (the choice on GPUs)
// Grid: (I / 4 folded to at most 65,535, ceil of the rest, rows) workgroups of 64 threads
// Error bound: matvec-reduce's for both sums, then gated-activation's
// Source: SwiGLU, arXiv 2002.05202 eq. 6; modeling_llama.py LlamaMLP.forward. Appended: shared/weight-*,
//   shared/columns-reduce, shared/linear, shared/activation

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
  let sums = sumTwice(inputRow(row), column4 * 4u, (params.columns4 + column4) * 4u, lane);
  if (lane == 0u) {
    storeGated(row, column4, sums.first, sums.second);
  }
}
