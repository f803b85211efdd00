// Computes the attention of many query rows on CPU adapters; quads of threads share the keys and values that they load
// Formula: as attention-prefill
// Shapes: as attention-prefill
// Work division: one thread computes ROWS query rows, 8 apart; keys in blocks of 16 with a running maximum and sum. On
//   software adapters, a load costs the same however many bytes it has: so the four threads of a quad each load a different
//   key or value and broadcast it, and with 4 rows a block takes 20 loads and stores for 128 × 4 multiply-adds.
//   The keys begin in the block of the workgroup's first row's first key and end where its last row does, so that quads stay
//   together; a row masks those that it does not see
// Grid: (ceil(rows / (8 · ROWS)), H) workgroups of 8 threads
// Error bound: as attention-prefill
// Source: arXiv 2205.14135 algorithm 1 (online softmax). Appended: shared/prefill, shared/cache-*, shared/step,
//   shared/window, shared/capture, shared/score-edit
enable subgroups;
override ROWS: u32; // of a thread: 1, 2 or 4
const BLOCK: u32 = 16u;
const MASKED = -3.3e38; // below KNOCKED_OUT

// What the four threads of the quad hold, as columns.
fn ofQuad(mine: vec4<f32>) -> mat4x4<f32> {
  return mat4x4<f32>(quadBroadcast(mine, 0u), quadBroadcast(mine, 1u), quadBroadcast(mine, 2u), quadBroadcast(mine, 3u));
}

// Keeps the scores of a row's four keys from `key` on, from products q·k.
fn captureFour(products: vec4<f32>, key: u32, seen: vec2<u32>, rowStart: u32) {
  let score = products * params.scale;
  for (var i = 0u; i < 4u; i++) {
    if (isSeen(key + i, seen.x, seen.y)) {
      scores[rowStart + key + i] = score[i];
    }
  }
}

// The same for the block of 16 keys from `first` on.
fn capture(products: mat4x4<f32>, first: u32, seen: vec2<u32>, rowStart: u32) {
  captureFour(products[0], first, seen, rowStart);
  captureFour(products[1], first + 4u, seen, rowStart);
  captureFour(products[2], first + 8u, seen, rowStart);
  captureFour(products[3], first + 12u, seen, rowStart);
}

// Scores of four keys from products q·k: scaled, edited, masked outside of keys [seen.x, seen.y).
fn finish(products: vec4<f32>, key: u32, seen: vec2<u32>, edit: RowEdits) -> vec4<f32> {
  let four = key + vec4<u32>(0u, 1u, 2u, 3u);
  let score = editScores(products * params.scale, four, edit);
  return select(vec4<f32>(MASKED), score, areSeen(four, seen.x, seen.y));
}

fn largestOf(a: vec4<f32>, b: vec4<f32>, c: vec4<f32>, d: vec4<f32>) -> f32 {
  let four = max(max(a, b), max(c, d));
  return max(max(four.x, four.y), max(four.z, four.w));
}

