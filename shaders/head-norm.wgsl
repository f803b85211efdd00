// Scales each head of the queries and keys to a mean square of 1, then scales its columns, in place
// Formula: qkv[r, h, c] = qkv[r, h, c] / √(mean_c(qkv[r, h, c]²) + eps) · weight[c], with the queries' weight for h < H and the keys' after
// Shapes: qkv [rows, H + 2·Hkv, headDim] f32, of which the last Hkv heads are values and stay · queryWeight, keyWeight [headDim] f32;
//         heads are padded with zeros to a multiple of 4
// Work division: one workgroup per head of a row; every thread sums a strided part, then all 32 sums: one barrier
// Grid: (H + Hkv, rows) workgroups of 32 threads
// Error bound: (headDim/128 + 34) · 2^-24 relative to the mean of squares: 3e-6 relative for headDim <= 2,048
// Source: arXiv 2302.05442 §2.2; modeling_qwen3_vl.py Qwen3VLTextAttention.forward
struct Params {
  numHeads: u32,         // H
  headsPerRow: u32,      // H + 2·Hkv
  headDim4: u32,         // padded headDim / 4
  headDim: u32,
  eps: f32,
}
@group(0) @binding(0) var<storage, read_write> qkv: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> queryWeight: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> keyWeight: array<vec4<f32>>;
@group(0) @binding(3) var<uniform> params: Params;

var<workgroup> partial: array<f32, 32>;

@compute @workgroup_size(32)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let head = (group.y * params.headsPerRow + group.x) * params.headDim4;
  var sum = 0.0;
  for (var i = lane; i < params.headDim4; i += 32u) {
    let x = qkv[head + i];
    sum += dot(x, x);
  }
  partial[lane] = sum;
  workgroupBarrier();
  var total = 0.0;
  for (var i = 0u; i < 32u; i++) {
    total += partial[i];
  }
  let scale = inverseSqrt(total / f32(params.headDim) + params.eps);
  for (var i = lane; i < params.headDim4; i += 32u) {
    var weight = vec4<f32>(0.0);
    if (group.x < params.numHeads) {
      weight = queryWeight[i];
    } else {
      weight = keyWeight[i];
    }
    qkv[head + i] = qkv[head + i] * scale * weight;
  }
}
