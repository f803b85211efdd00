// Computes the attention of many query rows on GPUs; keys and values are loaded into workgroup memory in tiles
// Formula: as attention-prefill
// Shapes: as attention-prefill
// Work division: one workgroup computes 64 query rows and up to 128 of headDim: four threads per row, each for two rows 32 apart.
//   Keys, then values, are loaded into workgroup memory in tiles of 16; each thread scores four keys of its rows, then adds all
//   16 values in its own fourth of headDim, which it holds in registers. The keys begin in the tile of the
//   first row's first key and end where the last row does.
//   As in matmul-tiled, indices of workgroup memory are written out in main, so that the compiler adds no bounds clamps
// Grid: (ceil(rows / 64), H, ceil(headDim / 128)) workgroups of 128 threads with 12.5 KB of workgroup memory
// Error bound: as attention-prefill
// Source: arXiv 2205.14135 algorithm 1; arXiv 2307.08691 (no output in memory between tiles).
//   Appended: shared/prefill, shared/cache-*, shared/step, shared/window, shared/capture, shared/score-edit
override SLICES: u32;    // vec4s of headDim a thread sums, up to 8: a fourth of those that a workgroup takes
const THREADS: u32 = 128u;
const ROWS: u32 = 64u;   // THREADS / 2
const TILE: u32 = 16u;   // keys
const WIDTH4: u32 = 32u; // vec4s of headDim in a tile
const PITCH: u32 = 33u;  // from one key to the next in a tile: four threads then read from different banks
const MASKED = -3.3e38;  // below KNOCKED_OUT

var<workgroup> tile: array<vec4<f32>, TILE * PITCH>;
// Of each row four vec4s; component i of the vec4 of thread c belongs to key c + 4 · i of the tile: its scores, then their weights.
var<workgroup> tileScores: array<vec4<f32>, 2u * THREADS>;

// Scores of four keys from products q·k: scaled, captured, edited, masked outside of keys [seen.x, seen.y).
fn finish(products: vec4<f32>, key: vec4<u32>, seen: vec2<u32>, edit: RowEdits, isKept: bool) -> vec4<f32> {
  let score = products * params.scale;
  if (CAPTURE && isKept) {
    let captureAt = captureOffset(edit.row, edit.head);
    for (var i = 0u; i < 4u; i++) {
      if (isSeen(key[i], seen.x, seen.y)) {
        scores[captureAt + key[i]] = score[i];
      }
    }
  }
  return select(vec4<f32>(MASKED), editScores(score, key, edit), areSeen(key, seen.x, seen.y));
}

fn largestOf(four: mat4x4<f32>) -> f32 {
  let largest = max(max(four[0], four[1]), max(four[2], four[3]));
  return max(max(largest.x, largest.y), max(largest.z, largest.w));
}

fn writeProbs(column: u32, seen: vec2<u32>, edit: RowEdits, softmax: vec2<f32>) {
  let captureAt = captureOffset(edit.row, edit.head);
  for (var j = seen.x + column; j < seen.y; j += 4u) {
    probs[captureAt + j] = exp(editScore(scores[captureAt + j], j, edit) - softmax.x) / softmax.y;
  }
}

