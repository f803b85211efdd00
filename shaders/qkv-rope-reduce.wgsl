// Computes and rotates the queries and keys of a decode step, and its values; the threads of a workgroup share each sum
// Formula: as qkv-rope
// Shapes: as qkv-rope
// Work division: one workgroup computes four rotation pairs of BATCH rows, 4 columns of a head's first half and the 4 of its
//   second, as matvec-reduce does: neighbouring threads read neighbouring parts of K, 16 bytes of a weight row per load;
//   the threads add up in shared memory. The choice on GPUs without subgroups
// Grid: (headDim / 8, H + 2·Hkv, ceil(rows / BATCH)) workgroups of THREADS threads
// Error bound: matvec-reduce's for the sums, then rope-append's
// Source: modeling_llama.py LlamaAttention.forward and rotate_half. Appended: shared/matvec-totals;
//   shared/matvec-sums with shared/wide-* and shared/input, or shared/matvec-sums-int8 with shared/dot-* for an input
//   in 8 bits; shared/sums-shared, shared/qkv-rope, shared/step

@compute @workgroup_size(THREADS)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let pair4 = group.x;
  let head = group.y;
  let row = group.z * BATCH;
  let firstRow = head * HEAD_DIM + pair4 * 4u;
  let loads = params.weightStride4 / WIDTH; // of a row of weights
  let thread = Thread(lane);
  addUpAll(thread, partialSums(lane, firstRow * loads, (firstRow + half4() * 4u) * loads, row));
  if (lane < BATCH && row + lane < params.numRows) {
    storePairs(row + lane, head, pair4, total(thread, 2u * lane), total(thread, 2u * lane + 1u));
  }
}
