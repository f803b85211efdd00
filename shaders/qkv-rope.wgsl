// Computes and rotates the queries and keys of a decode step, and its values; keys and values go into the cache
// Formula: qkv[r, c] = Σ_k input[r, k] · weight[c, k] + bias[c]; then queries and keys are rotated and keys and values
//   appended as in rope-append
// Shapes: input [rows, K] f32 · weight [(H + 2·Hkv)·headDim, K], q, k and v stacked by rows · bias likewise ·
//   queries [rows, (H + 2·Hkv)·headDim] f32, of which the queries' columns are written · keys, values
//   [Hkv, capacity, headDim] f32 · rotary [rows, headDim] f32: headDim/2 cosines, then as many sines;
//   headDim is a multiple of 8
// Work division: one thread computes four rotation pairs: 4 columns of a head's first half and the 4 of its second; no
//   shared memory, no barrier (the choice on CPU adapters)
// Grid: (ceil((H + 2·Hkv)·headDim / 8 / 8), rows) workgroups of 8 threads
// Error bound: matmul's for the sums, then rope-append's
// Source: modeling_llama.py LlamaAttention.forward and rotate_half. Appended: as for
//   matvec the first two, shared/input, shared/qkv-rope, shared/step

@compute @workgroup_size(8)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let numPairs4 = (NUM_HEADS + 2u * NUM_KEY_VALUE_HEADS) * half4();
  // Past the last pair a thread computes it again and stores nothing.
  let at = min(id.x, numPairs4 - 1u);
  let head = at / half4();
  let pair4 = at % half4();
  let x = inputRow(id.y);
  let firstRow = head * HEAD_DIM + pair4 * 4u;
  let first = sumColumns(x, firstRow, lane);
  let second = sumColumns(x, firstRow + HEAD_DIM / 2u, lane);
  if (id.x < numPairs4) {
    storePairs(id.y, head, pair4, first, second);
  }
}
