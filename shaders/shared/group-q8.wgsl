// As shared/weight-q8, a whole group of 32 weights at a time, multiplied with eight vec4s.
@group(0) @binding(0) var<storage, read> weight: array<u32>;
@group(0) @binding(9) var<storage, read> scales: array<u32>;

fn bytes(word: u32) -> vec4<f32> {
  return vec4<f32>((vec4<i32>(bitcast<i32>(word)) << vec4<u32>(24u, 16u, 8u, 0u)) >> vec4<u32>(24u));
}

fn dotGroup(group: u32, a: vec4<f32>, b: vec4<f32>, c: vec4<f32>, d: vec4<f32>, e: vec4<f32>, f: vec4<f32>, g: vec4<f32>, h: vec4<f32>) -> f32 {
  let at = group * 8u;
  var sum = a * bytes(weight[at]);
  sum += b * bytes(weight[at + 1u]);
  sum += c * bytes(weight[at + 2u]);
  sum += d * bytes(weight[at + 3u]);
  sum += e * bytes(weight[at + 4u]);
  sum += f * bytes(weight[at + 5u]);
  sum += g * bytes(weight[at + 6u]);
  sum += h * bytes(weight[at + 7u]);
  let pair = unpack2x16float(scales[group >> 1u]);
  return (sum.x + sum.y + sum.z + sum.w) * select(pair.x, pair.y, (group & 1u) != 0u);
}
