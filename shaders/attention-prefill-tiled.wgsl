// Attention of many query rows for GPUs; keys and values go through workgroup memory in tiles
// Formula: as attention-prefill
// Shapes: as attention-prefill
// Work division: one workgroup 32 query rows and up to 128 of headDim: four threads a row, each for two rows 16 apart.
//   Keys, then values, come into workgroup memory in tiles of 16; each thread scores four keys of its rows, then adds all
//   16 values in its own fourth of headDim, which it holds in registers. The keys end where the workgroup's last row does
// Grid: (ceil(rows / 32), H, ceil(headDim / 128)) workgroups of 64 threads with 12.5 KB of workgroup memory
// Error bound: as attention-prefill
// Source: arXiv 2205.14135 algorithm 1; arXiv 2307.08691 (no output in memory between tiles); the factor:
//   arXiv 2503.01773. Appended: shared/prefill, shared/step
const TILE: u32 = 16u;   // keys
const WIDTH4: u32 = 32u; // vec4s of headDim in a tile
const SLICES: u32 = 8u; // vec4s of headDim a thread sums: WIDTH4 / 4
const PITCH: u32 = 33u;  // from one key to the next in a tile: four threads then read from different banks
const MASKED = -3.0e38;

var<workgroup> tile: array<vec4<f32>, TILE * PITCH>;
// Of each row four vec4s; component i of the vec4 of thread c belongs to key c + 4 · i of the tile.
var<workgroup> tileScores: array<vec4<f32>, 128>;
var<workgroup> tileWeights: array<vec4<f32>, 128>;

fn numKeysOf(row: u32) -> u32 {
  return select(params.numKeys, rowPosition(row) + 1u, CAUSAL);
}

fn factorOf(row: u32, head: u32) -> f32 {
  if (CAUSAL) {
    return imageFactor(row, head);
  }
  return 1.0;
}

// The tile's keys at + 4 · i as columns.
fn fourOfTile(at: u32) -> mat4x4<f32> {
  return mat4x4<f32>(tile[at], tile[at + 4u * PITCH], tile[at + 8u * PITCH], tile[at + 12u * PITCH]);
}

// Scores of four keys from products q·k: scaled, captured, times the factor in the span, masked from numKeys on.
fn finish(products: vec4<f32>, key: vec4<u32>, numKeys: u32, factor: f32, capture: bool, head: u32) -> vec4<f32> {
  let score = products * params.scale;
  if (CAPTURE && capture) {
    for (var i = 0u; i < 4u; i++) {
      if (key[i] < numKeys) {
        scores[head * params.captureStride + key[i]] = score[i];
      }
    }
  }
  let isScaled = (key >= vec4<u32>(step.spanStart)) & (key < vec4<u32>(step.spanEnd));
  return select(vec4<f32>(MASKED), score * select(vec4<f32>(1.0), vec4<f32>(factor), isScaled), key < vec4<u32>(numKeys));
}

fn largestOfTile(at: u32) -> f32 {
  let four = max(max(tileScores[at], tileScores[at + 1u]), max(tileScores[at + 2u], tileScores[at + 3u]));
  return max(max(four.x, four.y), max(four.z, four.w));
}

