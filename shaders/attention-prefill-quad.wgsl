// Attention of many query rows for CPU adapters; quads of threads share the keys and values that they load
// Formula: as attention-prefill
// Shapes: as attention-prefill
// Work division: one thread ROWS query rows, 8 apart; keys in blocks of 16 with a running maximum and sum. Software
//   adapters pay for each load of each thread, not for its bytes: so the four threads of a quad each load a different
//   key or value and hand it to the others, and of 4 rows a block takes 20 loads and stores for 128 × 4 multiply-adds.
//   The keys end where the workgroup's last row does, so that quads stay together; a row masks those beyond its own end
// Grid: (ceil(rows / (8 · ROWS)), H) workgroups of 8 threads
// Error bound: as attention-prefill
// Source: arXiv 2205.14135 algorithm 1 (online softmax); the factor: arXiv 2503.01773. Appended: shared/prefill,
//   shared/step
enable subgroups;
override ROWS: u32; // of a thread: 1, 2 or 4
const BLOCK: u32 = 16u;
const MASKED = -3.0e38;

// What the four threads of the quad hold, as columns.
fn ofQuad(mine: vec4<f32>) -> mat4x4<f32> {
  return mat4x4<f32>(quadBroadcast(mine, 0u), quadBroadcast(mine, 1u), quadBroadcast(mine, 2u), quadBroadcast(mine, 3u));
}

fn numKeysOf(row: u32) -> u32 {
  return select(params.numKeys, rowPosition(row) + 1u, CAUSAL);
}

fn factorOf(row: u32, head: u32) -> f32 {
  if (CAUSAL) {
    return imageFactor(row, head);
  }
  return 1.0;
}

// Keeps the scores of a row's four keys from `key` on.
fn capture(products: vec4<f32>, key: u32, head: u32, numKeys: u32) {
  let at = head * params.captureStride + key;
  let score = products * params.scale;
  if (key < numKeys) {
    scores[at] = score.x;
  }
  if (key + 1u < numKeys) {
    scores[at + 1u] = score.y;
  }
  if (key + 2u < numKeys) {
    scores[at + 2u] = score.z;
  }
  if (key + 3u < numKeys) {
    scores[at + 3u] = score.w;
  }
}

