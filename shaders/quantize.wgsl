// Packs weights into integers of 8 or 4 bits with one scale per group of 32
// Formula: of each group of 32 weights along a row, with `largest` the first one of the largest magnitude:
//   8 bits: scale = f16(|largest| / 127), step = clamp(round(weight / scale), −127, 127);
//   4 bits: scale = f16(largest / −8), step = clamp(round(weight / scale), −8, 7), stored as step + 8
// Shapes: weight [R, K] f32, f16 or bf16, K a multiple of 4 · steps u32 [R, G, BITS] with G = ceil(K / 32), in the order of
//   shared/weight-q8 and shared/weight-q4 · scales f16 [R, G], two to a u32 · problem [1], set to 1 where a weight is not
//   finite or a scale is larger than an f16 can be
// Work division: one thread per two groups, whose scales share a word
// Grid: (ceil(R · G / 2 / 64)) workgroups of 64 threads
// Error bound: exact, ties to even: WGSL's float division may be off by 2.5 ulp, so the kernel computes with integers
// Source: the block formats Q8_0 and Q4_0 of ggml, with the scale rounded to f16 before the weights are divided by it.
//   Appended: shared/weight-f32, -f16 or -bf16, shared/round-f16
override BITS: u32;

struct Params {
  numGroups: u32,    // R · G
  groupsPerRow: u32, // G
  inner4: u32,       // K / 4
  groupStart: u32,   // where the first group goes in steps and scales; even
}
@group(0) @binding(1) var<storage, read_write> steps: array<u32>;
@group(0) @binding(2) var<storage, read_write> scales: array<u32>;
@group(0) @binding(3) var<storage, read_write> problem: array<atomic<u32>>;
@group(0) @binding(4) var<uniform> params: Params;

const SIGN = 0x80000000u;
const MAGNITUDE = 0x7fffffffu;
const F32_INFINITY = 0x7f800000u;
const F16_INFINITY = 0x7c00u;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let group = id.x * 2u;
  if (group >= params.numGroups) {
    return;
  }
  var pair = quantizeGroup(group);
  if (group + 1u < params.numGroups) {
    pair |= quantizeGroup(group + 1u) << 16u;
  }
  scales[(params.groupStart + group) >> 1u] = pair;
}

// Stores the steps of one group and returns its scale.
fn quantizeGroup(group: u32) -> u32 {
  let row = group / params.groupsPerRow;
  let column4 = (group % params.groupsPerRow) * 8u;
  var weights = array<vec4<u32>, 8>(); // the bits of f32s
  var largest = 0u;
  for (var i = 0u; i < 8u && column4 + i < params.inner4; i++) {
    weights[i] = bitcast<vec4<u32>>(loadWeight(row * params.inner4 + column4 + i));
    for (var j = 0u; j < 4u; j++) {
      let bits = weights[i][j];
      if ((bits & MAGNITUDE) > (largest & MAGNITUDE)) {
        largest = bits;
      }
    }
  }

  let scale = scaleOf(largest);
  if ((largest & MAGNITUDE) >= F32_INFINITY || (scale & F16_INFINITY) == F16_INFINITY) {
    atomicStore(&problem[0], 1u);
  }
  let divisor = divisorOf(scale);
  let signFlip = (scale & 0x8000u) << 16u;
  let at = (params.groupStart + group) * BITS;
  for (var word = 0u; word < BITS; word++) {
    var value = 0u;
    if (BITS == 8u) {
      for (var j = 0u; j < 4u; j++) {
        let bits = weights[word][j] ^ signFlip;
        let step = min(magnitudeOf(bits, divisor), 127u);
        value |= (select(step, 0u - step, bits >= SIGN) & 255u) << (j * 8u);
      }
    } else {
      for (var j = 0u; j < 8u; j++) {
        let bits = weights[word * 2u + j / 4u][j % 4u] ^ signFlip;
        let step = magnitudeOf(bits, divisor);
        value |= select(8u + min(step, 7u), 8u - min(step, 8u), bits >= SIGN) << ((j % 4u) * 8u + (j / 4u) * 4u);
      }
    }
    steps[at + word] = value;
  }
  return scale;
}

// The bits of the f16 scale of a group whose largest weight has these f32 bits; a subnormal f32 counts as 0.
fn scaleOf(largest: u32) -> u32 {
  let field = (largest & MAGNITUDE) >> 23u;
  if (field == 0u) {
    return 0u;
  }
  let significand = significandOf(largest);
  if (BITS == 4u) {
    return roundToF16(significand, i32(field) - 153, false) | (((largest ^ SIGN) & SIGN) >> 16u);
  }
  // Seven bits more than the significand has, so that the quotient has all that an f16 needs.
  let dividend = significand << 7u;
  return roundToF16(dividend / 127u, i32(field) - 157, dividend % 127u != 0u);
}

// A scale's magnitude as significand · 2^exponent with 24 bits; the significand is 0 for a scale of 0.
struct Divisor {
  significand: u32,
  exponent: i32,
}

fn divisorOf(scale: u32) -> Divisor {
  let field = (scale >> 10u) & 31u;
  let significand = (scale & 1023u) + select(1024u, 0u, field == 0u);
  if (significand == 0u) {
    return Divisor(0u, 0);
  }
  let shift = 23u - firstLeadingBit(significand);
  return Divisor(significand << shift, max(i32(field), 1) - 25 - i32(shift));
}

// |weight| / divisor to the nearest whole number, ties to even; 255 for anything from 128 on.
fn magnitudeOf(bits: u32, divisor: Divisor) -> u32 {
  let field = (bits & MAGNITUDE) >> 23u;
  if (field == 0u || divisor.significand == 0u) {
    return 0u;
  }
  let significand = significandOf(bits);
  let shift = i32(field) - 150 - divisor.exponent;
  if (shift < 0) {
    return select(0u, 1u, shift == -1 && significand > divisor.significand); // below 1, at most half below shift −1
  }
  if (shift > 7) {
    return 255u;
  }
  let dividend = significand << u32(shift);
  let quotient = dividend / divisor.significand;
  let twice = (dividend - quotient * divisor.significand) * 2u;
  let isUp = twice > divisor.significand || (twice == divisor.significand && (quotient & 1u) == 1u);
  return quotient + select(0u, 1u, isUp);
}

fn significandOf(bits: u32) -> u32 {
  return (bits & 0x7fffffu) | 0x800000u;
}
