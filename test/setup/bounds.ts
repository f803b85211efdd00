// Every numerical bound of the tests, each with its reason. A test that fails a bound is a bug to understand, not a bound
// to raise: CEILING is what no bound may exceed (test/kernels/bounds.test.ts).

import { isQuantized, type WeightDtype } from "../../src/gpu/tensor.ts";

/** How far a result may be from its f64 twin: |error| <= absolute + relative · magnitude, and NMSE over all values. */
export interface Bound {
  readonly name: string;
  readonly relative: number;
  readonly absolute: number;
  readonly nmse: number;
  readonly reason: string;
}

/** What no bound may exceed. */
export const CEILING = { relative: 5e-5, absolute: 1e-6, nmse: 1e-10 } as const;

/** Half a unit in the last place of an f32 near 1: the largest relative error of one rounding. */
export const ROUNDING: number = 2 ** -24;

/** Inner dimension up to which linear layers are tested, but for one case of 13,824. */
export const LARGEST_INNER = 2752;

/** Bounds by kernel. */
export const BOUNDS = {
  exact: {
    name: "exact",
    relative: 0,
    absolute: 0,
    nmse: 0,
    reason: "the kernel only moves or widens numbers",
  },
  oneRounding: {
    name: "oneRounding",
    relative: 1.01 * ROUNDING,
    absolute: 0,
    nmse: ROUNDING ** 2,
    reason: "one addition or multiplication, correctly rounded (WGSL §15.7.4)",
  },
  combineRows: {
    name: "combineRows",
    relative: 5.01 * ROUNDING,
    absolute: 0,
    nmse: (5 * ROUNDING) ** 2,
    reason: "relative to |output| + Σ|weight · source|: a product, three sums, and the addition to the output",
  },
  penalty: {
    name: "penalty",
    relative: 5.01 * ROUNDING,
    absolute: 0,
    nmse: (5 * ROUNDING) ** 2,
    reason:
      "one division, 2.5 ulp (WGSL §15.7.4), or a multiplication; the penalty itself is rounded to f32 by the test",
  },
  activation: {
    name: "activation",
    relative: 1e-6,
    absolute: 4e-7,
    nmse: 1e-13,
    reason:
      "exp to (3 + 2|x|) ulp, which matters only where e^−|x| is not yet small; erf to 2e-7, halved and times |x| < 4",
  },
  gatedActivation: {
    name: "gatedActivation",
    relative: 1.2e-6,
    absolute: 0,
    nmse: 1e-13,
    reason: "relative to |up| · (|activation| + 0.4): the activation's own bound, then one product",
  },
  rmsNorm: {
    name: "rmsNorm",
    relative: 3e-6,
    absolute: 0,
    nmse: 1e-13,
    reason:
      "the header's (D/256 + 66) roundings of the mean of squares at D = 4096, halved by the root; inverseSqrt's 2 ulp",
  },
  layerNorm: {
    name: "layerNorm",
    relative: 2e-6,
    absolute: 0,
    nmse: 2e-11,
    reason:
      "relative to max|input| · |weight| / σ + |bias|: where the mean is 100 σ, the NMSE is that of the mean's rounding",
  },
  fullWidthLayer: {
    name: "fullWidthLayer",
    relative: 2e-5,
    absolute: 0,
    nmse: 1e-11,
    reason:
      "relative to the row's root mean square: two sums of 4096 terms and one of 11,008 one after the other, each of some dozens of roundings of partial sums",
  },
  rope: {
    name: "rope",
    relative: 2e-7,
    absolute: 0,
    nmse: 1e-13,
    reason: "relative to |a| + |b|: two products, one sum, and half an ulp of the table's cosine and sine",
  },
  attentionScores: {
    name: "attentionScores",
    relative: 2e-6,
    absolute: 0,
    nmse: 1e-12,
    reason: "relative to Σ|q · k| · scale: headDim/4 + 4 roundings at headDim <= 128",
  },
  attention: {
    name: "attention",
    relative: 1e-6,
    absolute: 0,
    nmse: 1e-12,
    reason: "relative to max|value| · (1 + max|score|): an error of the score is a relative error of its probability",
  },
  logSumExp: {
    name: "logSumExp",
    relative: 1e-6,
    absolute: 1e-6,
    nmse: 1e-12,
    reason: "128 running sums of roundings that partly cancel, one logarithm",
  },
} as const satisfies Record<string, Bound>;

/**
 * How far what a packed cache holds may be from the exact value, beside the value's own bound. These are the formats' steps, far
 * above {@link CEILING}; kernels that read a cache are tested on numbers that it holds exactly, with the bounds above.
 */
export const STORED = {
  /** One unit in the last place of an f16, as WGSL lets pack2x16float round either way; absolute: of its subnormals. */
  f16: { relative: 2 ** -10, absolute: 2 ** -24 },
  /**
   * In steps of the group's stored scale: the nearest step of the scale before it is rounded to f16 is half a step off, and that
   * rounding changes what step s means by |s| units in the last place of an f16. `tie`: division and product, 5 ulp of 127.
   */
  q8: { step: 0.5, tie: 127 * 5 * 2 ** -23, ulps: 2 ** -10 },
} as const;

/**
 * The bound of a linear layer's sums, relative to Σ|input · weight| + |bias| + |what is added to|: K/4 + 4 roundings; an
 * activation of slope up to 1.13 passes the sum's error on and adds its own.
 */
export function linearBound(inner: number): Bound {
  return {
    name: `linear ${inner}`,
    relative: 1.2 * (inner / 4 + 6) * ROUNDING,
    absolute: BOUNDS.activation.absolute,
    nmse: 1e-12 * Math.max(1, inner / LARGEST_INNER), // that of a sum in one row of additions is proportional to their number
    reason: "the header's worst case; the NMSE, where errors of either sign cancel, is the sharp one",
  };
}

/**
 * The bound of a linear layer's sums by the kernel that computes them: those with shared/matvec-sums unpack quantised weights with
 * an offset, so that what is summed is up to seven times as large as the group's largest weight.
 */
export function linearBoundOf(kernel: string, dtype: WeightDtype, inner: number): Bound {
  const bound = linearBound(inner);
  if (!isQuantized(dtype) || !/-(subgroup|reduce)(-int8)?$/.test(kernel)) return bound;
  return {
    ...bound,
    name: `${bound.name}, with an offset`,
    relative: 3 * bound.relative,
    nmse: 1e-11,
    reason: "the offset triples the typical term; its sum is taken off again",
  };
}
