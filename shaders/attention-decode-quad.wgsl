// Computes the attention of a decode step, one query per head against all cached keys, in a single pass
// Formula: as attention-prefill, for one query per head of each batch row
// Shapes: queries [rows, .., headDim] f32 · keys, values [Hkv, capacity, headDim] as shared/cache-* says · output [rows, H, headDim] f32 ·
//   scores, probs [captured rows, H, S] f32
// Work division: one quad of threads per head of ROWS batch rows; keys in blocks of 16 with a running maximum and sum: each
//   thread first scores four of them, then adds the values of all 16 in its own fourth of headDim, so that threads communicate
//   by quad broadcasts only. Nearly all loads are of keys and values; those of a prefix that the rows share are loaded once
// Grid: (ceil(H / 2), ceil(rows / ROWS)) workgroups of 8 threads
// Error bound: as attention-prefill
// Source: arXiv 2205.14135 algorithm 1 (online softmax). Appended: shared/cache-*,
//   shared/step, shared/window, shared/capture, shared/score-edit
enable subgroups;
override ROWS: u32; // 1, or 2 rows at the same slot: x and y below
const BLOCK: u32 = 16u;
const MASKED = -3.3e38; // below KNOCKED_OUT

struct Params {
  headDim4: u32,      // padded headDim / 4
  numRows: u32,
  queryRowStride4: u32,
  headStride4: u32,   // elements from one key/value head to the next
  numHeads: u32,
  group: u32,         // query heads per key/value head
  layer: u32,
  captureStart: u32,
  captureEnd: u32,
  captureTarget: u32,
  captureStride: u32, // S
  scale: f32,         // 1 / √headDim
  window: u32,        // keys that a row sees at most when WINDOWED
}
@group(0) @binding(0) var<storage, read> queries: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> output: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> scores: array<f32>;
@group(0) @binding(5) var<storage, read_write> probs: array<f32>;
@group(0) @binding(6) var<uniform> params: Params;

fn slotsOf(keys: vec4<u32>, row: u32, base: u32) -> vec4<u32> {
  let stride = slotStride();
  return base + stride * vec4<u32>(cacheSlot(keys.x, row), cacheSlot(keys.y, row), cacheSlot(keys.z, row), cacheSlot(keys.w, row));
}

// Four keys at the same place of four slots, as columns.
fn fourKeys(slots: vec4<u32>, d: u32) -> mat4x4<f32> {
  return mat4x4<f32>(loadKey(slots.x, d), loadKey(slots.y, d), loadKey(slots.z, d), loadKey(slots.w, d));
}

// The same of values.
fn fourValues(slots: vec4<u32>, d: u32) -> mat4x4<f32> {
  return mat4x4<f32>(loadValue(slots.x, d), loadValue(slots.y, d), loadValue(slots.z, d), loadValue(slots.w, d));
}

// Writes the scores of a row's four keys to the capture buffer.
fn capture(score: vec4<f32>, key: vec4<u32>, seen: vec2<u32>, rowStart: u32) {
  for (var i = 0u; i < 4u; i++) {
    if (isSeen(key[i], seen.x, seen.y)) {
      scores[rowStart + key[i]] = score[i];
    }
  }
}

// A row's softmax over the keys so far.
struct Softmax {
  weights: vec4<f32>, // exp(score − largest) of the thread's four keys of the block
  largest: f32,
  total: f32,         // of the keys that this thread scores
  correction: f32,    // for what was summed before the block
}

// Updates the softmax with four more scores per thread; every thread of the quad calls it.
fn nextBlock(before: Softmax, score: vec4<f32>) -> Softmax {
  var largest = max(max(score.x, score.y), max(score.z, score.w));
  largest = max(largest, quadSwapX(largest));
  largest = max(before.largest, max(largest, quadSwapY(largest)));
  let correction = exp(before.largest - largest);
  let weights = exp(score - largest);
  return Softmax(weights, largest, before.total * correction + dot(weights, vec4<f32>(1.0)), correction);
}

