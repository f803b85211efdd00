// Computes the attention of a decode step for each split of the cached keys separately; attention-decode-reduce merges the splits
// Formula: per split of the keys: m = max_j s_j, l = Σ_j exp(s_j − m), o = Σ_j exp(s_j − m) · values[h/g, j], with
//   s_j = edit(scale · queries[b, h] · keys[h/g, j]), edit as in shared/score-edit; j is no further back than the row's window
//   when WINDOWED
// Shapes: queries [rows, .., headDim] f32 · keys, values [Hkv, capacity, headDim] as shared/cache-* says · partials
//   [rows, H, splits, headDim] f32 · stats [rows, H, splits] of (m, l) · scores [captured rows, H, S] f32 when CAPTURE
// Work division: one thread per split (a contiguous run of keys) of one head of one batch row; keys in blocks of 4;
//   each thread accumulates in its own part of partials (why: see attention-prefill)
// Grid: (splits / THREADS, H, rows) workgroups of THREADS threads
// Error bound: as attention-prefill
// Source: arXiv 2205.14135; flash decoding's split over keys. Appended: shared/cache-*,
//   shared/step, shared/window, shared/capture, shared/score-edit
override GROUP: u32;     // query heads per key/value head
override THREADS: u32 = 32u;
const BLOCK: u32 = 4u; // on lavapipe, 8 compiles three times as long and runs no faster

struct Params {
  headDim4: u32,      // padded headDim / 4
  queryRowStride4: u32,
  headStride4: u32,   // elements from one key/value head to the next
  numSplits: u32,
  numHeads: u32,
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

@compute @workgroup_size(THREADS)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let split = id.x;
  let head = id.y;
  let row = id.z;
  let slot = (row * params.numHeads + head) * params.numSplits + split;
  let partial = slot * params.headDim4;
  let query = row * params.queryRowStride4 + head * params.headDim4;
  let base = (head / GROUP) * params.headStride4;
  let numKeys = rowSlot(row) + 1u;
  let edit = rowEdits(row, head);
  let captureAt = captureOffset(row, head);
  let before = firstKey(row);
  let length = (numKeys - before + params.numSplits - 1u) / params.numSplits;
  let start = min(before + split * length, numKeys);
  let end = min(start + length, numKeys);

  for (var d = 0u; d < params.headDim4; d++) {
    partials[partial + d] = vec4<f32>(0.0);
  }
  var largest = -3.0e38;
  var total = 0.0;
  for (var first = start; first < end; first += BLOCK) {
    // Spelt out: Dawn and wgpu (gfx-rs/wgpu issue 9489) set a variable without an initial value to 0 only once, before the loop.
    var s = array<f32, BLOCK>();
    var at = array<u32, BLOCK>();
    for (var j = 0u; j < BLOCK; j++) {
      at[j] = base + cacheSlot(min(first + j, end - 1u), row) * slotStride();
    }
    for (var d = 0u; d < params.headDim4; d++) {
      let q = queries[query + d];
      for (var j = 0u; j < BLOCK; j++) {
        s[j] += dot(q, loadKey(at[j], d));
      }
    }
    var blockLargest = largest;
    for (var j = 0u; j < BLOCK; j++) {
      s[j] *= params.scale;
      if (isCaptured(row) && first + j < end) {
        scores[captureAt + first + j] = s[j];
      }
      s[j] = editScore(s[j], first + j, edit);
      if (first + j < end) {
        blockLargest = max(blockLargest, s[j]);
      }
    }
    let correction = exp(largest - blockLargest);
    largest = blockLargest;
    total *= correction;
    for (var j = 0u; j < BLOCK; j++) {
      s[j] = select(0.0, exp(s[j] - largest), first + j < end);
      total += s[j];
    }
    for (var d = 0u; d < params.headDim4; d++) {
      var sum = partials[partial + d] * correction;
      for (var j = 0u; j < BLOCK; j++) {
        sum += s[j] * loadValue(at[j], d);
      }
      partials[partial + d] = sum;
    }
  }
  stats[slot] = vec2<f32>(largest, total);
}
