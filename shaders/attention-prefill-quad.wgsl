// Formula: as attention-prefill
// Shapes: as attention-prefill
// Work division: one thread four query rows, 8 apart; keys in blocks of 16 with a running maximum and sum. Software
//   adapters pay for each load of each thread, not for its bytes: so the four threads of a quad each load a different
//   key or value and hand it to the others, and a block loads 20 vec4s for 128 × 4 multiply-adds of each thread.
//   The keys end where the workgroup's last row does, so that quads stay together; a row masks those beyond its own end
// Grid: (ceil(rows / 32), H) workgroups of 8 threads
// Error bound: as attention-prefill
// Source: arXiv 2205.14135 algorithm 1 (online softmax); the factor: arXiv 2503.01773. Appended: shared/step
enable subgroups;
override CAUSAL: bool;
override CAPTURE: bool;
const BLOCK: u32 = 16u;
const MASKED = -3.0e38;

struct Params {
  headDim4: u32,          // padded headDim / 4
  numRows: u32,
  numKeys: u32,           // keys of every row when not CAUSAL
  queryRowStride4: u32,
  keyOffset4: u32,        // first vec4 of the keys in their buffer
  valueOffset4: u32,      // first vec4 of the values in theirs
  positionStride4: u32,   // from one key to the next
  headStride4: u32,       // from one key/value head to the next
  outputRowStride4: u32,
  group: u32,             // query heads a key/value head
  captureRow: u32,
  captureStride: u32,     // S
  scale: f32,             // 1 / √headDim
}
@group(0) @binding(0) var<storage, read> queries: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> keys: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> values: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> output: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> scores: array<f32>;
@group(0) @binding(5) var<storage, read_write> probs: array<f32>;
@group(0) @binding(6) var<uniform> params: Params;

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

