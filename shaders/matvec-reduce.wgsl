// A linear layer over the few rows of a decode step; the threads of a workgroup share each sum
// Formula: as matmul
// Shapes: as matmul, for the few rows of a decode step
// Work division: one workgroup computes 4 · COLUMNS4 columns of BATCH rows: neighbouring threads read neighbouring parts of
//   K, 16 bytes of a weight row per load. A weight serves all BATCH rows, an input value all columns; then the threads add
//   up in shared memory. The choice on GPUs without subgroups, where memory bandwidth is the limit
// Grid: (ceil(N / 4 / COLUMNS4) folded to at most 65,535, ceil of the rest, ceil(rows / BATCH)) workgroups of THREADS threads
// Error bound: (K / (4 · THREADS) + 12) · 2^-24 · Σ|input · weight|
// Source: torch.nn.functional.linear. Appended: shared/wide-*, shared/matvec-sums, shared/linear, shared/activation

var<workgroup> partial: array<vec4<f32>, THREADS>;

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
  let sums = partialSums(lane, column4, row);
  addUp(lane, row + 0u, column4, sums.row0A);
  if (COLUMNS4 > 1u) {
    addUp(lane, row + 0u, column4 + 1u, sums.row0B);
  }
  if (BATCH > 1u) {
    addUp(lane, row + 1u, column4, sums.row1A);
    if (COLUMNS4 > 1u) {
      addUp(lane, row + 1u, column4 + 1u, sums.row1B);
    }
  }
  if (BATCH > 2u) {
    addUp(lane, row + 2u, column4, sums.row2A);
    addUp(lane, row + 3u, column4, sums.row3A);
    if (COLUMNS4 > 1u) {
      addUp(lane, row + 2u, column4 + 1u, sums.row2B);
      addUp(lane, row + 3u, column4 + 1u, sums.row3B);
    }
  }
  if (BATCH > 4u) {
    addUp(lane, row + 4u, column4, sums.row4A);
    addUp(lane, row + 5u, column4, sums.row5A);
    addUp(lane, row + 6u, column4, sums.row6A);
    addUp(lane, row + 7u, column4, sums.row7A);
    if (COLUMNS4 > 1u) {
      addUp(lane, row + 4u, column4 + 1u, sums.row4B);
      addUp(lane, row + 5u, column4 + 1u, sums.row5B);
      addUp(lane, row + 6u, column4 + 1u, sums.row6B);
      addUp(lane, row + 7u, column4 + 1u, sums.row7B);
    }
  }
}

// Adds up what the threads have of four columns of a row, and stores it; for all threads of the workgroup together.
fn addUp(lane: u32, row: u32, column4: u32, sum: vec4<f32>) {
  workgroupBarrier(); // the sums before these have been read
  partial[lane] = sum;
  for (var width = THREADS / 2u; width > 0u; width >>= 1u) {
    workgroupBarrier();
    if (lane < width) {
      partial[lane] += partial[lane + width];
    }
  }
  if (lane == 0u && row < params.numRows && column4 < params.columns4) {
    storeColumns(row, column4, partial[0]);
  }
}
