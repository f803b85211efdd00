// Computes a linear layer over the few rows of a decode step; the threads of a workgroup share each sum
// Formula: as matmul
// Shapes: as matmul, for the few rows of a decode step
// Work division: one workgroup computes 4 · COLUMNS4 columns of BATCH rows: neighbouring threads read neighbouring parts of
//   K, 16 bytes of a weight row per load. A weight serves all BATCH rows, an input value all columns; then the threads add
//   up in shared memory. The choice on GPUs without subgroups, where memory bandwidth is the limit
// Grid: (ceil(N / 4 / COLUMNS4) folded to at most 65,535, ceil of the rest, ceil(rows / BATCH)) workgroups of THREADS threads
// Error bound: (K / (4 · THREADS) + THREADS / 16 + 20) · 2^-24 · Σ|input · weight|, where every weight of a
//   quantised group counts as eight times its largest: they are summed with an offset
// Source: torch.nn.functional.linear. Appended: shared/matvec-totals; shared/matvec-sums with shared/wide-* and
//   shared/input, or shared/matvec-sums-int8 with shared/dot-* for an input in 8 bits; shared/sums-shared,
//   shared/linear, shared/activation

@compute @workgroup_size(THREADS)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let column4 = (group.y * groups.x + group.x) * COLUMNS4;
  let row = group.z * BATCH;
  if (column4 >= params.columns4) {
    return; // the whole workgroup leaves: workgroup_id is uniform
  }
  let loads4 = 4u * params.weightStride4 / WIDTH; // of four rows of weights
  let second4 = min(column4 + 1u, params.columns4 - 1u);
  let thread = Thread(lane);
  addUpAll(thread, partialSums(lane, column4 * loads4, second4 * loads4, row));
  // One thread for every four columns of a row.
  let outputRow = row + lane / COLUMNS4;
  let output4 = column4 + lane % COLUMNS4;
  if (lane < BATCH * COLUMNS4 && outputRow < params.numRows && output4 < params.columns4) {
    storeColumns(outputRow, output4, total(thread, lane));
  }
}
