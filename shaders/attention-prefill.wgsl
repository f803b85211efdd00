// Computes the attention of many query rows, which is the sum of the values weighted by the softmax of the scores
// Formula: output[r, h] = Σ_j softmax_j(s_j) · values[h/g, j], s_j = edit(scale · queries[r, h] · keys[h/g, j])
//   with edit as in shared/score-edit; j <= slot of the row when CAUSAL, and no further back than its window when WINDOWED;
//   j in the row's block when BLOCKED
// Shapes: queries, output [rows, H, headDim] f32 · keys, values [Hkv, slots, headDim] as shared/cache-* says (by strides) ·
//   scores, probs [captured rows, H, S] f32, written when CAPTURE for the keys that the row sees: s_j
//   before the edit, softmax_j after it
// Work division: one thread per query row; keys in blocks of 4 with a running maximum and sum (no row × key matrix);
//   each thread accumulates in its own part of output. The loops' bound is not an override, and the accumulator is not a
//   workgroup array, because software drivers unroll both: lavapipe then compiled for 10 to 80 s, SwiftShader for 2 to 8 s
// Grid: (ceil(rows / ROWS), H) workgroups of ROWS threads
// Error bound: scores as matmul over headDim, exp and the weighted sum: 1e-6 · max|value| · (1 + |s|max)
// Source: arXiv 2205.14135 algorithm 1 (online softmax). Appended: shared/prefill, shared/cache-*, shared/step,
//   shared/window, shared/capture, shared/score-edit
override ROWS: u32 = 32u;
const BLOCK: u32 = 4u; // on lavapipe, 8 compiles three times as long and runs no faster

@compute @workgroup_size(ROWS)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let row = id.x;
  if (row >= params.numRows) {
    return;
  }
  let head = id.y;
  let query = row * params.queryRowStride4 + head * params.headDim4;
  let result = row * params.outputRowStride4 + head * params.headDim4;
  let keyBase = params.keyOffset4 + (head / params.group) * params.headStride4;
  let valueBase = params.valueOffset4 + (head / params.group) * params.headStride4;
  let numKeys = endSeen(row);
  let start = firstSeen(row);
  let edit = rowEdits(row, head);
  let capture = isCaptured(row);
  let captureAt = captureOffset(row, head);

  for (var d = 0u; d < params.headDim4; d++) {
    output[result + d] = vec4<f32>(0.0);
  }
  var largest = -3.0e38;
  var total = 0.0;
  for (var first = start; first < numKeys; first += BLOCK) {
    // Spelt out: Dawn and wgpu (gfx-rs/wgpu issue 9489) set a variable without an initial value to 0 only once, before the loop.
    var s = array<f32, BLOCK>();
    for (var d = 0u; d < params.headDim4; d++) {
      let q = queries[query + d];
      for (var j = 0u; j < BLOCK; j++) {
        s[j] += dot(q, loadKey(keyBase + min(first + j, numKeys - 1u) * params.positionStride4, d));
      }
    }
    var blockLargest = largest;
    for (var j = 0u; j < BLOCK; j++) {
      s[j] *= params.scale;
      if (capture && first + j < numKeys) {
        scores[captureAt + first + j] = s[j];
      }
      s[j] = editScore(s[j], first + j, edit);
      if (first + j < numKeys) {
        blockLargest = max(blockLargest, s[j]);
      }
    }
    let correction = exp(largest - blockLargest);
    largest = blockLargest;
    total *= correction;
    for (var j = 0u; j < BLOCK; j++) {
      s[j] = select(0.0, exp(s[j] - largest), first + j < numKeys);
      total += s[j];
    }
    for (var d = 0u; d < params.headDim4; d++) {
      var sum = output[result + d] * correction;
      for (var j = 0u; j < BLOCK; j++) {
        sum += s[j] * loadValue(valueBase + min(first + j, numKeys - 1u) * params.positionStride4, d);
      }
      output[result + d] = sum;
    }
  }
  for (var d = 0u; d < params.headDim4; d++) {
    output[result + d] /= total;
  }
  if (capture) {
    for (var j = start; j < numKeys; j++) {
      let score = editScore(scores[captureAt + j], j, edit);
      probs[captureAt + j] = exp(score - largest) / total;
    }
  }
}
