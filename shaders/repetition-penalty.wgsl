// Makes tokens that have already appeared less likely
// Formula: logits[r, v] ← logits[r, v] > 0 ? logits[r, v] / penalty : logits[r, v] · penalty for every v seen so far
// Shapes: logits [rows, stride] f32 · seen [rows, ceil(V / 32)] u32, bit v % 32 of word v / 32
// Work division: one thread per logit
// Grid: (ceil(V / 64), rows) workgroups of 64 threads
// Error bound: one rounding
// Source: arXiv 1909.05858 §4.1; transformers RepetitionPenaltyLogitsProcessor
struct Params {
  vocabSize: u32,
  stride: u32,  // logits of a row in the buffer
  penalty: f32,
}
@group(0) @binding(0) var<storage, read> seen: array<u32>;
@group(0) @binding(1) var<storage, read_write> logits: array<f32>;
@group(0) @binding(2) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let token = id.x;
  if (token >= params.vocabSize) {
    return;
  }
  let words = (params.vocabSize + 31u) / 32u;
  if (((seen[id.y * words + token / 32u] >> (token % 32u)) & 1u) == 0u) {
    return;
  }
  let at = id.y * params.stride + token;
  logits[at] = select(logits[at] * params.penalty, logits[at] / params.penalty, logits[at] > 0.0);
}
