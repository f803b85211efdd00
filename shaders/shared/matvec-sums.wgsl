// One thread's share of a matrix × vector product over inputs in f32. Appended with shared/matvec-totals, and shared/wide-*, which
// load 16 bytes of weights at once.

// Vec4 `at` of a row of input; 0 in the padding of the last group.
fn inputValue(row: u32, at: u32) -> vec4<f32> {
  if (IS_PADDED && at >= params.inner4) {
    return vec4<f32>(0.0);
  }
  return input[row + at];
}

// sum + x · weights of four columns, one rounding per step.
fn addDots(sum: vec4<f32>, x: vec4<f32>, a: vec4<f32>, b: vec4<f32>, c: vec4<f32>, d: vec4<f32>) -> vec4<f32> {
  let first = fma(vec4<f32>(x.x), vec4<f32>(a.x, b.x, c.x, d.x), sum);
  let second = fma(vec4<f32>(x.y), vec4<f32>(a.y, b.y, c.y, d.y), first);
  let third = fma(vec4<f32>(x.z), vec4<f32>(a.z, b.z, c.z, d.z), second);
  return fma(vec4<f32>(x.w), vec4<f32>(a.w, b.w, c.w, d.w), third);
}

// Sums over every THREADS-th load of K, from load `lane` on: of rows `row` on with four rows of weights each from load `a` and
// from load `b` on. Past the last row that one is summed again.
fn partialSums(lane: u32, a: u32, b: u32, row: u32) -> Sums {
  let stride = params.weightStride4 / WIDTH;
  let lastRow = params.numRows - 1u;
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
    let a0 = loadPacked(a + load);
    let a1 = loadPacked(a + stride + load);
    let a2 = loadPacked(a + 2u * stride + load);
    let a3 = loadPacked(a + 3u * stride + load);
    var b0 = Packed();
    var b1 = Packed();
    var b2 = Packed();
    var b3 = Packed();
    if (COLUMNS4 > 1u) {
      b0 = loadPacked(b + load);
      b1 = loadPacked(b + stride + load);
      b2 = loadPacked(b + 2u * stride + load);
      b3 = loadPacked(b + 3u * stride + load);
    }
    var part = Sums();
    for (var i = 0u; i < WIDTH; i++) {
      let at = load * WIDTH + i;
      let p0 = unpackPart(a0, i);
      let p1 = unpackPart(a1, i);
      let p2 = unpackPart(a2, i);
      let p3 = unpackPart(a3, i);
      var q0 = vec4<f32>(0.0);
      var q1 = vec4<f32>(0.0);
      var q2 = vec4<f32>(0.0);
      var q3 = vec4<f32>(0.0);
      if (COLUMNS4 > 1u) {
        q0 = unpackPart(b0, i);
        q1 = unpackPart(b1, i);
        q2 = unpackPart(b2, i);
        q3 = unpackPart(b3, i);
      }
      let y0 = inputValue(x0, at);
      part.row0A = addDots(part.row0A, y0, p0, p1, p2, p3);
      if (COLUMNS4 > 1u) {
        part.row0B = addDots(part.row0B, y0, q0, q1, q2, q3);
      }
      if (OFFSET > 0.0) {
        part.input0 += y0;
      }
      if (BATCH > 1u) {
        let y1 = inputValue(x1, at);
        part.row1A = addDots(part.row1A, y1, p0, p1, p2, p3);
        if (COLUMNS4 > 1u) {
          part.row1B = addDots(part.row1B, y1, q0, q1, q2, q3);
        }
        if (OFFSET > 0.0) {
          part.input1 += y1;
        }
      }
      if (BATCH > 2u) {
        let y2 = inputValue(x2, at);
        part.row2A = addDots(part.row2A, y2, p0, p1, p2, p3);
        let y3 = inputValue(x3, at);
        part.row3A = addDots(part.row3A, y3, p0, p1, p2, p3);
        if (COLUMNS4 > 1u) {
          part.row2B = addDots(part.row2B, y2, q0, q1, q2, q3);
          part.row3B = addDots(part.row3B, y3, q0, q1, q2, q3);
        }
        if (OFFSET > 0.0) {
          part.input2 += y2;
          part.input3 += y3;
        }
      }
      if (BATCH > 4u) {
        let y4 = inputValue(x4, at);
        part.row4A = addDots(part.row4A, y4, p0, p1, p2, p3);
        let y5 = inputValue(x5, at);
        part.row5A = addDots(part.row5A, y5, p0, p1, p2, p3);
        let y6 = inputValue(x6, at);
        part.row6A = addDots(part.row6A, y6, p0, p1, p2, p3);
        let y7 = inputValue(x7, at);
        part.row7A = addDots(part.row7A, y7, p0, p1, p2, p3);
        if (COLUMNS4 > 1u) {
          part.row4B = addDots(part.row4B, y4, q0, q1, q2, q3);
          part.row5B = addDots(part.row5B, y5, q0, q1, q2, q3);
          part.row6B = addDots(part.row6B, y6, q0, q1, q2, q3);
          part.row7B = addDots(part.row7B, y7, q0, q1, q2, q3);
        }
        if (OFFSET > 0.0) {
          part.input4 += y4;
          part.input5 += y5;
          part.input6 += y6;
          part.input7 += y7;
        }
      }
    }
    let scaleA = vec4<f32>(a0.scale, a1.scale, a2.scale, a3.scale);
    let scaleB = vec4<f32>(b0.scale, b1.scale, b2.scale, b3.scale);
    let minimumA = vec4<f32>(a0.minimum, a1.minimum, a2.minimum, a3.minimum);
    let minimumB = vec4<f32>(b0.minimum, b1.minimum, b2.minimum, b3.minimum);
    sums.row0A = addPart(sums.row0A, part.row0A, part.input0, scaleA, minimumA);
    sums.row1A = addPart(sums.row1A, part.row1A, part.input1, scaleA, minimumA);
    sums.row2A = addPart(sums.row2A, part.row2A, part.input2, scaleA, minimumA);
    sums.row3A = addPart(sums.row3A, part.row3A, part.input3, scaleA, minimumA);
    sums.row4A = addPart(sums.row4A, part.row4A, part.input4, scaleA, minimumA);
    sums.row5A = addPart(sums.row5A, part.row5A, part.input5, scaleA, minimumA);
    sums.row6A = addPart(sums.row6A, part.row6A, part.input6, scaleA, minimumA);
    sums.row7A = addPart(sums.row7A, part.row7A, part.input7, scaleA, minimumA);
    sums.row0B = addPart(sums.row0B, part.row0B, part.input0, scaleB, minimumB);
    sums.row1B = addPart(sums.row1B, part.row1B, part.input1, scaleB, minimumB);
    sums.row2B = addPart(sums.row2B, part.row2B, part.input2, scaleB, minimumB);
    sums.row3B = addPart(sums.row3B, part.row3B, part.input3, scaleB, minimumB);
    sums.row4B = addPart(sums.row4B, part.row4B, part.input4, scaleB, minimumB);
    sums.row5B = addPart(sums.row5B, part.row5B, part.input5, scaleB, minimumB);
    sums.row6B = addPart(sums.row6B, part.row6B, part.input6, scaleB, minimumB);
    sums.row7B = addPart(sums.row7B, part.row7B, part.input7, scaleB, minimumB);
  }
  return sums;
}

// Adds the sums of one load, whose weights were unpacked with OFFSET added to each and without their scale and minimum.
fn addPart(sum: vec4<f32>, part: vec4<f32>, input: vec4<f32>, scale: vec4<f32>, minimum: vec4<f32>) -> vec4<f32> {
  if (HAS_MINIMUM) {
    let inputs = vec4<f32>(dot(input, vec4<f32>(1.0)));
    return fma(part - OFFSET * inputs, scale, fma(inputs, minimum, sum));
  }
  if (OFFSET > 0.0) {
    return fma(part - OFFSET * dot(input, vec4<f32>(1.0)), scale, sum);
  }
  return sum + part;
}
