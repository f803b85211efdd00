// Computes the attention of a decode step, one split of the cached keys per workgroup, in workgroup memory
// Formula: as attention-decode-split; a split is ceil(keys / splits) keys, rounded up to a multiple of 16
// Shapes: as attention-decode-split
// Work division: one workgroup per split of one head of one batch row. Eight threads share a key's score along headDim,
//   16 keys at a time; then threads along headDim, in groups that take every n-th key, add the values. All scores of a
//   split stay in workgroup memory, so that its softmax needs no running maximum
// Grid: (splits, H, rows) workgroups of 128 threads with 6.5 KB of workgroup memory; a split has at most 1024 keys
// Error bound: as attention-prefill
// Source: arXiv 2205.14135; flash decoding's split over keys. Appended: shared/cache-*, shared/step,
//   shared/window, shared/capture, shared/score-edit
const THREADS: u32 = 128u;
const MOST_KEYS: u32 = 1024u;
const MASKED = -3.0e38;

struct Params {
  headDim4: u32,      // padded headDim / 4
  valueThreads: u32,  // threads along headDim when values are added: a power of two up to 128
  queryRowStride4: u32,
  headStride4: u32,   // elements from one key/value head to the next
  numSplits: u32,
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
@group(0) @binding(3) var<storage, read_write> partials: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> stats: array<vec2<f32>>;
@group(0) @binding(5) var<storage, read_write> scores: array<f32>;
@group(0) @binding(6) var<uniform> params: Params;

var<workgroup> sums: array<f32, THREADS>;
var<workgroup> weights: array<f32, MOST_KEYS>; // scores, then exp(score − largest)
var<workgroup> groupSums: array<vec4<f32>, THREADS>;

@compute @workgroup_size(THREADS)
fn main(@builtin(local_invocation_index) thread: u32, @builtin(workgroup_id) group: vec3<u32>) {
  let split = group.x;
  let head = group.y;
  let row = group.z;
  let slot = (row * params.numHeads + head) * params.numSplits + split;
  let query = row * params.queryRowStride4 + head * params.headDim4;
  let base = (head / params.group) * params.headStride4;
  let numKeys = rowSlot(row) + 1u;
  let edit = rowEdits(row, head);
  let before = firstKey(row);
  let length = min((((numKeys - before + params.numSplits - 1u) / params.numSplits + 15u) / 16u) * 16u, MOST_KEYS);
  let start = min(before + split * length, numKeys);
  let count = min(length, numKeys - start);
  if (count == 0u) {
    for (var d = thread; d < params.headDim4; d += THREADS) {
      partials[slot * params.headDim4 + d] = vec4<f32>(0.0);
    }
    if (thread == 0u) {
      stats[slot] = vec2<f32>(MASKED, 0.0);
    }
    return;
  }

  for (var first = 0u; first < count; first += THREADS / 8u) {
    let j = first + thread / 8u;
    let at = base + cacheSlot(start + min(j, count - 1u), row) * slotStride();
    var sum = 0.0;
    for (var d = thread % 8u; d < params.headDim4; d += 8u) {
      sum += dot(queries[query + d], loadKey(at, d));
    }
    sums[thread] = sum;
    workgroupBarrier();
    if (thread % 8u == 0u && j < count) {
      var product = sums[thread];
      for (var i = 1u; i < 8u; i++) {
        product += sums[thread + i];
      }
      let score = product * params.scale;
      if (isCaptured(row)) {
        scores[captureOffset(row, head) + start + j] = score;
      }
      weights[j] = editScore(score, start + j, edit);
    }
    workgroupBarrier();
  }

  var largest = MASKED;
  for (var j = thread; j < count; j += THREADS) {
    largest = max(largest, weights[j]);
  }
  sums[thread] = largest;
  workgroupBarrier();
  for (var i = 0u; i < min(count, THREADS); i++) {
    largest = max(largest, sums[i]);
  }
  workgroupBarrier();
  var total = 0.0;
  for (var j = thread; j < count; j += THREADS) {
    let weight = exp(weights[j] - largest);
    weights[j] = weight;
    total += weight;
  }
  sums[thread] = total;
  workgroupBarrier();
  if (thread == 0u) {
    for (var i = 1u; i < min(count, THREADS); i++) {
      total += sums[i];
    }
    stats[slot] = vec2<f32>(largest, total);
  }

  let numGroups = THREADS / params.valueThreads;
  for (var first = 0u; first < params.headDim4; first += params.valueThreads) {
    let d = first + thread % params.valueThreads;
    var sum = vec4<f32>(0.0);
    if (d < params.headDim4) {
      for (var j = thread / params.valueThreads; j < count; j += numGroups) {
        sum += weights[j] * loadValue(base + cacheSlot(start + j, row) * slotStride(), d);
      }
    }
    groupSums[thread] = sum;
    workgroupBarrier();
    if (thread < params.valueThreads && d < params.headDim4) {
      for (var i = 1u; i < numGroups; i++) {
        sum += groupSums[thread + i * params.valueThreads];
      }
      partials[slot * params.headDim4 + d] = sum;
    }
    workgroupBarrier();
  }
}
