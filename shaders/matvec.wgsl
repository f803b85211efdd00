// Computes a linear layer over the few rows of a decode step
// Formula: as matmul
// Shapes: as matmul, for the few rows of a decode step
// Work division: one thread computes 4 columns of one row; no shared memory, no barrier (the choice on CPU adapters,
//   where a barrier costs more than the sum it saves)
// Grid: (ceil(N / 4 / 8), rows) workgroups of 8 threads
// Error bound: as matmul
// Source: torch.nn.functional.linear. Appended: shared/weight-* and shared/columns, or shared/wide-* and
//   shared/columns-wide, or shared/group-* and shared/columns-quad; shared/input, shared/linear, shared/activation

@compute @workgroup_size(8)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  // Past the last column a thread computes it again and stores nothing.
  let column4 = min(id.x, params.columns4 - 1u);
  let sum = sumColumns(inputRow(id.y), column4 * 4u, lane);
  if (id.x < params.columns4) {
    storeColumns(id.y, column4, sum);
  }
}
