// A linear layer over the few rows of a decode step; subgroups add up each sum
// Formula: as matmul
// Shapes: as matmul, for the few rows of a decode step
// Work division: as matvec-reduce, but the threads add up within subgroups of any size, then add the subgroups' sums in shared
//   memory after one barrier. The choice on GPUs with subgroups. A subgroup is assumed to be a run of neighbouring threads,
//   as in all known drivers for workgroups of one dimension; start-up tuning compares the result with matvec-reduce's
// Grid: as matvec-reduce
// Error bound: (K / (4 · THREADS) + 4 + THREADS / size of a subgroup + its logarithm) · 2^-24 · Σ|input · weight|
// Source: torch.nn.functional.linear. Appended: shared/wide-*, shared/matvec-sums, shared/linear, shared/activation
enable subgroups;

override MAX_SUBGROUPS: u32 = THREADS / 4u; // of a workgroup: no subgroup has fewer than 4 threads
override PARTIAL_SIZE: u32 = BATCH * COLUMNS4 * MAX_SUBGROUPS;

// [BATCH · COLUMNS4][MAX_SUBGROUPS]
var<workgroup> partial: array<vec4<f32>, PARTIAL_SIZE>;

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
  let sums = partialSums(lane, column4, row);
  let subgroup = lane / size;
  let isFirst = lane % size == 0u;
  addUp(isFirst, subgroup, 0u * COLUMNS4, sums.row0A);
  if (COLUMNS4 > 1u) {
    addUp(isFirst, subgroup, 0u * COLUMNS4 + 1u, sums.row0B);
  }
  if (BATCH > 1u) {
    addUp(isFirst, subgroup, 1u * COLUMNS4, sums.row1A);
    if (COLUMNS4 > 1u) {
      addUp(isFirst, subgroup, 1u * COLUMNS4 + 1u, sums.row1B);
    }
  }
  if (BATCH > 2u) {
    addUp(isFirst, subgroup, 2u * COLUMNS4, sums.row2A);
    addUp(isFirst, subgroup, 3u * COLUMNS4, sums.row3A);
    if (COLUMNS4 > 1u) {
      addUp(isFirst, subgroup, 2u * COLUMNS4 + 1u, sums.row2B);
      addUp(isFirst, subgroup, 3u * COLUMNS4 + 1u, sums.row3B);
    }
  }
  if (BATCH > 4u) {
    addUp(isFirst, subgroup, 4u * COLUMNS4, sums.row4A);
    addUp(isFirst, subgroup, 5u * COLUMNS4, sums.row5A);
    addUp(isFirst, subgroup, 6u * COLUMNS4, sums.row6A);
    addUp(isFirst, subgroup, 7u * COLUMNS4, sums.row7A);
    if (COLUMNS4 > 1u) {
      addUp(isFirst, subgroup, 4u * COLUMNS4 + 1u, sums.row4B);
      addUp(isFirst, subgroup, 5u * COLUMNS4 + 1u, sums.row5B);
      addUp(isFirst, subgroup, 6u * COLUMNS4 + 1u, sums.row6B);
      addUp(isFirst, subgroup, 7u * COLUMNS4 + 1u, sums.row7B);
    }
  }
  workgroupBarrier();
  // One thread for every four columns of a row.
  let outputRow = row + lane / COLUMNS4;
  let output4 = column4 + lane % COLUMNS4;
  if (lane < BATCH * COLUMNS4 && outputRow < params.numRows && output4 < params.columns4) {
    var sum = partial[lane * MAX_SUBGROUPS];
    for (var i = 1u; i < (THREADS + size - 1u) / size; i++) {
      sum += partial[lane * MAX_SUBGROUPS + i];
    }
    storeColumns(outputRow, output4, sum);
  }
}

// Adds up what a subgroup has of four columns of a row into place `index`.
fn addUp(isFirst: bool, subgroup: u32, index: u32, sum: vec4<f32>) {
  let total = subgroupAdd(sum);
  if (isFirst) {
    partial[index * MAX_SUBGROUPS + subgroup] = total;
  }
}
