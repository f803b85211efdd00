// Attention of many query rows for GPUs; keys and values are loaded into workgroup memory in tiles
// Formula: as attention-prefill
// Shapes: as attention-prefill
// Work division: one workgroup computes 32 query rows and up to 128 of headDim: four threads per row, each for two rows 16 apart.
//   Keys, then values, are loaded into workgroup memory in tiles of 16; each thread scores four keys of its rows, then adds all
//   16 values in its own fourth of headDim, which it holds in registers. The keys end where the workgroup's last row does
// Grid: (ceil(rows / 32), H, ceil(headDim / 128)) workgroups of 64 threads with 12.5 KB of workgroup memory
// Error bound: as attention-prefill
// Source: arXiv 2205.14135 algorithm 1; arXiv 2307.08691 (no output in memory between tiles).
//   Appended: shared/prefill, shared/step, shared/capture, shared/score-edit
const TILE: u32 = 16u;   // keys
const WIDTH4: u32 = 32u; // vec4s of headDim in a tile
const SLICES: u32 = 8u; // vec4s of headDim a thread sums: WIDTH4 / 4
const PITCH: u32 = 33u;  // from one key to the next in a tile: four threads then read from different banks
const MASKED = -3.3e38; // below KNOCKED_OUT

var<workgroup> tile: array<vec4<f32>, TILE * PITCH>;
// Of each row four vec4s; component i of the vec4 of thread c belongs to key c + 4 · i of the tile.
var<workgroup> tileScores: array<vec4<f32>, 128>;
var<workgroup> tileWeights: array<vec4<f32>, 128>;

fn numKeysOf(row: u32) -> u32 {
  return select(params.numKeys, rowSlot(row) + 1u, CAUSAL);
}

// The tile's keys at + 4 · i as columns.
fn fourOfTile(at: u32) -> mat4x4<f32> {
  return mat4x4<f32>(tile[at], tile[at + 4u * PITCH], tile[at + 8u * PITCH], tile[at + 12u * PITCH]);
}

// Scores of four keys from products q·k: scaled, captured, edited, masked from numKeys on.
fn finish(products: vec4<f32>, key: vec4<u32>, numKeys: u32, edit: RowEdits, isKept: bool) -> vec4<f32> {
  let score = products * params.scale;
  if (CAPTURE && isKept) {
    let captureAt = captureOffset(edit.row, edit.head);
    for (var i = 0u; i < 4u; i++) {
      if (key[i] < numKeys) {
        scores[captureAt + key[i]] = score[i];
      }
    }
  }
  return select(vec4<f32>(MASKED), editScores(score, key, edit), key < vec4<u32>(numKeys));
}

fn largestOfTile(at: u32) -> f32 {
  let four = max(max(tileScores[at], tileScores[at + 1u]), max(tileScores[at + 2u], tileScores[at + 3u]));
  return max(max(four.x, four.y), max(four.z, four.w));
}

fn writeProbs(column: u32, numKeys: u32, edit: RowEdits, softmax: vec2<f32>) {
  let captureAt = captureOffset(edit.row, edit.head);
  for (var j = column; j < numKeys; j += 4u) {
    probs[captureAt + j] = exp(editScore(scores[captureAt + j], j, edit) - softmax.x) / softmax.y;
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
  let editX = rowEdits(rows.x, head);
  let editY = rowEdits(rows.y, head);
  let groupKeys = numKeysOf(min(group.x * 32u + 31u, last));
  let isKept = vec2<bool>(isCaptured(row.x), isCaptured(row.y)) & vec2<bool>(group.z == 0u);
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
    sx = finish(sx, key, numKeys.x, editX, isKept.x);
    sy = finish(sy, key, numKeys.y, editY, isKept.y);
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
  if (CAPTURE && isKept.x) {
    writeProbs(column, numKeys.x, editX, vec2<f32>(largest.x, total.x));
  }
  if (CAPTURE && isKept.y) {
    writeProbs(column, numKeys.y, editY, vec2<f32>(largest.y, total.y));
  }
}
