// As shared/weight-q4-1, a whole group of 32 weights at a time, multiplied with eight vec4s.
@group(0) @binding(0) var<storage, read> weight: array<vec4<u32>>;
@group(0) @binding(9) var<storage, read> scales: array<u32>;

fn lowHalves(word: u32) -> vec4<f32> {
  return vec4<f32>((vec4<u32>(word) >> vec4<u32>(0u, 8u, 16u, 24u)) & vec4<u32>(15u));
}

fn highHalves(word: u32) -> vec4<f32> {
  return vec4<f32>((vec4<u32>(word) >> vec4<u32>(4u, 12u, 20u, 28u)) & vec4<u32>(15u));
}

fn dotGroup(group: u32, a: vec4<f32>, b: vec4<f32>, c: vec4<f32>, d: vec4<f32>, e: vec4<f32>, f: vec4<f32>, g: vec4<f32>, h: vec4<f32>) -> f32 {
  let words = weight[group];
  var sum = a * lowHalves(words.x) + b * highHalves(words.x);
  sum += c * lowHalves(words.y) + d * highHalves(words.y);
  sum += e * lowHalves(words.z) + f * highHalves(words.z);
  sum += g * lowHalves(words.w) + h * highHalves(words.w);
  let inputs = ((a + b) + (c + d)) + ((e + f) + (g + h)); // the same for all columns of a thread
  let pair = unpack2x16float(scales[group]);
  let four = sum * pair.x + inputs * pair.y;
  return four.x + four.y + four.z + four.w;
}
