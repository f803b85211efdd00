// Merges the partial results of the splits of a decode step's attention
// Formula: M = max_i m_i, L = Σ_i l_i · exp(m_i − M), output = Σ_i o_i · exp(m_i − M) / L;
//   probs[h, j] = exp(edit(scores[h, j]) − M) / L when CAPTURE (edit as in attention-decode-split)
// Shapes: partials [rows, H, splits, headDim] f32 · stats [rows, H, splits] of (m, l) · output [rows, H, headDim] f32 ·
//   scores, probs [captured rows, H, S] f32
// Work division: one workgroup per head of a row; one thread per vec4 of headDim (strided), each looping over the splits
// Grid: (H, rows) workgroups of 32 threads
// Error bound: splits + 3 roundings of a convex combination: 4e-6 · max|value|
// Source: flash decoding's second step (the merge of arXiv 2205.14135 algorithm 1). Appended: shared/step,
//   shared/window, shared/capture, shared/score-edit
struct Params {
  headDim4: u32,      // padded headDim / 4
  numSplits: u32,
  numHeads: u32,
  layer: u32,
  captureStart: u32,
  captureEnd: u32,
  captureTarget: u32,
  captureStride: u32, // S
  window: u32,        // keys that a row sees at most when WINDOWED
}
@group(0) @binding(0) var<storage, read> partials: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> stats: array<vec2<f32>>;
@group(0) @binding(2) var<storage, read_write> output: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> scores: array<f32>;
@group(0) @binding(4) var<storage, read_write> probs: array<f32>;
@group(0) @binding(5) var<uniform> params: Params;

@compute @workgroup_size(32)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let head = group.x;
  let row = group.y;
  let first = (row * params.numHeads + head) * params.numSplits;
  var largest = -3.0e38;
  for (var i = 0u; i < params.numSplits; i++) {
    largest = max(largest, stats[first + i].x);
  }
  var total = 0.0;
  for (var i = 0u; i < params.numSplits; i++) {
    total += stats[first + i].y * exp(stats[first + i].x - largest);
  }
  for (var d = lane; d < params.headDim4; d += 32u) {
    var sum = vec4<f32>(0.0);
    for (var i = 0u; i < params.numSplits; i++) {
      sum += partials[(first + i) * params.headDim4 + d] * exp(stats[first + i].x - largest);
    }
    output[(row * params.numHeads + head) * params.headDim4 + d] = sum / total;
  }
  if (isCaptured(row)) {
    let edit = rowEdits(row, head);
    let captureAt = captureOffset(row, head);
    for (var j = firstKey(row) + lane; j <= rowSlot(row); j += 32u) {
      probs[captureAt + j] = exp(editScore(scores[captureAt + j], j, edit) - largest) / total;
    }
  }
}
