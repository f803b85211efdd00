// Queries, keys and values of a decode step, rotated, one workgroup per four pairs
// Formula: as qkv-rope
// Shapes: as qkv-rope
// Work division: one workgroup computes four rotation pairs: 4 columns of a head's first half and the 4 of its second;
//   threads read neighbouring parts of K (coalesced), then add up in shared memory (the choice on GPUs)
// Grid: (headDim / 8, H + 2·Hkv, rows) workgroups of 64 threads
// Error bound: matvec-reduce's for the sums, then rope-append's
// Source: modeling_llama.py LlamaAttention.forward and rotate_half. Appended: shared/weight-*,
//   shared/columns-reduce, shared/qkv-rope, shared/step

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let pair4 = group.x;
  let head = group.y;
  let row = group.z;
  let firstRow = head * HEAD_DIM + pair4 * 4u;
  let sums = sumTwice(row * params.inner4, firstRow, firstRow + HEAD_DIM / 2u, lane);
  if (lane == 0u) {
    storePairs(row, head, pair4, sums.first, sums.second);
  }
}
