// Finds each row's most probable token and the log-sum-exp that its probability is computed from
// Formula: token = argmax_v logits[r, v] (the smallest v of equal ones), logSumExp = log Σ_v exp(logits[r, v]);
//   the confidence of AdaptVis is exp(logit of token − logSumExp); numBad = logits that are NaN or +∞, when the rest means nothing
// Shapes: logits [rows, stride] f32 · choice [rows] of (token, logit bits, logSumExp bits, numBad) u32
// Work division: one workgroup per row; 128 threads scan strided parts with a running maximum and sum, thread 0 merges
// Grid: (rows) workgroups of 128 threads
// Error bound: token exact; logSumExp 3e-6 + 1e-6 · |largest logit|
// Source: torch.argmax, torch.logsumexp
struct Params {
  vocabSize: u32,
  stride: u32, // logits of a row in the buffer
}
@group(0) @binding(0) var<storage, read> logits: array<f32>;
@group(0) @binding(1) var<storage, read_write> choice: array<vec4<u32>>;
@group(0) @binding(2) var<uniform> params: Params;

var<workgroup> bestToken: array<u32, 128>;
var<workgroup> bestLogit: array<f32, 128>;
var<workgroup> sums: array<f32, 128>;
var<workgroup> bad: array<u32, 128>;

// By the bits: WGSL lets a compiler assume that no float is NaN or infinite.
fn isBad(logit: f32) -> bool {
  let bits = bitcast<u32>(logit);
  return (bits & 0x7fffffffu) > 0x7f800000u || bits == 0x7f800000u;
}

@compute @workgroup_size(128)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let row = group.x * params.stride;
  var token = 0xffffffffu;
  var largest = -3.0e38;
  var sum = 0.0;
  var numBad = 0u;
  for (var v = lane; v < params.vocabSize; v += 128u) {
    numBad += select(0u, 1u, isBad(logits[row + v]));
    let logit = max(logits[row + v], -3.0e38); // a masked logit of -infinity would make exp(largest - logit) infinite
    if (logit > largest || token == 0xffffffffu) {
      sum = sum * exp(largest - logit) + 1.0;
      largest = logit;
      token = v;
    } else {
      sum += exp(logit - largest);
    }
  }
  bestToken[lane] = token;
  bestLogit[lane] = largest;
  sums[lane] = sum;
  bad[lane] = numBad;
  workgroupBarrier();
  if (lane > 0u) {
    return;
  }
  for (var i = 1u; i < 128u; i++) {
    let other = bestLogit[i];
    numBad += bad[i];
    if (bestToken[i] == 0xffffffffu) {
      continue;
    }
    if (other > largest || (other == largest && bestToken[i] < token)) {
      sum = sum * exp(largest - other) + sums[i];
      largest = other;
      token = bestToken[i];
    } else {
      sum += sums[i] * exp(other - largest);
    }
  }
  choice[group.x] = vec4<u32>(token, bitcast<u32>(largest), bitcast<u32>(largest + log(sum)), numBad);
}
