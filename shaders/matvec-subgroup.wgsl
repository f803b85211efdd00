// Computes a linear layer over the few rows of a decode step; subgroups add up each sum
// Formula: as matmul
// Shapes: as matmul, for the few rows of a decode step
// Work division: as matvec-reduce, but the threads add up within subgroups of any size, then add the subgroups' sums in shared
//   memory after one barrier. The choice on GPUs with subgroups; start-up tuning compares the result with matvec-reduce's
// Grid: as matvec-reduce
// Error bound: as matvec-reduce, with THREADS / size of a subgroup + its logarithm for THREADS / 16 + 16
// Source: torch.nn.functional.linear. Appended: shared/matvec-totals; shared/matvec-sums with shared/wide-* and
//   shared/input, or shared/matvec-sums-int8 with shared/dot-* for an input in 8 bits; shared/sums-subgroup,
//   shared/linear, shared/activation

@compute @workgroup_size(THREADS)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
  @builtin(subgroup_size) size: u32,
) {
  let column4 = (group.y * groups.x + group.x) * COLUMNS4;
  let row = group.z * BATCH;
  if (column4 >= params.columns4) {
    return; // the whole workgroup leaves: workgroup_id is uniform
  }
  let loads4 = 4u * params.weightStride4 / WIDTH; // of four rows of weights
  let second4 = min(column4 + 1u, params.columns4 - 1u);
  let thread = Thread(lane, size);
  addUpAll(thread, partialSums(lane, column4 * loads4, second4 * loads4, row));
  // One thread for every four columns of a row.
  let outputRow = row + lane / COLUMNS4;
  let output4 = column4 + lane % COLUMNS4;
  if (lane < BATCH * COLUMNS4 && outputRow < params.numRows && output4 < params.columns4) {
    storeColumns(outputRow, output4, total(thread, lane));
  }
}
