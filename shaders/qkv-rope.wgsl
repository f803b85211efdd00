// Formula: qkv[r, c] = Σ_k input[r, k] · weight[c, k] + bias[c]; then queries and keys are rotated and keys and values
//   appended as in rope-append
// Shapes: input [rows, K] f32 · weight [(H + 2·Hkv)·headDim, K], q, k and v below one another · bias likewise ·
//   queries [rows, (H + 2·Hkv)·headDim] f32, of which the queries' columns are written · keys, values
//   [Hkv, capacity, headDim] f32 · table [positions, headDim] f32: headDim/2 cosines, then as many sines;
//   headDim is a multiple of 8
// Work division: one thread computes four rotation pairs: 4 columns of a head's first half and the 4 of its second; no
//   shared memory, no barrier (the choice on CPU adapters)
// Grid: (ceil((H + 2·Hkv)·headDim / 8 / 8), rows) workgroups of 8 threads
// Error bound: matmul's for the sums, then rope-append's
// Source: modeling_llama.py LlamaAttention.forward and rotate_half. Appended: shared/weight-*, shared/qkv-rope,
//   shared/step

@compute @workgroup_size(8)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let head = id.x / half4();
  let pair4 = id.x % half4();
  let row = id.y;
  if (head >= NUM_HEADS + 2u * NUM_KEY_VALUE_HEADS) {
    return;
  }
  let x = row * params.inner4;
  let a0 = (head * HEAD_DIM + pair4 * 4u) * params.weightStride4;
  let a1 = a0 + params.weightStride4;
  let a2 = a1 + params.weightStride4;
  let a3 = a2 + params.weightStride4;
  let toSecond = HEAD_DIM / 2u * params.weightStride4;

  var first = vec4<f32>(0.0);
  var second = vec4<f32>(0.0);
  for (var k = 0u; k < params.inner4; k++) {
    let value = input[x + k];
    first += vec4<f32>(
      dot(value, loadWeight(a0 + k)),
      dot(value, loadWeight(a1 + k)),
      dot(value, loadWeight(a2 + k)),
      dot(value, loadWeight(a3 + k)),
    );
    second += vec4<f32>(
      dot(value, loadWeight(a0 + toSecond + k)),
      dot(value, loadWeight(a1 + toSecond + k)),
      dot(value, loadWeight(a2 + toSecond + k)),
      dot(value, loadWeight(a3 + toSecond + k)),
    );
  }
  storePairs(row, head, pair4, first, second);
}
