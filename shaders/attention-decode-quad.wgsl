// Attention of a decode step; one query per head against all cached keys, in a single pass
// Formula: as attention-prefill, for one query per head of each batch row
// Shapes: queries [rows, .., headDim] f32 · keys, values [Hkv, capacity, headDim] as shared/cache-* says · output [rows, H, headDim] f32 ·
//   scores, probs [captured rows, H, S] f32
// Work division: one quad of threads per head of a row; keys in blocks of 16 with a running maximum and sum: each thread
//   first scores four of them, then adds the values of all 16 in its own fourth of headDim, so that threads communicate
//   by quad broadcasts only. Nearly all loads are of keys and values, each loaded once
// Grid: (ceil(H / 2), rows) workgroups of 8 threads
// Error bound: as attention-prefill
// Source: arXiv 2205.14135 algorithm 1 (online softmax). Appended: shared/cache-*,
//   shared/step, shared/capture, shared/score-edit
enable subgroups;
const BLOCK: u32 = 16u;
const MASKED = -3.3e38; // below KNOCKED_OUT

struct Params {
  headDim4: u32,      // padded headDim / 4
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
}
@group(0) @binding(0) var<storage, read> queries: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> output: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> scores: array<f32>;
@group(0) @binding(5) var<storage, read_write> probs: array<f32>;
@group(0) @binding(6) var<uniform> params: Params;

fn keyStart(key: u32, row: u32, base: u32) -> u32 {
  return base + cacheSlot(key, row) * slotStride();
}

// Four values at the same place of four slots, as columns.
fn fourValues(slots: vec4<u32>, d: u32) -> mat4x4<f32> {
  return mat4x4<f32>(loadValue(slots.x, d), loadValue(slots.y, d), loadValue(slots.z, d), loadValue(slots.w, d));
}

@compute @workgroup_size(8)
fn main(@builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) group: vec3<u32>) {
  let wanted = group.x * 2u + lane / 4u;
  let head = min(wanted, params.numHeads - 1u);
  let isReal = wanted < params.numHeads;
  let mine = lane % 4u;
  let row = group.y;
  let isKept = isCaptured(row) && isReal;
  let captureAt = captureOffset(row, head);
  let query = row * params.queryRowStride4 + head * params.headDim4;
  let result = (row * params.numHeads + head) * params.headDim4;
  let base = (head / params.group) * params.headStride4;
  let numKeys = rowSlot(row) + 1u;
  let edit = rowEdits(row, head);

  var largest = MASKED;
  var total = 0.0; // of the keys this thread scores
  for (var first = 0u; first < numKeys; first += BLOCK) {
    let key = first + mine + vec4<u32>(0u, 4u, 8u, 12u);
    let near = min(key, vec4<u32>(numKeys - 1u));
    let slots = vec4<u32>(keyStart(near.x, row, base), keyStart(near.y, row, base), keyStart(near.z, row, base),
      keyStart(near.w, row, base));
    var s = vec4<f32>(0.0);
    for (var d = 0u; d < params.headDim4; d++) {
      let q = queries[query + d];
      s += vec4<f32>(dot(q, loadKey(slots.x, d)), dot(q, loadKey(slots.y, d)), dot(q, loadKey(slots.z, d)),
        dot(q, loadKey(slots.w, d)));
    }
    s *= params.scale;
    if (isKept) {
      for (var i = 0u; i < 4u; i++) {
        if (key[i] < numKeys) {
          scores[captureAt + key[i]] = s[i];
        }
      }
    }
    s = select(vec4<f32>(MASKED), editScores(s, key, edit), key < vec4<u32>(numKeys));
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
  if (isKept) {
    for (var j = mine; j < numKeys; j += 4u) {
      probs[captureAt + j] = exp(editScore(scores[captureAt + j], j, edit) - largest) / total;
    }
  }
}
