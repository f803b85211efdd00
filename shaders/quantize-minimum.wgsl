// Packs weights into integers of 4 bits with one scale and one minimum per group of 32
// Formula: of each group of 32 weights along a row, in units of 2^-11 of the largest weight's power of two:
//   x = round(weight) − the smallest of them, 0 to 8192; steps(scale, minimum) = clamp(round((x − minimum) / scale), 0, 15)
//   each of four scales, range / 14, 14.5, 15 and 15.5, gives steps; their least-squares line through x gives a scale and a minimum,
//   and these give new steps. Those with the least squared error are fitted once more, which gives the scale, minimum and steps
//   that are stored: a weight is f16(minimum + the smallest) + f16(scale) · step
// Shapes: weight [R, K] f32, f16 or bf16, K a multiple of 4 · steps u32 [R, G, 4] with G = ceil(K / 32), in the order of
//   shared/weight-q4-1 · scales u32 [R, G], a scale and a minimum in f16 · problem [1], set to 1 where a weight is not finite
//   or a minimum is larger than an f16 can be
// Work division: one thread per group
// Grid: (ceil(R · G / 64)) workgroups of 64 threads
// Error bound: exact: the kernel computes with integers, scale and minimum in sixteenths of the unit
// Source: the block format Q4_1 of ggml; the search is that of its make_qkx2_quants (k-quants) with four candidates and without
//   weights. Appended: shared/weight-f32, -f16 or -bf16, shared/round-f16

struct Params {
  numGroups: u32,    // R · G
  groupsPerRow: u32, // G
  inner4: u32,       // K / 4
  groupStart: u32,   // where the first group goes in steps and scales
}
@group(0) @binding(1) var<storage, read_write> steps: array<u32>;
@group(0) @binding(2) var<storage, read_write> scales: array<u32>;
@group(0) @binding(3) var<storage, read_write> problem: array<atomic<u32>>;
@group(0) @binding(4) var<uniform> params: Params;

const SIGN = 0x80000000u;
const MAGNITUDE = 0x7fffffffu;
const F32_INFINITY = 0x7f800000u;
const F16_INFINITY = 0x7c00u;
const LARGEST_ERROR = 11584; // 32 of its square fit a u32

// The x of a group in its vec4s, and how many of them it has: the last of a row may be shorter.
var<private> x: array<vec4<i32>, 8>;
var<private> count4: u32;

// A scale of at least 1 and a minimum, in sixteenths of the unit, and what divides by the scale.
struct Line {
  scale: i32,
  minimum: i32,
  inverse: u32, // 2^26 / scale
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let group = id.x;
  if (group >= params.numGroups) {
    return;
  }
  let row = group / params.groupsPerRow;
  let column4 = (group % params.groupsPerRow) * 8u;
  let first = row * params.inner4 + column4;
  count4 = min(8u, params.inner4 - column4);
  var largest = 0u;
  for (var i = 0u; i < count4; i++) {
    let bits = bitcast<vec4<u32>>(loadWeight(first + i)) & vec4<u32>(MAGNITUDE);
    largest = max(max(largest, max(bits.x, bits.y)), max(bits.z, bits.w));
  }
  let field = i32(largest >> 23u); // 0 if all weights are 0 or subnormal, which count as 0
  let smallest = loadUnits(first, field);
  var most = 0;
  for (var i = 0u; i < count4; i++) {
    most = max(max(most, max(x[i].x, x[i].y)), max(x[i].z, x[i].w));
  }

  var best = Line(0, 0, 0u);
  if (most > 0) {
    var bestError = 0xffffffffu;
    for (var halves = 28; halves < 32; halves++) {
      let line = fitted(lineOf(32 * most / halves, 0));
      let error = errorOf(line);
      if (error < bestError) {
        best = line;
        bestError = error;
      }
    }
    best = fitted(best);
  }

