// Computes strengths of score edits that depend on a row's own scores; the attention that follows adds them before its softmax
// Formula: over the keys j that a row sees, s_j = scale · queries[r, h] · keys[h/g, j] after the edits before this one, and
//   columns C. Temperature t: strength c = ln Σ_C exp(s_j) − ln Σ_C exp(t · s_j), so that scores t · s_j + c give C the same
//   share as before. Redistribution of a share p, with sinks S = {j < numSlots: sinkActivations[layer, j] >= tau} and A(X) =
//   Σ_X exp(s_j): where some column is a sink, A(C − S) >= rho · A(C) and A(C) >= minimumShare · A(all), strengths ln(1 − p) of
//   the sinks and ln(1 + p · A(S) / A(C − S)) of the other columns, so that what the sinks lose goes to these in proportion;
//   elsewhere 0
// Shapes: queries [rows, .., headDim] f32 · keys [Hkv, capacity, headDim] as shared/cache-* says · sinkActivations
//   [layers, capacity] f32 · row strengths, in edits, [rows, H, 2] f32 · masks of S and C − S, in edits: one bit per key
// Work division: one workgroup per row and head; every thread takes a strided part of the keys with running maxima and sums,
//   the first one merges all 64: one barrier. Temperature scores only the columns. The first head's workgroup packs the masks
// Grid: (computed rows, H) workgroups of 64 threads
// Error bound: scores as matmul over headDim; logarithms of sums of S terms: 1e-6 · (1 + (1 + |t|) · |s|max), absolute
// Source: arXiv 2503.03321 section 5 (redistribution), written as a change of the scores. Appended: shared/cache-*, shared/step,
//   shared/window, shared/score-edit
const THREADS: u32 = 64u;
// A redistribution's rule: (rho, minimumShare, tau as f32, numSlots, word of the columns' mask, its words, numDimensions,
// dimensions …)
const LEAST_KEPT = 1.0e-30; // share of their attention that sinks keep at least, so that its logarithm is finite

struct Params {
  headDim4: u32,      // padded headDim / 4
  queryRowStride4: u32,
  headStride4: u32,   // elements from one key/value head to the next
  numHeads: u32,
  group: u32,         // query heads per key/value head
  layer: u32,
  capacity: u32,      // of sinkActivations
  scale: f32,         // 1 / √headDim
  window: u32,        // keys that a row sees at most when WINDOWED
  rowStart: u32,      // first row that is computed
}
@group(0) @binding(0) var<storage, read> queries: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> sinkActivations: array<f32>;
@group(0) @binding(6) var<uniform> params: Params;
@group(0) @binding(9) var<storage, read_write> edits: array<u32>;

// Sums of exp(score − largest) over keys. Temperature: x of the columns' scores, y of their scores times t, each with its own
// maximum. Redistribution, with one maximum: of all keys, columns, columns that are no sinks, and sinks.
struct Sums {
  largest: vec2<f32>,
  hasSink: bool, // whether some column is a sink
  sums: vec4<f32>,
}
var<workgroup> parts: array<Sums, THREADS>;

// The first edit of the row that has row strengths; 0 for none.
fn editOf(row: u32) -> u32 {
  let start = edits[2u * batchRow(row)];
  var at = start + edits[2u * batchRow(row) + 1u] * EDIT_WORDS;
  var found = 0u;
  while (at > start) {
    at -= EDIT_WORDS;
    found = select(found, at, edits[at + 6u] > 0u);
  }
  return found;
}

// A key's score after the edits before `end`, which have no row strengths.
fn scoreOf(key: u32, row: u32, head: u32, end: u32) -> f32 {
  let query = row * params.queryRowStride4 + head * params.headDim4;
  let slot = (head / params.group) * params.headStride4 + cacheSlot(key, row) * slotStride();
  var sum = 0.0;
  for (var d = 0u; d < params.headDim4; d++) {
    sum += dot(queries[query + d], loadKey(slot, d));
  }
  var score = sum * params.scale;
  for (var at = edits[2u * batchRow(row)]; at < end; at += EDIT_WORDS) {
    score = applyEdit(vec4<f32>(score), vec4<u32>(key), loadEdit(at, row, head)).x;
  }
  return score;
}

fn isSelected(key: u32, maskStart: u32, maskWords: u32) -> bool {
  return key / 32u < maskWords && ((edits[maskStart + key / 32u] >> (key % 32u)) & 1u) == 1u;
}

fn isSink(key: u32, rule: u32) -> bool {
  let tau = bitcast<f32>(edits[rule + 2u]);
  return key < edits[rule + 3u] && sinkActivations[params.layer * params.capacity + key] >= tau;
}

