// Finds the k most probable tokens of each row, in order
// Formula: entry i is the i-th of the logits ordered by (value descending, token ascending)
// Shapes: logits [rows, stride] f32 · entries [rows, k] of (token, logit bits) u32
// Work division: one workgroup per row; k rounds, each a scan for the best entry after the previous one and a merge
// Grid: (rows) workgroups of 64 threads
// Error bound: exact
// Source: torch.topk
struct Params {
  vocabSize: u32,
  stride: u32, // logits of a row in the buffer
  k: u32,
}
@group(0) @binding(0) var<storage, read> logits: array<f32>;
@group(0) @binding(1) var<storage, read_write> entries: array<vec2<u32>>;
@group(0) @binding(2) var<uniform> params: Params;

var<workgroup> bestToken: array<u32, 64>;
var<workgroup> bestLogit: array<f32, 64>;

// Whether entry a comes before entry b in the order.
fn before(logitA: f32, tokenA: u32, logitB: f32, tokenB: u32) -> bool {
  return logitA > logitB || (logitA == logitB && tokenA < tokenB);
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let row = group.x * params.stride;
  var previousLogit = 0.0;
  var previousToken = 0u;
  for (var i = 0u; i < params.k; i++) {
    var token = 0xffffffffu;
    var best = 0.0;
    for (var v = lane; v < params.vocabSize; v += 64u) {
      let logit = logits[row + v];
      let unused = i == 0u || before(previousLogit, previousToken, logit, v);
      if (unused && (token == 0xffffffffu || logit > best)) {
        best = logit;
        token = v;
      }
    }
    workgroupBarrier(); // everybody has read the previous round's result
    bestToken[lane] = token;
    bestLogit[lane] = best;
    workgroupBarrier();
    var winner = 0xffffffffu;
    var winnerLogit = 0.0;
    for (var other = 0u; other < 64u; other++) {
      let candidate = bestToken[other];
      if (candidate != 0xffffffffu
        && (winner == 0xffffffffu || before(bestLogit[other], candidate, winnerLogit, winner))) {
        winner = candidate;
        winnerLogit = bestLogit[other];
      }
    }
    previousLogit = winnerLogit;
    previousToken = winner;
    if (lane == 0u) {
      entries[group.x * params.k + i] = vec2<u32>(winner, bitcast<u32>(winnerLogit));
    }
  }
}
