// sum + x · weights of four columns, with one rounding a step: a sum of dot products would take an addition more.
fn addDots(sum: vec4<f32>, x: vec4<f32>, a: vec4<f32>, b: vec4<f32>, c: vec4<f32>, d: vec4<f32>) -> vec4<f32> {
  let first = fma(vec4<f32>(x.x), vec4<f32>(a.x, b.x, c.x, d.x), sum);
  let second = fma(vec4<f32>(x.y), vec4<f32>(a.y, b.y, c.y, d.y), first);
  let third = fma(vec4<f32>(x.z), vec4<f32>(a.z, b.z, c.z, d.z), second);
  return fma(vec4<f32>(x.w), vec4<f32>(a.w, b.w, c.w, d.w), third);
}
