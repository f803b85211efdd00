// Attention of a decode step; one new query a head over all keys in the cache, at once
// Formula: output[b, h] = Σ_j softmax_j(s_j) · values[h/g, j], s_j as attention-decode-split; probs as
//   attention-decode-reduce when CAPTURE
// Shapes: queries [rows, .., headDim] f32 · keys, values [Hkv, capacity, headDim] f32 · output [rows, H, headDim] f32 ·
//   scores, probs [H, S] f32, row 0 only
// Work division: one quad of threads a head of a row; keys in blocks of 16 with a running maximum and sum: first each
//   thread scores four of them, then it adds the values of all 16 in its own fourth of headDim, so that threads meet in
//   quad broadcasts only. Nearly all loads are of keys and values, each once
// Grid: (ceil(H / 2), rows) workgroups of 8 threads
// Error bound: as attention-prefill
// Source: arXiv 2205.14135 algorithm 1 (online softmax); the factor: arXiv 2503.01773. Appended: shared/step
enable subgroups;
override CAPTURE: bool;
const BLOCK: u32 = 16u;
const MASKED = -3.0e38;

struct Params {
  headDim4: u32,      // padded headDim / 4
  queryRowStride4: u32,
  headStride4: u32,   // capacity · headDim / 4
  numHeads: u32,
  group: u32,         // query heads a key/value head
  captureStride: u32, // S
  scale: f32,         // 1 / √headDim
}
@group(0) @binding(0) var<storage, read> queries: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> keys: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> values: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> output: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> scores: array<f32>;
@group(0) @binding(5) var<storage, read_write> probs: array<f32>;
@group(0) @binding(6) var<uniform> params: Params;

fn slotStart(key: u32, row: u32, base: u32) -> u32 {
  return base + cacheSlot(key, row) * params.headDim4;
}

// Four values at the same place of four slots, as columns.
fn fourValues(slots: vec4<u32>, d: u32) -> mat4x4<f32> {
  return mat4x4<f32>(values[slots.x + d], values[slots.y + d], values[slots.z + d], values[slots.w + d]);
}

@compute @workgroup_size(8)
fn main(@builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) group: vec3<u32>) {
  let wanted = group.x * 2u + lane / 4u;
  let head = min(wanted, params.numHeads - 1u);
  let isReal = wanted < params.numHeads;
  let mine = lane % 4u;
  let row = group.y;
  let capture = CAPTURE && row == 0u && isReal;
  let query = row * params.queryRowStride4 + head * params.headDim4;
  let result = (row * params.numHeads + head) * params.headDim4;
  let base = (head / params.group) * params.headStride4;
  let numKeys = rowPosition(row) + 1u;
  let factor = imageFactor(row, head);

  var largest = MASKED;
  var total = 0.0; // of the keys this thread scores
  for (var first = 0u; first < numKeys; first += BLOCK) {
    let key = first + mine + vec4<u32>(0u, 4u, 8u, 12u);
    let near = min(key, vec4<u32>(numKeys - 1u));
    let slots = vec4<u32>(slotStart(near.x, row, base), slotStart(near.y, row, base), slotStart(near.z, row, base),
      slotStart(near.w, row, base));
    var s = vec4<f32>(0.0);
    for (var d = 0u; d < params.headDim4; d++) {
      let q = queries[query + d];
      s += vec4<f32>(dot(q, keys[slots.x + d]), dot(q, keys[slots.y + d]), dot(q, keys[slots.z + d]),
        dot(q, keys[slots.w + d]));
    }
    s *= params.scale;
    if (capture) {
      for (var i = 0u; i < 4u; i++) {
        if (key[i] < numKeys) {
          scores[head * params.captureStride + key[i]] = s[i];
        }
      }
    }
    let isScaled = (key >= vec4<u32>(step.spanStart)) & (key < vec4<u32>(step.spanEnd));
    s *= select(vec4<f32>(1.0), vec4<f32>(factor), isScaled);
    s = select(vec4<f32>(MASKED), s, key < vec4<u32>(numKeys));
    var blockLargest = max(max(s.x, s.y), max(s.z, s.w));
    blockLargest = max(blockLargest, quadSwapX(blockLargest));
    blockLargest = max(largest, max(blockLargest, quadSwapY(blockLargest)));
    let correction = exp(largest - blockLargest);
    largest = blockLargest;
    s = exp(s - largest);
    total = total * correction + dot(s, vec4<f32>(1.0));

    let slots0 = quadBroadcast(slots, 0u);
    let slots1 = quadBroadcast(slots, 1u);
    let slots2 = quadBroadcast(slots, 2u);
    let slots3 = quadBroadcast(slots, 3u);
    let weights0 = quadBroadcast(s, 0u);
    let weights1 = quadBroadcast(s, 1u);
    let weights2 = quadBroadcast(s, 2u);
    let weights3 = quadBroadcast(s, 3u);
    for (var d = mine; d < params.headDim4; d += 4u) {
      var sum = fourValues(slots0, d) * weights0 + fourValues(slots1, d) * weights1;
      sum += fourValues(slots2, d) * weights2 + fourValues(slots3, d) * weights3;
      if (first > 0u) {
        sum += output[result + d] * correction;
      }
      if (isReal) {
        output[result + d] = sum;
      }
    }
  }
  total += quadSwapX(total);
  total += quadSwapY(total);
  if (isReal) {
    for (var d = mine; d < params.headDim4; d += 4u) {
      output[result + d] /= total;
    }
  }
  if (capture) {
    for (var j = mine; j < numKeys; j += 4u) {
      let at = head * params.captureStride + j;
      probs[at] = exp(scores[at] * select(1.0, factor, inSpan(j)) - largest) / total;
    }
  }
}