@compute @workgroup_size(8)
fn main(@builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) group: vec3<u32>) {
  let wanted = group.x * 2u + lane / 4u;
  let head = min(wanted, params.numHeads - 1u);
  let isReal = wanted < params.numHeads;
  let mine = lane % 4u;
  let rowX = group.y * ROWS;
  let rowY = min(rowX + ROWS - 1u, params.numRows - 1u); // rowX again where there is no second one
  let hasY = rowY > rowX && isReal;
  let keepsX = isCaptured(rowX) && isReal;
  let keepsY = isCaptured(rowY) && hasY;
  let captureX = captureOffset(rowX, head);
  let captureY = captureOffset(rowY, head);
  let queryX = rowX * params.queryRowStride4 + head * params.headDim4;
  let queryY = rowY * params.queryRowStride4 + head * params.headDim4;
  let resultX = (rowX * params.numHeads + head) * params.headDim4;
  let resultY = (rowY * params.numHeads + head) * params.headDim4;
  let base = (head / params.group) * params.headStride4;
  let numKeys = rowSlot(rowX) + 1u; // of both rows
  let seen = vec2<u32>(firstKey(rowX), numKeys);
  let start = seen.x / BLOCK * BLOCK;
  let editX = rowEdits(rowX, head);
  var editY = editX;
  if (ROWS > 1u) {
    editY = rowEdits(rowY, head);
  }

  var x = Softmax(vec4<f32>(0.0), MASKED, 0.0, 0.0);
  var y = x;
  for (var first = start; first < numKeys; first += BLOCK) {
    let key = first + mine + vec4<u32>(0u, 4u, 8u, 12u);
    let near = min(key, vec4<u32>(numKeys - 1u));
    let slotsX = slotsOf(near, rowX, base);
    var slotsY = slotsX;
    if (ROWS > 1u) {
      slotsY = slotsOf(near, rowY, base);
    }
    let isApart = ROWS > 1u && first + BLOCK > step.prefixLength;
    var sx = vec4<f32>(0.0);
    var sy = vec4<f32>(0.0);
    for (var d = 0u; d < params.headDim4; d++) {
      var four = fourKeys(slotsX, d);
      sx += queries[queryX + d] * four;
      if (isApart) {
        four = fourKeys(slotsY, d);
      }
      if (ROWS > 1u) {
        sy += queries[queryY + d] * four;
      }
    }
    sx *= params.scale;
    sy *= params.scale;
    if (keepsX) {
      capture(sx, key, seen, captureX);
    }
    if (keepsY) {
      capture(sy, key, seen, captureY);
    }
    let isKey = areSeen(key, seen.x, seen.y);
    x = nextBlock(x, select(vec4<f32>(MASKED), editScores(sx, key, editX), isKey));
    if (ROWS > 1u) {
      y = nextBlock(y, select(vec4<f32>(MASKED), editScores(sy, key, editY), isKey));
    }

    let slotsX0 = quadBroadcast(slotsX, 0u);
    let slotsX1 = quadBroadcast(slotsX, 1u);
    let slotsX2 = quadBroadcast(slotsX, 2u);
    let slotsX3 = quadBroadcast(slotsX, 3u);
    var slotsY0 = slotsX0;
    var slotsY1 = slotsX1;
    var slotsY2 = slotsX2;
    var slotsY3 = slotsX3;
    if (ROWS > 1u) {
      slotsY0 = quadBroadcast(slotsY, 0u);
      slotsY1 = quadBroadcast(slotsY, 1u);
      slotsY2 = quadBroadcast(slotsY, 2u);
      slotsY3 = quadBroadcast(slotsY, 3u);
    }
    let weightsX0 = quadBroadcast(x.weights, 0u);
    let weightsX1 = quadBroadcast(x.weights, 1u);
    let weightsX2 = quadBroadcast(x.weights, 2u);
    let weightsX3 = quadBroadcast(x.weights, 3u);
    var weightsY0 = weightsX0;
    var weightsY1 = weightsX1;
    var weightsY2 = weightsX2;
    var weightsY3 = weightsX3;
    if (ROWS > 1u) {
      weightsY0 = quadBroadcast(y.weights, 0u);
      weightsY1 = quadBroadcast(y.weights, 1u);
      weightsY2 = quadBroadcast(y.weights, 2u);
      weightsY3 = quadBroadcast(y.weights, 3u);
    }
    for (var d = mine; d < params.headDim4; d += 4u) {
      var v0 = fourValues(slotsX0, d);
      var v1 = fourValues(slotsX1, d);
      var v2 = fourValues(slotsX2, d);
      var v3 = fourValues(slotsX3, d);
      var sum = v0 * weightsX0 + v1 * weightsX1;
      sum += v2 * weightsX2 + v3 * weightsX3;
      if (first > start) {
        sum += output[resultX + d] * x.correction;
      }
      if (isReal) {
        output[resultX + d] = sum;
      }
      if (isApart) {
        v0 = fourValues(slotsY0, d);
        v1 = fourValues(slotsY1, d);
        v2 = fourValues(slotsY2, d);
        v3 = fourValues(slotsY3, d);
      }
      if (ROWS > 1u) {
        sum = v0 * weightsY0 + v1 * weightsY1;
        sum += v2 * weightsY2 + v3 * weightsY3;
        if (first > start) {
          sum += output[resultY + d] * y.correction;
        }
        if (hasY) {
          output[resultY + d] = sum;
        }
      }
    }
  }
  let totalX = quadTotal(x.total);
  let totalY = quadTotal(y.total);
  for (var d = mine; d < params.headDim4; d += 4u) {
    if (isReal) {
      output[resultX + d] /= totalX;
    }
    if (hasY) {
      output[resultY + d] /= totalY;
    }
  }
  if (keepsX) {
    for (var j = seen.x + mine; j < numKeys; j += 4u) {
      probs[captureX + j] = exp(editScore(scores[captureX + j], j, editX) - x.largest) / totalX;
    }
  }
  if (keepsY) {
    for (var j = seen.x + mine; j < numKeys; j += 4u) {
      probs[captureY + j] = exp(editScore(scores[captureY + j], j, editY) - y.largest) / totalY;
    }
  }
}

fn quadTotal(part: f32) -> f32 {
  let two = part + quadSwapX(part);
  return two + quadSwapY(two);
}
