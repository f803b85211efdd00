// As shared/columns, for f16 and bf16: two vec4s of weights per load, since on CPU adapters the cost of a load does not depend on
// its size. Appended with shared/wide-f16 or -bf16 and shared/dots, for rows that are a whole number of loads.
fn sumColumns(x: u32, row: u32, lane: u32) -> vec4<f32> {
  let numLoads = params.weightStride4 / WIDTH;
  let w0 = row * numLoads;
  let w1 = w0 + numLoads;
  let w2 = w1 + numLoads;
  let w3 = w2 + numLoads;
  var sum = vec4<f32>(0.0);
  for (var load = 0u; load < numLoads; load++) {
    let a = loadPacked(w0 + load);
    let b = loadPacked(w1 + load);
    let c = loadPacked(w2 + load);
    let d = loadPacked(w3 + load);
    sum += dotParts(input[x + 2u * load], a, b, c, d, 0u);
    sum += dotParts(input[x + 2u * load + 1u], a, b, c, d, 1u);
  }
  return sum;
}

fn dotParts(value: vec4<f32>, a: Packed, b: Packed, c: Packed, d: Packed, part: u32) -> vec4<f32> {
  return dots(value, unpackPart(a, part), unpackPart(b, part), unpackPart(c, part), unpackPart(d, part));
}
