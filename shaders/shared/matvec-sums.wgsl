// One thread's share of a matrix × vector product, for matvec-reduce and matvec-subgroup. Appended with shared/wide-*,
// which load 16 bytes of weights at once. Everything is named and unrolled, so that it stays in registers.
override THREADS: u32 = 128u;  // of a workgroup: 64, 128 or 256
override COLUMNS4: u32 = 1u;   // four or, at 2, eight columns of output a workgroup
override BATCH: u32;           // 1, 2, 4 or 8 rows of output a workgroup: one reading of the weights serves them all

// row<row of the batch><four columns>; B only when COLUMNS4 is 2.
struct Sums {
  row0A: vec4<f32>,
  row1A: vec4<f32>,
  row2A: vec4<f32>,
  row3A: vec4<f32>,
  row4A: vec4<f32>,
  row5A: vec4<f32>,
  row6A: vec4<f32>,
  row7A: vec4<f32>,
  row0B: vec4<f32>,
  row1B: vec4<f32>,
  row2B: vec4<f32>,
  row3B: vec4<f32>,
  row4B: vec4<f32>,
  row5B: vec4<f32>,
  row6B: vec4<f32>,
  row7B: vec4<f32>,
}

fn dots(x: vec4<f32>, a: vec4<f32>, b: vec4<f32>, c: vec4<f32>, d: vec4<f32>) -> vec4<f32> {
  return vec4<f32>(dot(x, a), dot(x, b), dot(x, c), dot(x, d));
}

// Sums over every THREADS-th load of K, from load `lane` on. Past the last row or column that one is summed again.
fn partialSums(lane: u32, column4: u32, row: u32) -> Sums {
  let wA = column4 * 4u * params.weightStride4 / WIDTH;
  let wB = min(column4 + 1u, params.columns4 - 1u) * 4u * params.weightStride4 / WIDTH;
  let stride = params.weightStride4 / WIDTH;
  let lastRow = params.numRows - 1u;
  let lastInner4 = params.inner4 - 1u;
  let x0 = inputRow(min(row + 0u, lastRow));
  let x1 = inputRow(min(row + 1u, lastRow));
  let x2 = inputRow(min(row + 2u, lastRow));
  let x3 = inputRow(min(row + 3u, lastRow));
  let x4 = inputRow(min(row + 4u, lastRow));
  let x5 = inputRow(min(row + 5u, lastRow));
  let x6 = inputRow(min(row + 6u, lastRow));
  let x7 = inputRow(min(row + 7u, lastRow));

  var sums = Sums();
  let numLoads = (params.inner4 + WIDTH - 1u) / WIDTH;
  for (var load = lane; load < numLoads; load += THREADS) {
    let a = loadPacked(wA + load);
    let b = loadPacked(wA + stride + load);
    let c = loadPacked(wA + 2u * stride + load);
    let d = loadPacked(wA + 3u * stride + load);
    var e = Packed();
    var f = Packed();
    var g = Packed();
    var h = Packed();
    if (COLUMNS4 > 1u) {
      e = loadPacked(wB + load);
      f = loadPacked(wB + stride + load);
      g = loadPacked(wB + 2u * stride + load);
      h = loadPacked(wB + 3u * stride + load);
    }
    var part = Sums();
    for (var i = 0u; i < WIDTH; i++) {
      // Where groups pad a row, their weights are 0.
      let at = min(load * WIDTH + i, lastInner4);
      let p = unpackPart(a, i);
      let q = unpackPart(b, i);
      let r = unpackPart(c, i);
      let s = unpackPart(d, i);
      var t = vec4<f32>(0.0);
      var u = vec4<f32>(0.0);
      var v = vec4<f32>(0.0);
      var w = vec4<f32>(0.0);
      if (COLUMNS4 > 1u) {
        t = unpackPart(e, i);
        u = unpackPart(f, i);
        v = unpackPart(g, i);
        w = unpackPart(h, i);
      }
      let y0 = input[x0 + at];
      part.row0A += dots(y0, p, q, r, s);
      if (COLUMNS4 > 1u) {
        part.row0B += dots(y0, t, u, v, w);
      }
      if (BATCH > 1u) {
        let y1 = input[x1 + at];
        part.row1A += dots(y1, p, q, r, s);
        if (COLUMNS4 > 1u) {
          part.row1B += dots(y1, t, u, v, w);
        }
      }
      if (BATCH > 2u) {
        let y2 = input[x2 + at];
        part.row2A += dots(y2, p, q, r, s);
        let y3 = input[x3 + at];
        part.row3A += dots(y3, p, q, r, s);
        if (COLUMNS4 > 1u) {
          part.row2B += dots(y2, t, u, v, w);
          part.row3B += dots(y3, t, u, v, w);
        }
      }
      if (BATCH > 4u) {
        let y4 = input[x4 + at];
        part.row4A += dots(y4, p, q, r, s);
        let y5 = input[x5 + at];
        part.row5A += dots(y5, p, q, r, s);
        let y6 = input[x6 + at];
        part.row6A += dots(y6, p, q, r, s);
        let y7 = input[x7 + at];
        part.row7A += dots(y7, p, q, r, s);
        if (COLUMNS4 > 1u) {
          part.row4B += dots(y4, t, u, v, w);
          part.row5B += dots(y5, t, u, v, w);
          part.row6B += dots(y6, t, u, v, w);
          part.row7B += dots(y7, t, u, v, w);
        }
      }
    }
    let scaleA = vec4<f32>(a.scale, b.scale, c.scale, d.scale);
    let scaleB = vec4<f32>(e.scale, f.scale, g.scale, h.scale);
    sums.row0A += part.row0A * scaleA;
    sums.row1A += part.row1A * scaleA;
    sums.row2A += part.row2A * scaleA;
    sums.row3A += part.row3A * scaleA;
    sums.row4A += part.row4A * scaleA;
    sums.row5A += part.row5A * scaleA;
    sums.row6A += part.row6A * scaleA;
    sums.row7A += part.row7A * scaleA;
    sums.row0B += part.row0B * scaleB;
    sums.row1B += part.row1B * scaleB;
    sums.row2B += part.row2B * scaleB;
    sums.row3B += part.row3B * scaleB;
    sums.row4B += part.row4B * scaleB;
    sums.row5B += part.row5B * scaleB;
    sums.row6B += part.row6B * scaleB;
    sums.row7B += part.row7B * scaleB;
  }
  return sums;
}
