// Formula: target[i] = source[i]
// Shapes: source, target [threads · perThread, 4] f32
// Work division: a thread copies perThread vec4s, neighbours side by side
// Grid: (threads / WORKGROUP) workgroups
// Error bound: exact
// Source: the copy of a roofline, beside the driver's own copyBufferToBuffer
override WORKGROUP: u32;
struct Params {
  numThreads: u32,
  perThread: u32,
}
@group(0) @binding(0) var<storage, read> source: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> destination: array<vec4<f32>>;
@group(0) @binding(2) var<uniform> params: Params;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  for (var k = 0u; k < params.perThread; k++) {
    let i = id.x + k * params.numThreads;
    destination[i] = source[i];
  }
}