// Keeps the scores of a row's 16 keys, of which the first is `first`.
fn capture(row: u32, head: u32, first: u32, numKeys: u32, products: array<vec4<f32>, 4>) {
  if (row == params.captureRow) {
    for (var i = 0u; i < min(BLOCK, numKeys - min(numKeys, first)); i++) {
      scores[head * params.captureStride + first + i] = products[i / 4u][i % 4u] * params.scale;
    }
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
  let row = group.x * 32u + lane + vec4<u32>(0u, 8u, 16u, 24u);
  let isReal = row <= vec4<u32>(last);
  let rows = min(row, vec4<u32>(last));
  let query = rows * params.queryRowStride4 + head * params.headDim4;
  let result = rows * params.outputRowStride4 + head * params.headDim4;
  let keyBase = params.keyOffset4 + (head / params.group) * params.headStride4;
  let valueBase = params.valueOffset4 + (head / params.group) * params.headStride4;
  let numKeys = vec4<u32>(numKeysOf(rows.x), numKeysOf(rows.y), numKeysOf(rows.z), numKeysOf(rows.w));
  let factor = vec4<f32>(factorOf(rows.x, head), factorOf(rows.y, head), factorOf(rows.z, head), factorOf(rows.w, head));
  let groupKeys = numKeysOf(min(group.x * 32u + 31u, last));
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
      let q0 = queries[query.x + d];
      let q1 = queries[query.y + d];
      let q2 = queries[query.z + d];
      let q3 = queries[query.w + d];
      let k0 = ofQuad(keys[keyBase + key.x + d]);
      s00 += q0 * k0;
      s10 += q1 * k0;
      s20 += q2 * k0;
      s30 += q3 * k0;
      let k1 = ofQuad(keys[keyBase + key.y + d]);
      s01 += q0 * k1;
      s11 += q1 * k1;
      s21 += q2 * k1;
      s31 += q3 * k1;
      let k2 = ofQuad(keys[keyBase + key.z + d]);
      s02 += q0 * k2;
      s12 += q1 * k2;
      s22 += q2 * k2;
      s32 += q3 * k2;
      let k3 = ofQuad(keys[keyBase + key.w + d]);
      s03 += q0 * k3;
      s13 += q1 * k3;
      s23 += q2 * k3;
      s33 += q3 * k3;
    }
    if (CAPTURE) {
      capture(row.x, head, first, numKeys.x, array<vec4<f32>, 4>(s00, s01, s02, s03));
      capture(row.y, head, first, numKeys.y, array<vec4<f32>, 4>(s10, s11, s12, s13));
      capture(row.z, head, first, numKeys.z, array<vec4<f32>, 4>(s20, s21, s22, s23));
      capture(row.w, head, first, numKeys.w, array<vec4<f32>, 4>(s30, s31, s32, s33));
    }
    s00 = finish(s00, first, numKeys.x, factor.x);
    s01 = finish(s01, first + 4u, numKeys.x, factor.x);
    s02 = finish(s02, first + 8u, numKeys.x, factor.x);
    s03 = finish(s03, first + 12u, numKeys.x, factor.x);
    s10 = finish(s10, first, numKeys.y, factor.y);
    s11 = finish(s11, first + 4u, numKeys.y, factor.y);
    s12 = finish(s12, first + 8u, numKeys.y, factor.y);
    s13 = finish(s13, first + 12u, numKeys.y, factor.y);
    s20 = finish(s20, first, numKeys.z, factor.z);
    s21 = finish(s21, first + 4u, numKeys.z, factor.z);
    s22 = finish(s22, first + 8u, numKeys.z, factor.z);
    s23 = finish(s23, first + 12u, numKeys.z, factor.z);
    s30 = finish(s30, first, numKeys.w, factor.w);
    s31 = finish(s31, first + 4u, numKeys.w, factor.w);
    s32 = finish(s32, first + 8u, numKeys.w, factor.w);
    s33 = finish(s33, first + 12u, numKeys.w, factor.w);
    let before = largest;
    largest = max(largest, vec4<f32>(largestOf(s00, s01, s02, s03), largestOf(s10, s11, s12, s13),
      largestOf(s20, s21, s22, s23), largestOf(s30, s31, s32, s33)));
    let correction = exp(before - largest);
    s00 = exp(s00 - largest.x);
    s01 = exp(s01 - largest.x);
    s02 = exp(s02 - largest.x);
    s03 = exp(s03 - largest.x);
    s10 = exp(s10 - largest.y);
    s11 = exp(s11 - largest.y);
    s12 = exp(s12 - largest.y);
    s13 = exp(s13 - largest.y);
    s20 = exp(s20 - largest.z);
    s21 = exp(s21 - largest.z);
    s22 = exp(s22 - largest.z);
    s23 = exp(s23 - largest.z);
    s30 = exp(s30 - largest.w);
    s31 = exp(s31 - largest.w);
    s32 = exp(s32 - largest.w);
    s33 = exp(s33 - largest.w);
    let ones = vec4<f32>(1.0);
    total = total * correction + vec4<f32>(dot(s00 + s01 + s02 + s03, ones), dot(s10 + s11 + s12 + s13, ones),
      dot(s20 + s21 + s22 + s23, ones), dot(s30 + s31 + s32 + s33, ones));
    for (var d = 0u; d < params.headDim4; d++) {
      var o0 = vec4<f32>(0.0);
      var o1 = vec4<f32>(0.0);
      var o2 = vec4<f32>(0.0);
      var o3 = vec4<f32>(0.0);
      if (first > 0u) {
        o0 = output[result.x + d] * correction.x;
        o1 = output[result.y + d] * correction.y;
        o2 = output[result.z + d] * correction.z;
        o3 = output[result.w + d] * correction.w;
      }
      let v0 = ofQuad(values[valueBase + key.x + d]);
      o0 += v0 * s00;
      o1 += v0 * s10;
      o2 += v0 * s20;
      o3 += v0 * s30;
      let v1 = ofQuad(values[valueBase + key.y + d]);
      o0 += v1 * s01;
      o1 += v1 * s11;
      o2 += v1 * s21;
      o3 += v1 * s31;
      let v2 = ofQuad(values[valueBase + key.z + d]);
      o0 += v2 * s02;
      o1 += v2 * s12;
      o2 += v2 * s22;
      o3 += v2 * s32;
      let v3 = ofQuad(values[valueBase + key.w + d]);
      o0 += v3 * s03;
      o1 += v3 * s13;
      o2 += v3 * s23;
      o3 += v3 * s33;
      if (isReal.x) {
        output[result.x + d] = o0;
      }
      if (isReal.y) {
        output[result.y + d] = o1;
      }
      if (isReal.z) {
        output[result.z + d] = o2;
      }
      if (isReal.w) {
        output[result.w + d] = o3;
      }
    }
  }
  for (var i = 0u; i < 4u; i++) {
    if (isReal[i]) {
      for (var d = 0u; d < params.headDim4; d++) {
        output[result[i] + d] /= total[i];
      }
      if (CAPTURE && row[i] == params.captureRow) {
        for (var j = 0u; j < numKeys[i]; j++) {
          let at = head * params.captureStride + j;
          let score = scores[at] * select(1.0, factor[i], CAUSAL && inSpan(j));
          probs[at] = exp(score - largest[i]) / total[i];
        }
      }
    }
  }
}
