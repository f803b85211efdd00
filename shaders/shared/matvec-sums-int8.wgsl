// One thread's share of a matrix × vector product of integers: steps of 8 or 4 bits of the weights times steps of 8 bits of the
// input, which quantize-activations wrote. Appended with shared/matvec-totals, shared/dot-q8, -q4 or -q4-1, and shared/wide-load-scaled or -minimum.

@group(0) @binding(1) var<storage, read> input: array<vec4<u32>>;

// Vec4s of a group of 32 inputs: two of steps, one with the group's scale.
const GROUP_VEC4S = 3u;

// The inputs that one load of weights is multiplied with.
struct Steps {
  low: vec4<u32>,
  high: vec4<u32>, // only with q4, whose loads hold twice as many weights
  scale: f32,
  offset: f32, // the part of the sum that the offset of the weights' steps adds, to be subtracted; with minima the sum itself
}

fn loadSteps(rowGroup: u32, load: u32) -> Steps {
  let at = (rowGroup + load / LOADS_PER_GROUP) * GROUP_VEC4S;
  let info = bitcast<vec2<f32>>(input[at + 2u].xy);
  var steps = Steps(input[at + load % LOADS_PER_GROUP], vec4<u32>(0u), info.x, select(STEP_OFFSET, 1.0, HAS_MINIMUM) * info.y);
  if (LOADS_PER_GROUP == 1u) {
    steps.high = input[at + 1u];
  }
  return steps;
}

// sum + x · weights of four columns.
fn addLoads(sum: vec4<f32>, x: Steps, a: Packed, b: Packed, c: Packed, d: Packed) -> vec4<f32> {
  let dots = vec4<f32>(vec4<i32>(dotSteps(a, x), dotSteps(b, x), dotSteps(c, x), dotSteps(d, x)));
  let scale = vec4<f32>(a.scale, b.scale, c.scale, d.scale);
  if (HAS_MINIMUM) {
    let minimum = vec4<f32>(a.minimum, b.minimum, c.minimum, d.minimum);
    return fma(dots, x.scale * scale, fma(vec4<f32>(x.offset), minimum, sum));
  }
  if (STEP_OFFSET > 0.0) {
    return fma(fma(dots, vec4<f32>(x.scale), vec4<f32>(-x.offset)), scale, sum);
  }
  return fma(dots, x.scale * scale, sum);
}

// Sums over every THREADS-th load of K, with the arguments of shared/matvec-sums' function.
fn partialSums(lane: u32, a: u32, b: u32, row: u32) -> Sums {
  let stride = params.weightStride4 / WIDTH;
  let groups = params.weightStride4 / 8u;
  let lastRow = params.numRows - 1u;
  let x0 = min(row + 0u, lastRow) * groups;
  let x1 = min(row + 1u, lastRow) * groups;
  let x2 = min(row + 2u, lastRow) * groups;
  let x3 = min(row + 3u, lastRow) * groups;
  let x4 = min(row + 4u, lastRow) * groups;
  let x5 = min(row + 5u, lastRow) * groups;
  let x6 = min(row + 6u, lastRow) * groups;
  let x7 = min(row + 7u, lastRow) * groups;

  var sums = Sums();
  for (var load = lane; load < stride; load += THREADS) {
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
    let y0 = loadSteps(x0, load);
    sums.row0A = addLoads(sums.row0A, y0, a0, a1, a2, a3);
    if (COLUMNS4 > 1u) {
      sums.row0B = addLoads(sums.row0B, y0, b0, b1, b2, b3);
    }
    if (BATCH > 1u) {
      let y1 = loadSteps(x1, load);
      sums.row1A = addLoads(sums.row1A, y1, a0, a1, a2, a3);
      if (COLUMNS4 > 1u) {
        sums.row1B = addLoads(sums.row1B, y1, b0, b1, b2, b3);
      }
    }
    if (BATCH > 2u) {
      let y2 = loadSteps(x2, load);
      sums.row2A = addLoads(sums.row2A, y2, a0, a1, a2, a3);
      let y3 = loadSteps(x3, load);
      sums.row3A = addLoads(sums.row3A, y3, a0, a1, a2, a3);
      if (COLUMNS4 > 1u) {
        sums.row2B = addLoads(sums.row2B, y2, b0, b1, b2, b3);
        sums.row3B = addLoads(sums.row3B, y3, b0, b1, b2, b3);
      }
    }
    if (BATCH > 4u) {
      let y4 = loadSteps(x4, load);
      sums.row4A = addLoads(sums.row4A, y4, a0, a1, a2, a3);
      let y5 = loadSteps(x5, load);
      sums.row5A = addLoads(sums.row5A, y5, a0, a1, a2, a3);
      let y6 = loadSteps(x6, load);
      sums.row6A = addLoads(sums.row6A, y6, a0, a1, a2, a3);
      let y7 = loadSteps(x7, load);
      sums.row7A = addLoads(sums.row7A, y7, a0, a1, a2, a3);
      if (COLUMNS4 > 1u) {
        sums.row4B = addLoads(sums.row4B, y4, b0, b1, b2, b3);
        sums.row5B = addLoads(sums.row5B, y5, b0, b1, b2, b3);
        sums.row6B = addLoads(sums.row6B, y6, b0, b1, b2, b3);
        sums.row7B = addLoads(sums.row7B, y7, b0, b1, b2, b3);
      }
    }
  }
  return sums;
}
