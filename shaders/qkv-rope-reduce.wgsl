// Formula: as qkv-rope
// Shapes: as qkv-rope
// Work division: one workgroup computes four rotation pairs: 4 columns of a head's first half and the 4 of its second;
//   threads read neighbouring parts of K (coalesced), then add up in shared memory (the choice on GPUs)
// Grid: (headDim / 8, H + 2·Hkv, rows) workgroups of 64 threads
// Error bound: matvec-reduce's for the sums, then rope-append's
// Source: modeling_llama.py LlamaAttention.forward and rotate_half. Appended: shared/weight-*, shared/qkv-rope,
//   shared/step

var<workgroup> partial: array<vec4<f32>, 128>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let pair4 = group.x;
  let head = group.y;
  let row = group.z;
  let x = row * params.inner4;
  let a0 = (head * HEAD_DIM + pair4 * 4u) * params.weightStride4;
  let a1 = a0 + params.weightStride4;
  let a2 = a1 + params.weightStride4;
  let a3 = a2 + params.weightStride4;
  let toSecond = HEAD_DIM / 2u * params.weightStride4;

  var first = vec4<f32>(0.0);
  var second = vec4<f32>(0.0);
  for (var k = lane; k < params.inner4; k += 64u) {
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
  partial[lane] = first;
  partial[lane + 64u] = second;
  for (var width = 32u; width > 0u; width >>= 1u) {
    workgroupBarrier();
    if (lane < width) {
      partial[lane] += partial[lane + width];
      partial[lane + 64u] += partial[lane + 64u + width];
    }
  }
  if (lane == 0u) {
    storePairs(row, head, pair4, partial[0], partial[64]);
  }
}