// Scores of four keys from products q·k: scaled, times the factor in the span, masked from numKeys on.
fn finish(products: vec4<f32>, key: u32, numKeys: u32, factor: f32) -> vec4<f32> {
  let four = key + vec4<u32>(0u, 1u, 2u, 3u);
  let isScaled = (four >= vec4<u32>(step.spanStart)) & (four < vec4<u32>(step.spanEnd));
  let score = products * params.scale * select(vec4<f32>(1.0), vec4<f32>(factor), isScaled);
  return select(vec4<f32>(MASKED), score, four < vec4<u32>(numKeys));
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
  let isCaptured = row == vec4<u32>(params.captureRow);
  let rows = min(row, vec4<u32>(last));
  let query = rows * params.queryRowStride4 + head * params.headDim4;
  let result = rows * params.outputRowStride4 + head * params.headDim4;
  let keyBase = params.keyOffset4 + (head / params.group) * params.headStride4;
  let valueBase = params.valueOffset4 + (head / params.group) * params.headStride4;
  let numKeys = vec4<u32>(numKeysOf(rows.x), numKeysOf(rows.y), numKeysOf(rows.z), numKeysOf(rows.w));
  let factor = vec4<f32>(factorOf(rows.x, head), factorOf(rows.y, head), factorOf(rows.z, head), factorOf(rows.w, head));
  let groupKeys = numKeysOf(min((group.x + 1u) * 8u * ROWS - 1u, last));
  let mine = lane % 4u;

  var largest = vec4<f32>(MASKED);
  var total = vec4<f32>(0.0);
  for (var first = 0u; first < groupKeys; first += BLOCK) {
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
      let k0 = ofQuad(keys[keyBase + key.x + d]);
      let k1 = ofQuad(keys[keyBase + key.y + d]);
      let k2 = ofQuad(keys[keyBase + key.z + d]);
      let k3 = ofQuad(keys[keyBase + key.w + d]);
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
    if (CAPTURE && any(isCaptured)) {
      var c0 = select(s00, s10, isCaptured.y);
      var c1 = select(s01, s11, isCaptured.y);
      var c2 = select(s02, s12, isCaptured.y);
      var c3 = select(s03, s13, isCaptured.y);
      if (isCaptured.z) {
        c0 = s20;
        c1 = s21;
        c2 = s22;
        c3 = s23;
      }
      if (isCaptured.w) {
        c0 = s30;
        c1 = s31;
        c2 = s32;
        c3 = s33;
      }
      let end = numKeysOf(params.captureRow);
      capture(c0, first, head, end);
      capture(c1, first + 4u, head, end);
      capture(c2, first + 8u, head, end);
      capture(c3, first + 12u, head, end);
    }
    let before = largest;
    var sums = vec4<f32>(0.0);
    s00 = finish(s00, first, numKeys.x, factor.x);
    s01 = finish(s01, first + 4u, numKeys.x, factor.x);
    s02 = finish(s02, first + 8u, numKeys.x, factor.x);
    s03 = finish(s03, first + 12u, numKeys.x, factor.x);
    largest.x = max(largest.x, largestOf(s00, s01, s02, s03));
    s00 = exp(s00 - largest.x);
    s01 = exp(s01 - largest.x);
    s02 = exp(s02 - largest.x);
    s03 = exp(s03 - largest.x);
    sums.x = dot(s00 + s01 + s02 + s03, vec4<f32>(1.0));
    if (ROWS > 1u) {
      s10 = finish(s10, first, numKeys.y, factor.y);
      s11 = finish(s11, first + 4u, numKeys.y, factor.y);
      s12 = finish(s12, first + 8u, numKeys.y, factor.y);
      s13 = finish(s13, first + 12u, numKeys.y, factor.y);
      largest.y = max(largest.y, largestOf(s10, s11, s12, s13));
      s10 = exp(s10 - largest.y);
      s11 = exp(s11 - largest.y);
      s12 = exp(s12 - largest.y);
      s13 = exp(s13 - largest.y);
      sums.y = dot(s10 + s11 + s12 + s13, vec4<f32>(1.0));
    }
    if (ROWS > 2u) {
      s20 = finish(s20, first, numKeys.z, factor.z);
      s21 = finish(s21, first + 4u, numKeys.z, factor.z);
      s22 = finish(s22, first + 8u, numKeys.z, factor.z);
      s23 = finish(s23, first + 12u, numKeys.z, factor.z);
      largest.z = max(largest.z, largestOf(s20, s21, s22, s23));
      s20 = exp(s20 - largest.z);
      s21 = exp(s21 - largest.z);
      s22 = exp(s22 - largest.z);
      s23 = exp(s23 - largest.z);
      sums.z = dot(s20 + s21 + s22 + s23, vec4<f32>(1.0));
      s30 = finish(s30, first, numKeys.w, factor.w);
      s31 = finish(s31, first + 4u, numKeys.w, factor.w);
      s32 = finish(s32, first + 8u, numKeys.w, factor.w);
      s33 = finish(s33, first + 12u, numKeys.w, factor.w);
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
      let v0 = ofQuad(values[valueBase + key.x + d]);
      let v1 = ofQuad(values[valueBase + key.y + d]);
      let v2 = ofQuad(values[valueBase + key.z + d]);
      let v3 = ofQuad(values[valueBase + key.w + d]);
      if (isReal.x) {
        var sum = v0 * s00 + v1 * s01 + v2 * s02 + v3 * s03;
        if (first > 0u) {
          sum += output[result.x + d] * correction.x;
        }
        output[result.x + d] = sum;
      }
      if (ROWS > 1u) {
        if (isReal.y) {
          var sum = v0 * s10 + v1 * s11 + v2 * s12 + v3 * s13;
          if (first > 0u) {
            sum += output[result.y + d] * correction.y;
          }
          output[result.y + d] = sum;
        }
      }
      if (ROWS > 2u) {
        if (isReal.z) {
          var sum = v0 * s20 + v1 * s21 + v2 * s22 + v3 * s23;
          if (first > 0u) {
            sum += output[result.z + d] * correction.z;
          }
          output[result.z + d] = sum;
        }
        if (isReal.w) {
          var sum = v0 * s30 + v1 * s31 + v2 * s32 + v3 * s33;
          if (first > 0u) {
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
      if (CAPTURE && isCaptured[i]) {
        for (var j = 0u; j < numKeys[i]; j++) {
          let at = head * params.captureStride + j;
          let score = scores[at] * select(1.0, factor[i], CAUSAL && inSpan(j));
          probs[at] = exp(score - largest[i]) / total[i];
        }
      }
    }
  }
}
