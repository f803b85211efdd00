// Formula: numbers[i] = the f16 number with bits i, by unpack2x16float
// Shapes: numbers [65536] f32
// Work division: two numbers per thread
// Grid: 512 workgroups
// Error bound: exact for finite numbers; subnormal halves may become 0
// Source: the function with which kernels read f16 weights
@group(0) @binding(0) var<storage, read_write> numbers: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let first = 2 * id.x;
  let pair = unpack2x16float(first | ((first + 1) << 16));
  numbers[first] = pair.x;
  numbers[first + 1] = pair.y;
}