// What one thread adds up of the keys lane, lane + THREADS, …; there is one loop for both kinds of edit, because CPU drivers take
// seconds to compile a second one. The edit before a temperature's multiplies by its factor.
fn partOf(row: u32, head: u32, at: u32, lane: u32) -> Sums {
  let rule = edits[at + 7u];
  let isRedistribution = rule > 0u;
  let factor = select(layerStrength(at, head), 1.0, isRedistribution);
  let editsEnd = select(at - EDIT_WORDS, at, isRedistribution);
  let maskStart = select(edits[at + 3u], edits[rule + 4u], isRedistribution);
  let maskWords = select(edits[at + 4u], edits[rule + 5u], isRedistribution);
  let end = rowSlot(row) + 1u;
  var part = Sums(vec2<f32>(KNOCKED_OUT), false, vec4<f32>(0.0));
  for (var key = firstKey(row) + lane; key < end; key += THREADS) {
    let isColumn = isSelected(key, maskStart, maskWords);
    if (isColumn || isRedistribution) {
      let sink = isRedistribution && isSink(key, rule);
      let score = scoreOf(key, row, head, editsEnd);
      let both = select(vec2<f32>(KNOCKED_OUT), vec2<f32>(score, score * factor), score > KNOCKED_OUT);
      let largest = max(part.largest, both);
      let weights = select(vec2<f32>(0.0), exp(both - largest), score > KNOCKED_OUT);
      let ofColumns = vec4<f32>(weights, 0.0, 0.0);
      let ofGroups = weights.x * vec4<f32>(1.0, f32(isColumn), f32(isColumn && !sink), f32(sink));
      let sums = part.sums * exp(part.largest - largest).xyxx + select(ofColumns, ofGroups, isRedistribution);
      part = Sums(largest, part.hasSink || (isColumn && sink), sums);
    }
  }
  return part;
}

// The parts of the first `numParts` threads. Their number is not a constant, because software drivers would unroll the loops:
// SwiftShader then compiled for half a minute.
fn merged(numParts: u32) -> Sums {
  var all = parts[0];
  for (var i = 1u; i < numParts; i++) {
    let part = parts[i];
    let largest = max(all.largest, part.largest);
    let sums = all.sums * exp(all.largest - largest).xyxx + part.sums * exp(part.largest - largest).xyxx;
    all = Sums(largest, all.hasSink || part.hasSink, sums);
  }
  return all;
}

fn temperatureStrengths(all: Sums) -> vec2<f32> {
  if (all.sums.x == 0.0) {
    return vec2<f32>(0.0); // the row sees none of the columns
  }
  return vec2<f32>(all.largest.x - all.largest.y + log(all.sums.x) - log(all.sums.y), 0.0);
}

fn redistributionStrengths(all: Sums, share: f32, rule: u32) -> vec2<f32> {
  let rho = bitcast<f32>(edits[rule]);
  let minimumShare = bitcast<f32>(edits[rule + 1u]);
  let columns = all.sums.y;
  let others = all.sums.z;
  if (!all.hasSink || others == 0.0 || others < rho * columns || columns < minimumShare * all.sums.x) {
    return vec2<f32>(0.0);
  }
  return vec2<f32>(log(max(1.0 - share, LEAST_KEPT)), log(1.0 + share * all.sums.w / others));
}

// The strength that an edit has for a head of the layer: a temperature's factor, or the share that is moved.
fn layerStrength(at: u32, head: u32) -> f32 {
  return bitcast<f32>(edits[edits[at + 5u] + params.layer * params.numHeads + head]);
}

// Writes the masks of two edits: `at` acts on the sinks, the one behind it on the columns that are none.
fn packMasks(at: u32, lane: u32) {
  let rule = edits[at + 7u];
  for (var word = lane; word < edits[at + 4u]; word += THREADS) {
    var sinks = 0u;
    for (var bit = 0u; bit < 32u; bit++) {
      sinks |= u32(isSink(32u * word + bit, rule)) << bit;
    }
    var columns = 0u;
    if (word < edits[rule + 5u]) {
      columns = edits[edits[rule + 4u] + word];
    }
    edits[edits[at + 3u] + word] = sinks;
    edits[edits[at + EDIT_WORDS + 3u] + word] = columns & ~sinks;
  }
}

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let row = params.rowStart + group.x;
  let head = group.y;
  let slot = rowSlot(row);
  let at = editOf(row);
  let rule = select(0u, edits[at + 7u], at > 0u);
  let isInRows = at > 0u && slot >= edits[at + 1u] && slot < edits[at + 2u];
  let isActive = isInRows && layerStrength(at, head) != select(1.0, 0.0, rule > 0u);
  if (isActive) {
    parts[lane] = partOf(row, head, at, lane);
  }
  workgroupBarrier();
  if (isInRows && lane == 0u) {
    var strengths = vec2<f32>(0.0);
    if (isActive) {
      let all = merged(min(THREADS, slot + 1u));
      strengths = temperatureStrengths(all);
      if (rule > 0u) {
        strengths = redistributionStrengths(all, layerStrength(at, head), rule);
      }
    }
    let first = edits[at + 6u] + 2u * (row * params.numHeads + head);
    edits[first] = bitcast<u32>(strengths.x);
    edits[first + 1u] = bitcast<u32>(strengths.y);
  }
  if (rule > 0u && head == 0u && (group.x == 0u || step.isSequence == 0u)) {
    packMasks(at, lane);
  }
}
