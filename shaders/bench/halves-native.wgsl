// Formula: numbers[i] = 1 · the f16 number with bits i, + 0, computed in f16
// Shapes: numbers [65536] f32
// Work division: two numbers per thread
// Grid: 512 workgroups
// Error bound: exact for finite numbers; subnormal halves may become 0
// Source: some drivers report shader-f16 and compute wrongly
enable f16;
@group(0) @binding(0) var<storage, read_write> numbers: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let first = 2 * id.x;
  let pair = bitcast<vec2<f16>>(first | ((first + 1) << 16));
  let computed = fma(pair, vec2<f16>(1), vec2<f16>(0));
  numbers[first] = f32(computed.x);
  numbers[first + 1] = f32(computed.y);
}