  // 2^-4 for sixteenths, 2^-12 since roundToF16 wants large significands.
  let exponent = field - 138 - 4 - 12;
  let minimum = smallest * 16 + best.minimum;
  let scaleBits = roundToF16(u32(best.scale) << 12u, exponent, false);
  let minimumBits = roundToF16(u32(abs(minimum)) << 12u, exponent, false);
  if (largest >= F32_INFINITY || max(scaleBits, minimumBits) == F16_INFINITY) {
    atomicStore(&problem[0], 1u);
  }
  let at = params.groupStart + group;
  scales[at] = scaleBits | (select(minimumBits, minimumBits | 0x8000u, minimum < 0) << 16u);
  for (var word = 0u; word < 4u; word++) {
    let low = stepsOf(best, word * 2u) << vec4<u32>(0u, 8u, 16u, 24u);
    let high = stepsOf(best, word * 2u + 1u) << vec4<u32>(4u, 12u, 20u, 28u);
    let both = low | high;
    steps[at * 4u + word] = both.x | both.y | both.z | both.w;
  }
}

// Fills x with the weights as whole units of 2^(field − 138) and takes off the smallest, which it returns.
fn loadUnits(first: u32, field: i32) -> i32 {
  var smallest = 0x7fffffff;
  for (var i = 0u; i < count4; i++) {
    let bits = bitcast<vec4<u32>>(loadWeight(first + i));
    x[i] = vec4<i32>(unitsOf(bits.x, field), unitsOf(bits.y, field), unitsOf(bits.z, field), unitsOf(bits.w, field));
    smallest = min(min(smallest, min(x[i].x, x[i].y)), min(x[i].z, x[i].w));
  }
  for (var i = 0u; i < count4; i++) {
    x[i] -= vec4<i32>(smallest);
  }
  return smallest;
}

// The nearest whole number of units, of two the one farther from 0; at most 4096.
fn unitsOf(bits: u32, field: i32) -> i32 {
  let own = i32((bits & MAGNITUDE) >> 23u);
  let shift = u32(field - own + 12);
  if (own == 0 || shift > 24u) {
    return 0;
  }
  let units = i32((((bits & 0x7fffffu) | 0x800000u) + (1u << (shift - 1u))) >> shift);
  return select(units, -units, bits >= SIGN);
}

fn lineOf(scale: i32, minimum: i32) -> Line {
  let positive = max(scale, 1);
  return Line(positive, minimum, (1u << 26u) / u32(positive));
}

// The steps of vec4 `i` of x; 0 where a row has ended.
fn stepsOf(line: Line, i: u32) -> vec4<u32> {
  if (i >= count4) {
    return vec4<u32>(0u);
  }
  let above = clamp(x[i] * 16 - line.minimum + line.scale / 2, vec4<i32>(0), vec4<i32>(line.scale * 16));
  return min((vec4<u32>(above) * line.inverse) >> vec4<u32>(26u), vec4<u32>(15u));
}

// The least-squares line through x over the steps that a line gives.
fn fitted(line: Line) -> Line {
  var sumX = vec4<i32>(0);
  var sumSteps = vec4<i32>(0);
  var sumSquares = vec4<i32>(0);
  var sumProducts = vec4<i32>(0);
  for (var i = 0u; i < count4; i++) {
    let step = vec4<i32>(stepsOf(line, i));
    sumX += x[i];
    sumSteps += step;
    sumSquares += step * step;
    sumProducts += step * x[i];
  }
  let n = i32(count4) * 4;
  let sx = total(sumX);
  let sl = total(sumSteps);
  let sl2 = total(sumSquares);
  let sxl = total(sumProducts);
  let divisor = n * sl2 - sl * sl;
  if (divisor == 0) {
    return line; // all steps are equal
  }
  return lineOf(sixteenths(n * sxl - sx * sl, divisor), sixteenths(sl2 * sx - sl * sxl, divisor));
}

// 16 · dividend / divisor, rounded towards 0 twice.
fn sixteenths(dividend: i32, divisor: i32) -> i32 {
  return dividend / divisor * 16 + dividend % divisor * 16 / divisor;
}

// The sum of the squared errors of the steps that a line gives.
fn errorOf(line: Line) -> u32 {
  var sum = vec4<u32>(0u);
  for (var i = 0u; i < count4; i++) {
    let values = vec4<i32>(stepsOf(line, i)) * line.scale + line.minimum;
    let errors = vec4<u32>(min(abs(x[i] * 16 - values), vec4<i32>(LARGEST_ERROR)));
    sum += errors * errors;
  }
  return sum.x + sum.y + sum.z + sum.w;
}

fn total(sums: vec4<i32>) -> i32 {
  return sums.x + sums.y + sums.z + sums.w;
}