@compute @workgroup_size(8)
fn main(@builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) group: vec3<u32>) {
  let head = group.y;
  let last = params.numRows - 1u;
  let row = group.x * 8u * ROWS + lane + vec4<u32>(0u, 8u, 16u, 24u);
  let isReal = row <= vec4<u32>(last);
  let rows = min(row, vec4<u32>(last));
  let query = rows * params.queryRowStride4 + head * params.headDim4;
  let result = rows * params.outputRowStride4 + head * params.headDim4;
  let keyBase = params.keyOffset4 + (head / params.group) * params.headStride4;
  let valueBase = params.valueOffset4 + (head / params.group) * params.headStride4;
  let seen0 = vec2<u32>(firstSeen(rows.x), endSeen(rows.x));
  let seen1 = vec2<u32>(firstSeen(rows.y), endSeen(rows.y));
  let seen2 = vec2<u32>(firstSeen(rows.z), endSeen(rows.z));
  let seen3 = vec2<u32>(firstSeen(rows.w), endSeen(rows.w));
  let edit0 = rowEdits(rows.x, head);
  let edit1 = rowEdits(rows.y, head);
  let edit2 = rowEdits(rows.z, head);
  let edit3 = rowEdits(rows.w, head);
  let groupStart = firstSeen(group.x * 8u * ROWS) / BLOCK * BLOCK;
  let groupKeys = endSeen(min((group.x + 1u) * 8u * ROWS - 1u, last));
  let mine = lane % 4u;

  var largest = vec4<f32>(MASKED);
  var total = vec4<f32>(0.0);
  for (var first = groupStart; first < groupKeys; first += BLOCK) {
    let key = min(first + mine + vec4<u32>(0u, 4u, 8u, 12u), vec4<u32>(groupKeys - 1u)) * params.positionStride4;
    var s00 = vec4<f32>(0.0);
    var s01 = vec4<f32>(0.0);
    var s02 = vec4<f32>(0.0);
    var s03 = vec4<f32>(0.0);
    var s10 = vec4<f32>(0.0);
    var s11 = vec4<f32>(0.0);
    var s12 = vec4<f32>(0.0);
    var s13 = vec4<f32>(0.0);
    var s20 = vec4<f32>(0.0);
    var s21 = vec4<f32>(0.0);
    var s22 = vec4<f32>(0.0);
    var s23 = vec4<f32>(0.0);
    var s30 = vec4<f32>(0.0);
    var s31 = vec4<f32>(0.0);
    var s32 = vec4<f32>(0.0);
    var s33 = vec4<f32>(0.0);
    for (var d = 0u; d < params.headDim4; d++) {
      let k0 = ofQuad(loadKey(keyBase + key.x, d));
      let k1 = ofQuad(loadKey(keyBase + key.y, d));
      let k2 = ofQuad(loadKey(keyBase + key.z, d));
      let k3 = ofQuad(loadKey(keyBase + key.w, d));
      let q0 = queries[query.x + d];
      s00 += q0 * k0;
      s01 += q0 * k1;
      s02 += q0 * k2;
      s03 += q0 * k3;
      if (ROWS > 1u) {
        let q1 = queries[query.y + d];
        s10 += q1 * k0;
        s11 += q1 * k1;
        s12 += q1 * k2;
        s13 += q1 * k3;
      }
      if (ROWS > 2u) {
        let q2 = queries[query.z + d];
        s20 += q2 * k0;
        s21 += q2 * k1;
        s22 += q2 * k2;
        s23 += q2 * k3;
        let q3 = queries[query.w + d];
        s30 += q3 * k0;
        s31 += q3 * k1;
        s32 += q3 * k2;
        s33 += q3 * k3;
      }
    }
    if (isCaptured(row.x)) {
      capture(mat4x4<f32>(s00, s01, s02, s03), first, seen0, captureOffset(row.x, head));
    }
    if (ROWS > 1u && isCaptured(row.y)) {
      capture(mat4x4<f32>(s10, s11, s12, s13), first, seen1, captureOffset(row.y, head));
    }
    if (ROWS > 2u && isCaptured(row.z)) {
      capture(mat4x4<f32>(s20, s21, s22, s23), first, seen2, captureOffset(row.z, head));
    }
    if (ROWS > 2u && isCaptured(row.w)) {
      capture(mat4x4<f32>(s30, s31, s32, s33), first, seen3, captureOffset(row.w, head));
    }
    let before = largest;
    var sums = vec4<f32>(0.0);
    s00 = finish(s00, first, seen0, edit0);
    s01 = finish(s01, first + 4u, seen0, edit0);
    s02 = finish(s02, first + 8u, seen0, edit0);
    s03 = finish(s03, first + 12u, seen0, edit0);
    largest.x = max(largest.x, largestOf(s00, s01, s02, s03));
    s00 = exp(s00 - largest.x);
    s01 = exp(s01 - largest.x);
    s02 = exp(s02 - largest.x);
    s03 = exp(s03 - largest.x);
    sums.x = dot(s00 + s01 + s02 + s03, vec4<f32>(1.0));
    if (ROWS > 1u) {
      s10 = finish(s10, first, seen1, edit1);
      s11 = finish(s11, first + 4u, seen1, edit1);
      s12 = finish(s12, first + 8u, seen1, edit1);
      s13 = finish(s13, first + 12u, seen1, edit1);
      largest.y = max(largest.y, largestOf(s10, s11, s12, s13));
      s10 = exp(s10 - largest.y);
      s11 = exp(s11 - largest.y);
      s12 = exp(s12 - largest.y);
      s13 = exp(s13 - largest.y);
      sums.y = dot(s10 + s11 + s12 + s13, vec4<f32>(1.0));
    }
    if (ROWS > 2u) {
      s20 = finish(s20, first, seen2, edit2);
      s21 = finish(s21, first + 4u, seen2, edit2);
      s22 = finish(s22, first + 8u, seen2, edit2);
      s23 = finish(s23, first + 12u, seen2, edit2);
      largest.z = max(largest.z, largestOf(s20, s21, s22, s23));
      s20 = exp(s20 - largest.z);
      s21 = exp(s21 - largest.z);
      s22 = exp(s22 - largest.z);
      s23 = exp(s23 - largest.z);
      sums.z = dot(s20 + s21 + s22 + s23, vec4<f32>(1.0));
      s30 = finish(s30, first, seen3, edit3);
      s31 = finish(s31, first + 4u, seen3, edit3);
      s32 = finish(s32, first + 8u, seen3, edit3);
      s33 = finish(s33, first + 12u, seen3, edit3);
      largest.w = max(largest.w, largestOf(s30, s31, s32, s33));
      s30 = exp(s30 - largest.w);
      s31 = exp(s31 - largest.w);
      s32 = exp(s32 - largest.w);
      s33 = exp(s33 - largest.w);
      sums.w = dot(s30 + s31 + s32 + s33, vec4<f32>(1.0));
    }
    let correction = exp(before - largest);
    total = total * correction + sums;
    for (var d = 0u; d < params.headDim4; d++) {
      let v0 = ofQuad(loadValue(valueBase + key.x, d));
      let v1 = ofQuad(loadValue(valueBase + key.y, d));
      let v2 = ofQuad(loadValue(valueBase + key.z, d));
      let v3 = ofQuad(loadValue(valueBase + key.w, d));
      if (isReal.x) {
        var sum = v0 * s00 + v1 * s01 + v2 * s02 + v3 * s03;
        if (first > groupStart) {
          sum += output[result.x + d] * correction.x;
        }
        output[result.x + d] = sum;
      }
      if (ROWS > 1u) {
        if (isReal.y) {
          var sum = v0 * s10 + v1 * s11 + v2 * s12 + v3 * s13;
          if (first > groupStart) {
            sum += output[result.y + d] * correction.y;
          }
          output[result.y + d] = sum;
        }
      }
      if (ROWS > 2u) {
        if (isReal.z) {
          var sum = v0 * s20 + v1 * s21 + v2 * s22 + v3 * s23;
          if (first > groupStart) {
            sum += output[result.z + d] * correction.z;
          }
          output[result.z + d] = sum;
        }
        if (isReal.w) {
          var sum = v0 * s30 + v1 * s31 + v2 * s32 + v3 * s33;
          if (first > groupStart) {
            sum += output[result.w + d] * correction.w;
          }
          output[result.w + d] = sum;
        }
      }
    }
  }
  for (var i = 0u; i < ROWS; i++) {
    if (isReal[i]) {
      for (var d = 0u; d < params.headDim4; d++) {
        output[result[i] + d] /= total[i];
      }
      if (isCaptured(row[i])) {
        let edit = rowEdits(row[i], head);
        let captureAt = captureOffset(row[i], head);
        for (var j = firstSeen(rows[i]); j < endSeen(rows[i]); j++) {
          let score = editScore(scores[captureAt + j], j, edit);
          probs[captureAt + j] = exp(score - largest[i]) / total[i];
        }
      }
    }
  }
}