@compute @workgroup_size(THREADS)
fn main(@builtin(local_invocation_index) thread: u32, @builtin(workgroup_id) group: vec3<u32>) {
  let column = thread % 4u;
  let pair = thread / 4u;
  let head = group.y;
  let sliceStart = group.z * WIDTH4;
  let width = min(WIDTH4, params.headDim4 - sliceStart);
  let last = params.numRows - 1u;
  let row = group.x * ROWS + pair + vec2<u32>(0u, ROWS / 2u);
  let rows = min(row, vec2<u32>(last));
  let query = rows * params.queryRowStride4 + head * params.headDim4;
  let result = rows * params.outputRowStride4 + head * params.headDim4 + sliceStart;
  let keyBase = params.keyOffset4 + (head / params.group) * params.headStride4;
  let valueBase = params.valueOffset4 + (head / params.group) * params.headStride4;
  let seenX = vec2<u32>(firstSeen(rows.x), endSeen(rows.x));
  let seenY = vec2<u32>(firstSeen(rows.y), endSeen(rows.y));
  let editX = rowEdits(rows.x, head);
  let editY = rowEdits(rows.y, head);
  let groupStart = firstSeen(group.x * ROWS) / TILE * TILE;
  let groupKeys = endSeen(min(group.x * ROWS + ROWS - 1u, last));
  let isKept = vec2<bool>(isCaptured(row.x), isCaptured(row.y)) & vec2<bool>(group.z == 0u);
  // Eight threads load a key or value together.
  let fetched = thread / 8u;
  let fetchedPart = thread % 8u;

  var largest = vec2<f32>(MASKED);
  var total = vec2<f32>(0.0);
  // Loops over these have constant bounds: GPU compilers unroll them and keep the sums in registers.
  var x = array<vec4<f32>, 8>();
  var y = array<vec4<f32>, 8>();
  for (var first = groupStart; first < groupKeys; first += TILE) {
    let position = min(first + fetched, groupKeys - 1u) * params.positionStride4;

    var sx = vec4<f32>(0.0);
    var sy = vec4<f32>(0.0);
    for (var start = 0u; start < params.headDim4; start += WIDTH4) {
      let end = min(WIDTH4, params.headDim4 - start);
      for (var d = fetchedPart; d < end; d += 8u) {
        tile[fetched * PITCH + d % WIDTH4] = loadKey(keyBase + position, start + d);
      }
      workgroupBarrier();
      for (var d = 0u; d < end; d++) {
        let at = column * PITCH + d % WIDTH4; // d itself: the remainder shows the compiler its range
        let four = mat4x4<f32>(tile[at], tile[at + 4u * PITCH], tile[at + 8u * PITCH], tile[at + 12u * PITCH]);
        sx += queries[query.x + start + d] * four;
        sy += queries[query.y + start + d] * four;
      }
      workgroupBarrier();
    }
    let key = first + column + vec4<u32>(0u, 4u, 8u, 12u);
    sx = finish(sx, key, seenX, editX, isKept.x);
    sy = finish(sy, key, seenY, editY, isKept.y);
    tileScores[thread] = sx;
    tileScores[thread + THREADS] = sy;
    for (var d = fetchedPart; d < width; d += 8u) {
      tile[fetched * PITCH + d % WIDTH4] = loadValue(valueBase + position, sliceStart + d);
    }
    workgroupBarrier();

    let before = largest;
    let xAt = pair * 4u;
    let scoresX = mat4x4<f32>(tileScores[xAt], tileScores[xAt + 1u], tileScores[xAt + 2u], tileScores[xAt + 3u]);
    let yAt = pair * 4u + THREADS;
    let scoresY = mat4x4<f32>(tileScores[yAt], tileScores[yAt + 1u], tileScores[yAt + 2u], tileScores[yAt + 3u]);
    largest = max(largest, vec2<f32>(largestOf(scoresX), largestOf(scoresY)));
    let correction = exp(before - largest);
    workgroupBarrier();
    tileScores[thread] = exp(sx - largest.x);
    tileScores[thread + THREADS] = exp(sy - largest.y);
    workgroupBarrier();

    total *= correction;
    for (var i = 0u; i < SLICES; i++) {
      x[i] *= correction.x;
      y[i] *= correction.y;
    }
    for (var c = 0u; c < 4u; c++) {
      let wx = tileScores[pair * 4u + c];
      let wy = tileScores[pair * 4u + c + THREADS];
      total += vec2<f32>(dot(wx, vec4<f32>(1.0)), dot(wy, vec4<f32>(1.0)));
      for (var i = 0u; i < SLICES; i++) {
        let at = c * PITCH + column + (i % 8u) * 4u;
        let v = mat4x4<f32>(tile[at], tile[at + 4u * PITCH], tile[at + 8u * PITCH], tile[at + 12u * PITCH]);
        x[i] += v * wx;
        y[i] += v * wy;
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
  if (CAPTURE && isKept.x) {
    writeProbs(column, seenX, editX, vec2<f32>(largest.x, total.x));
  }
  if (CAPTURE && isKept.y) {
    writeProbs(column, seenY, editY, vec2<f32>(largest.y, total.y));
  }
}
