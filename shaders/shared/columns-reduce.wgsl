// Σ_k of one input row with twice four neighbouring rows of the weight, by a workgroup of 64 threads: they read neighbouring
// parts of K, then add up in shared memory. Appended with shared/weight-* and declarations of input and params; every thread
// of the workgroup has to call it.
var<workgroup> partial: array<vec4<f32>, 128>;

struct TwoSums {
  first: vec4<f32>,
  second: vec4<f32>,
}

// Thread 0's result is the whole.
fn sumTwice(x: u32, firstRow: u32, secondRow: u32, lane: u32) -> TwoSums {
  partial[lane] = partOfColumns(x, firstRow, lane);
  partial[lane + 64u] = partOfColumns(x, secondRow, lane);
  for (var width = 32u; width > 0u; width >>= 1u) {
    workgroupBarrier();
    if (lane < width) {
      partial[lane] += partial[lane + width];
      partial[lane + 64u] += partial[lane + 64u + width];
    }
  }
  return TwoSums(partial[lane], partial[lane + 64u]);
}

fn partOfColumns(x: u32, row: u32, lane: u32) -> vec4<f32> {
  let w0 = row * params.weightStride4;
  let w1 = w0 + params.weightStride4;
  let w2 = w1 + params.weightStride4;
  let w3 = w2 + params.weightStride4;
  var sum = vec4<f32>(0.0);
  for (var k = lane; k < params.inner4; k += 64u) {
    let value = input[x + k];
    sum += vec4<f32>(
      dot(value, loadWeight(w0 + k)),
      dot(value, loadWeight(w1 + k)),
      dot(value, loadWeight(w2 + k)),
      dot(value, loadWeight(w3 + k)),
    );
  }
  return sum;
}
