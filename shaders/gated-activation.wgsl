// Applies the gate of an MLP, which multiplies the up projection by the activated gate
// Formula: output[r, c] = activate(gateUp[r, c]) · gateUp[r, I + c]
// Shapes: gateUp [rows, 2·I] f32, the gate's columns first · output [rows, I] f32; I is a multiple of 4
// Work division: one thread per vec4
// Grid: (ceil(I / 4 / 64), rows) workgroups of 64 threads
// Error bound: 4 ulp of exp plus three roundings: 1e-6 relative, 1e-7 absolute near 0
// Source: SwiGLU, arXiv 2002.05202 eq. 6; modeling_llama.py LlamaMLP.forward. Appended: shared/activation
struct Params {
  columns4: u32, // I / 4
}
@group(0) @binding(0) var<storage, read> gateUp: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> output: array<vec4<f32>>;
@group(0) @binding(2) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  if (id.x >= params.columns4) {
    return;
  }
  let gate = id.y * 2u * params.columns4 + id.x;
  output[id.y * params.columns4 + id.x] = activate(gateUp[gate]) * gateUp[gate + params.columns4];
}
