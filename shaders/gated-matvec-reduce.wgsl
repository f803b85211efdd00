// Computes the gate and up projections of an MLP and their product; the threads of a workgroup share each sum
// Formula: as gated-matvec
// Shapes: as gated-matvec
// Work division: one workgroup computes 4 columns of BATCH rows as matvec-reduce does: neighbouring threads read neighbouring parts
//   of K, 16 bytes of a weight row per load; the threads add up in shared memory. The choice on GPUs without subgroups
// Grid: (I / 4 folded to at most 65,535, ceil of the rest, ceil(rows / BATCH)) workgroups of THREADS threads
// Error bound: matvec-reduce's for both sums, then gated-activation's
// Source: SwiGLU, arXiv 2002.05202 eq. 6; modeling_llama.py LlamaMLP.forward. Appended: shared/matvec-totals;
//   shared/matvec-sums with shared/wide-* and shared/input, or shared/matvec-sums-int8 with shared/dot-* for an input
//   in 8 bits; shared/sums-shared, shared/linear, shared/activation

@compute @workgroup_size(THREADS)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let column4 = group.y * groups.x + group.x;
  let row = group.z * BATCH;
  if (column4 >= params.columns4) {
    return; // the whole workgroup leaves: workgroup_id is uniform
  }
  let loads4 = 4u * params.weightStride4 / WIDTH; // of four rows of weights
  let thread = Thread(lane);
  addUpAll(thread, partialSums(lane, column4 * loads4, (params.columns4 + column4) * loads4, row));
  if (lane < BATCH && row + lane < params.numRows) {
    storeGated(row + lane, column4, total(thread, 2u * lane), total(thread, 2u * lane + 1u));
  }
}
