// Packs rows of activations into integers of 8 bits with one scale per group of 32
// Formula: of each group of 32 values along a row: scale = max|x| / 127, step = clamp(round(x · 127 / max|x|), −127, 127); a group of
//   zeros has scale 0, and one with a value that is not finite has scale NaN
// Shapes: input [R, K] f32, K a multiple of 4 · output u32 [R, G, 12] with G = ceil(K / 32): eight words of steps (byte b of word i is
//   value 4i + b; 0 past K), then the bits of two f32s, the scale and scale · Σ steps, then two words of 0
// Work division: one thread per four values; the eight threads of a group share their largest value and their sum in workgroup memory
// Grid: (ceil(G / 8), R) workgroups of 64 threads
// Error bound: |x − scale · step| ≤ (1/2 + 127 · 5 · 2^-23) · scale, since WGSL's float division may be off by 2.5 ulp
// Source: the block format Q8_1 of ggml, with f32 instead of f16 scales

const MAGNITUDE = 0x7fffffffu;
const INFINITY = 0x7f800000u;
const NAN = 0x7fc00000u;

struct Params {
  inputRowStart: u32, // first row of input that is used
  inner4: u32,        // K / 4
  groups: u32,        // G
}
@group(0) @binding(0) var<storage, read> input: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> output: array<u32>;
@group(0) @binding(2) var<uniform> params: Params;

// As bits, whose order is that of the magnitudes, with infinity and NaN at its end.
var<workgroup> largest: array<u32, 64>;
var<workgroup> stepSum: array<i32, 64>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let row = workgroup.y;
  let group = workgroup.x * 8u + lane / 8u;
  let column4 = group * 8u + lane % 8u;
  var x = vec4<f32>(0.0);
  if (column4 < params.inner4) {
    x = input[(params.inputRowStart + row) * params.inner4 + column4];
  }
  let magnitudes = bitcast<vec4<u32>>(x) & vec4<u32>(MAGNITUDE);
  largest[lane] = max(max(magnitudes.x, magnitudes.y), max(magnitudes.z, magnitudes.w));
  workgroupBarrier();
  let first = lane / 8u * 8u;
  var bits = 0u;
  for (var i = 0u; i < 8u; i++) {
    bits = max(bits, largest[first + i]);
  }
  let isFinite = bits < INFINITY;
  let most = bitcast<f32>(select(0u, bits, isFinite));
  var steps = vec4<i32>(0);
  if (most > 0.0) {
    steps = vec4<i32>(clamp(round(x * (127.0 / most)), vec4<f32>(-127.0), vec4<f32>(127.0)));
  }
  stepSum[lane] = steps.x + steps.y + steps.z + steps.w;
  workgroupBarrier();
  if (group >= params.groups) {
    return;
  }
  let at = (row * params.groups + group) * 12u;
  output[at + lane % 8u] = pack4xI8(steps);
  if (lane % 8u == 0u) {
    var sum = 0;
    for (var i = 0u; i < 8u; i++) {
      sum += stepSum[first + i];
    }
    let scale = most / 127.0;
    output[at + 8u] = select(NAN, bitcast<u32>(scale), isFinite);
    output[at + 9u] = select(NAN, bitcast<u32>(scale * f32(sum)), isFinite);
    output[at + 10u] = 0u;
    output[at + 11u] = 0u;
  }
}
