// What the prefill kernels of attention share: variants, parameters and bindings. Appended with shared/cache-*
// (bindings 1 and 2), shared/step (binding 8), shared/window, shared/capture and shared/score-edit (binding 9).
// Rows of a vision tower with window attention each see one block of keys; blocks never go back from one row to the next.
override CAUSAL: bool;
override BLOCKED: bool; // false: `blocks` is not read

struct Params {
  headDim4: u32,          // padded headDim / 4
  numRows: u32,
  numKeys: u32,           // keys of every row when not CAUSAL
  queryRowStride4: u32,
  keyOffset4: u32,        // first element of the keys in their buffer
  valueOffset4: u32,      // first element of the values in theirs
  positionStride4: u32,   // from one key to the next
  headStride4: u32,       // from one key/value head to the next
  outputRowStride4: u32,
  numHeads: u32,
  group: u32,             // query heads per key/value head
  layer: u32,
  captureStart: u32,
  captureEnd: u32,
  captureTarget: u32,
  captureStride: u32,     // S
  scale: f32,             // 1 / √headDim
  window: u32,            // keys that a row sees at most when WINDOWED
}
@group(0) @binding(0) var<storage, read> queries: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> output: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> scores: array<f32>;
@group(0) @binding(5) var<storage, read_write> probs: array<f32>;
@group(0) @binding(6) var<uniform> params: Params;
@group(0) @binding(7) var<storage, read> blocks: array<vec2<u32>>; // of each row the keys [x, y) that it sees when BLOCKED

// The first key that a row sees. With blocks, WINDOWED is true too: rows then mask keys before their first.
fn firstSeen(row: u32) -> u32 {
  if (BLOCKED) {
    return blocks[row].x;
  }
  return firstKey(row);
}

// Where the keys that a row sees end.
fn endSeen(row: u32) -> u32 {
  if (BLOCKED) {
    return blocks[row].y;
  }
  return select(params.numKeys, rowSlot(row) + 1u, CAUSAL);
}
