// As shared/columns, for quantised weights on CPU adapters with subgroups, a group of 32 at a time: the threads of a quad
// share their loads of the input row (the same for all four), and dotGroup unpacks each word of weights once. Appended with
// shared/group-* and declarations of input and params; every thread of the workgroup has to call it.
enable subgroups;

fn inputPart(x: u32, k: u32) -> vec4<f32> {
  // Past the row's end stands something else, and only the weights there are 0.
  return select(vec4<f32>(0.0), input[x + k], k < params.inner4);
}

fn sumColumns(x: u32, row: u32, lane: u32) -> vec4<f32> {
  let numGroups = params.weightStride4 / 8u;
  let g0 = row * numGroups;
  let g1 = g0 + numGroups;
  let g2 = g1 + numGroups;
  let g3 = g2 + numGroups;
  var sum = vec4<f32>(0.0);
  for (var g = 0u; g < numGroups; g++) {
    let p = inputPart(x, g * 8u + (lane & 3u));
    let q = inputPart(x, g * 8u + 4u + (lane & 3u));
    let a = quadBroadcast(p, 0u);
    let b = quadBroadcast(p, 1u);
    let c = quadBroadcast(p, 2u);
    let d = quadBroadcast(p, 3u);
    let e = quadBroadcast(q, 0u);
    let f = quadBroadcast(q, 1u);
    let h = quadBroadcast(q, 2u);
    let i = quadBroadcast(q, 3u);
    sum += vec4<f32>(
      dotGroup(g0 + g, a, b, c, d, e, f, h, i),
      dotGroup(g1 + g, a, b, c, d, e, f, h, i),
      dotGroup(g2 + g, a, b, c, d, e, f, h, i),
      dotGroup(g3 + g, a, b, c, d, e, f, h, i),
    );
  }
  return sum;
}
