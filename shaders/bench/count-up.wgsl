// Formula: counter[0] ← counter[0] + 1
// Shapes: counter [1] u32
// Work division: one thread
// Grid: (1) workgroups
// Error bound: exact
// Source: the smallest possible dispatch, which must wait for the one before it, as a layer's kernels do
@group(0) @binding(0) var<storage, read_write> counter: array<u32>;

@compute @workgroup_size(1)
fn main() {
  counter[0] += 1u;
}