fn writeProbs(head: u32, column: u32, numKeys: u32, factor: f32, softmax: vec2<f32>) {
  for (var j = column; j < numKeys; j += 4u) {
    let at = head * params.captureStride + j;
    probs[at] = exp(scores[at] * select(1.0, factor, CAUSAL && inSpan(j)) - softmax.x) / softmax.y;
  }
}

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) thread: u32, @builtin(workgroup_id) group: vec3<u32>) {
  let column = thread % 4u;
  let head = group.y;
  let sliceStart = group.z * WIDTH4;
  let width = min(WIDTH4, params.headDim4 - sliceStart);
  let last = params.numRows - 1u;
  let row = group.x * 32u + thread / 4u + vec2<u32>(0u, 16u);
  let rows = min(row, vec2<u32>(last));
  let query = rows * params.queryRowStride4 + head * params.headDim4;
  let result = rows * params.outputRowStride4 + head * params.headDim4 + sliceStart;
  let keyBase = params.keyOffset4 + (head / params.group) * params.headStride4;
  let valueBase = params.valueOffset4 + (head / params.group) * params.headStride4 + sliceStart;
  let numKeys = vec2<u32>(numKeysOf(rows.x), numKeysOf(rows.y));
  let factor = vec2<f32>(factorOf(rows.x, head), factorOf(rows.y, head));
  let groupKeys = numKeysOf(min(group.x * 32u + 31u, last));
  let capture = (row == vec2<u32>(params.captureRow)) & vec2<bool>(group.z == 0u);
  let scoresAt = thread + vec2<u32>(0u, 64u);
  let rowAt = scoresAt - column;

  var largest = vec2<f32>(MASKED);
  var total = vec2<f32>(0.0);
  // Loops over these have constant bounds: GPU compilers unroll them and keep the sums in registers.
  var x = array<vec4<f32>, SLICES>();
  var y = array<vec4<f32>, SLICES>();
  for (var first = 0u; first < groupKeys; first += TILE) {
    // The key of the tile that this thread fetches, with the three beside it.
    let fetched = min(first + thread / 4u, groupKeys - 1u) * params.positionStride4;
    let fetchedAt = (thread / 4u) * PITCH;

    var sx = vec4<f32>(0.0);
    var sy = vec4<f32>(0.0);
    for (var start = 0u; start < params.headDim4; start += WIDTH4) {
      let end = min(WIDTH4, params.headDim4 - start);
      for (var d = column; d < end; d += 4u) {
        tile[fetchedAt + d] = keys[keyBase + fetched + start + d];
      }
      workgroupBarrier();
      for (var d = 0u; d < end; d++) {
        let four = fourOfTile(column * PITCH + d);
        sx += queries[query.x + start + d] * four;
        sy += queries[query.y + start + d] * four;
      }
      workgroupBarrier();
    }
    let key = first + column + vec4<u32>(0u, 4u, 8u, 12u);
    sx = finish(sx, key, numKeys.x, factor.x, capture.x, head);
    sy = finish(sy, key, numKeys.y, factor.y, capture.y, head);
    tileScores[scoresAt.x] = sx;
    tileScores[scoresAt.y] = sy;
    for (var d = column; d < width; d += 4u) {
      tile[fetchedAt + d] = values[valueBase + fetched + d];
    }
    workgroupBarrier();

    let before = largest;
    largest = max(largest, vec2<f32>(largestOfTile(rowAt.x), largestOfTile(rowAt.y)));
    let correction = exp(before - largest);
    tileWeights[scoresAt.x] = exp(sx - largest.x);
    tileWeights[scoresAt.y] = exp(sy - largest.y);
    workgroupBarrier();

    total *= correction;
    for (var i = 0u; i < SLICES; i++) {
      x[i] *= correction.x;
      y[i] *= correction.y;
    }
    for (var c = 0u; c < 4u; c++) {
      let wx = tileWeights[rowAt.x + c];
      let wy = tileWeights[rowAt.y + c];
      total += vec2<f32>(dot(wx, vec4<f32>(1.0)), dot(wy, vec4<f32>(1.0)));
      for (var i = 0u; i < SLICES; i++) {
        if (4u * i < width) {
          let v = fourOfTile(c * PITCH + column + 4u * i);
          x[i] += v * wx;
          y[i] += v * wy;
        }
      }
    }
    workgroupBarrier();
  }

  for (var i = 0u; i < SLICES; i++) {
    let d = column + 4u * i;
    if (d < width) {
      if (row.x <= last) {
        output[result.x + d] = x[i] / total.x;
      }
      if (row.y <= last) {
        output[result.y + d] = y[i] / total.y;
      }
    }
  }
  if (CAPTURE && capture.x) {
    writeProbs(head, column, numKeys.x, factor.x, vec2<f32>(largest.x, total.x));
  }
  if (CAPTURE && capture.y) {
    writeProbs(head, column, numKeys.y, factor.y, vec2<f32>(largest.y, total.y));
  }
}
