// Formula: output[thread] = Σ over k < perThread of the four parts of data[group · groupStride + lane · laneStride + k · STEP]
// Shapes: data [n, 4] f32 · output [threads] f32
// Work division: the strides select what each thread reads: neighbours side by side, one run per thread, or one run per
//   workgroup (laneStride 0: the same bytes for all lanes, counted once)
// Grid: (threads / WORKGROUP) workgroups
// Error bound: none needed: the data are small whole numbers whose sums f32 holds
// Source: the streaming read of a roofline; the best pattern differs between GPUs and CPU adapters
override WORKGROUP: u32;
override STEP: u32;
struct Params {
  groupStride: u32,
  laneStride: u32,
  perThread: u32, // a multiple of 4
}
@group(0) @binding(0) var<storage, read> data: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> output: array<f32>;
@group(0) @binding(2) var<uniform> params: Params;

@compute @workgroup_size(WORKGROUP)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
  @builtin(global_invocation_id) id: vec3<u32>,
) {
  var at = group.x * params.groupStride + lane * params.laneStride;
  var a = vec4(0.0);
  var b = vec4(0.0);
  var c = vec4(0.0);
  var d = vec4(0.0);
  for (var k = 0u; k < params.perThread; k += 4u) {
    a += data[at];
    b += data[at + STEP];
    c += data[at + 2u * STEP];
    d += data[at + 3u * STEP];
    at += 4u * STEP;
  }
  output[id.x] = dot(a + b + c + d, vec4(1.0));
}
