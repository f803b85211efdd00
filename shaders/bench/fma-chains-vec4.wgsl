// Formula: each of 4 chains of vec4 per thread: x ← x · factor + addend, `steps` times 4; output[thread] = Σ of the chains
// Shapes: output [threads] f32
// Work division: each thread runs its own chains, in registers only; the two numbers come from uniforms, so that
//   the compiler cannot fold them
// Grid: (threads / WORKGROUP) workgroups
// Error bound: none needed: with factor 1 and addend 1 every sum is a whole number below 2^24
// Source: the measuring rule of any roofline: independent chains hide the latency of the multiply-add
override WORKGROUP: u32;
override FUSED: bool; // whether fma() is written out; adapters differ in which form they make fast
struct Params {
  steps: u32,
  factor: f32,
  addend: f32,
}
@group(0) @binding(0) var<storage, read_write> output: array<f32>;
@group(0) @binding(1) var<uniform> params: Params;

fn advance(x: vec4<f32>) -> vec4<f32> {
  if (FUSED) {
    return fma(x, vec4(params.factor), vec4(params.addend));
  }
  return x * params.factor + params.addend;
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  var a = vec4(0.0, 1.0, 2.0, 3.0);
  var b = vec4(4.0, 5.0, 6.0, 7.0);
  var c = vec4(1.0, 0.0, 1.0, 0.0);
  var d = vec4(f32(id.x % 8u));
  for (var i = 0u; i < params.steps; i++) {
    a = advance(advance(advance(advance(a))));
    b = advance(advance(advance(advance(b))));
    c = advance(advance(advance(advance(c))));
    d = advance(advance(advance(advance(d))));
  }
  output[id.x] = dot(a + b + c + d, vec4(1.0));
}
