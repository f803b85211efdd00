// Fits the scale and minimum of a group of weights in q4_1 on the CPU, to the same bits as shaders/quantize-minimum.wgsl: both compute
// with whole numbers.
import { GROUP_SIZE } from "../gpu/tensor.ts";

/** A group's numbers, of which a weight is minimum + scale · step. */
export interface GroupLine {
  readonly scale: number;
  readonly minimum: number;
}

/** A scale of at least 1 and a minimum, in sixteenths of the group's unit. */
interface Line extends GroupLine {
  /** 2^26 / scale, rounded down: what divides by it. */
  readonly inverse: number;
}

/** Twice the steps in which the candidates for the scale divide a group's range. */
const HALF_STEPS = [28, 29, 30, 31] as const;

/** 32 of its square fit the kernel's u32. */
const LARGEST_ERROR = 11_584;

/** The smallest f32 that is not subnormal; the kernel takes subnormals for zeros. */
const SMALLEST_NORMAL = 2 ** -126;

/** A group's weights above the smallest of them, in units; one buffer serves all groups, since they are fitted one after the other. */
const x = new Int32Array(GROUP_SIZE);

/**
 * Writes the steps, 0 to 15, of up to 32 finite weights.
 * @returns scale and minimum before they are rounded to f16
 */
export function fitGroup(weights: Float32Array, steps: Int8Array): GroupLine {
  const count = weights.length;
  let largest = 0;
  for (const weight of weights) largest = Math.max(largest, Math.abs(weight));
  if (largest < SMALLEST_NORMAL) {
    steps.fill(0, 0, count);
    return { scale: 0, minimum: 0 };
  }
  const unit = 2 ** (Math.floor(Math.log2(largest)) - 11);
  let smallest = Number.POSITIVE_INFINITY;
  for (let i = 0; i < count; i++) {
    x[i] = unitsOf(weights[i] ?? 0, unit);
    smallest = Math.min(smallest, x[i] ?? 0);
  }
  let most = 0;
  for (let i = 0; i < count; i++) {
    const above = (x[i] ?? 0) - smallest;
    x[i] = above;
    most = Math.max(most, above);
  }
  const line = most === 0 ? undefined : bestLine(count, most);
  for (let i = 0; i < count; i++) steps[i] = line === undefined ? 0 : stepOf(x[i] ?? 0, line);
  const sixteenth = unit / 16;
  return { scale: (line?.scale ?? 0) * sixteenth, minimum: (smallest * 16 + (line?.minimum ?? 0)) * sixteenth };
}

/** The nearest whole number of units, of two the one farther from 0. */
function unitsOf(weight: number, unit: number): number {
  const magnitude = Math.abs(weight);
  if (magnitude < SMALLEST_NORMAL) return 0;
  const units = Math.floor(magnitude / unit + 0.5);
  return weight < 0 ? -units : units;
}

/** The best of the fitted candidates, fitted once more. */
function bestLine(count: number, most: number): Line {
  let best = lineOf(0, 0);
  let bestError = Number.POSITIVE_INFINITY;
  for (const halves of HALF_STEPS) {
    const line = fitted(count, lineOf(Math.floor((32 * most) / halves), 0));
    const error = errorOf(count, line);
    if (error >= bestError) continue;
    best = line;
    bestError = error;
  }
  return fitted(count, best);
}

function lineOf(scale: number, minimum: number): Line {
  const positive = Math.max(scale, 1);
  return { scale: positive, minimum, inverse: Math.floor(2 ** 26 / positive) };
}

/** The step of a number of units. Hot: it runs nine times per weight, on whole numbers of 31 bits. */
function stepOf(units: number, line: Line): number {
  const { scale } = line;
  const above = units * 16 - line.minimum + (scale >> 1);
  if (above <= 0) return 0;
  const step = (above * line.inverse) / 2 ** 26;
  return step >= 15 ? 15 : step | 0;
}

/** The least-squares line through `x` over the steps that a line gives. */
function fitted(count: number, line: Line): Line {
  let sumX = 0;
  let sumSteps = 0;
  let sumSquares = 0;
  let sumProducts = 0;
  for (let i = 0; i < count; i++) {
    const units = x[i] ?? 0;
    const step = stepOf(units, line);
    sumX += units;
    sumSteps += step;
    sumSquares += step * step;
    sumProducts += step * units;
  }
  const divisor = count * sumSquares - sumSteps * sumSteps;
  if (divisor === 0) return line; // all steps are equal
  const scale = sixteenths(count * sumProducts - sumX * sumSteps, divisor);
  return lineOf(scale, sixteenths(sumSquares * sumX - sumSteps * sumProducts, divisor));
}

/** 16 · dividend / divisor, rounded towards 0 twice, as the kernel does to stay within 32 bits. */
function sixteenths(dividend: number, divisor: number): number {
  return Math.trunc(dividend / divisor) * 16 + Math.trunc(((dividend % divisor) * 16) / divisor);
}

/** The sum of the squared errors of the steps that a line gives. */
function errorOf(count: number, line: Line): number {
  let sum = 0;
  for (let i = 0; i < count; i++) {
    const units = x[i] ?? 0;
    const value = stepOf(units, line) * line.scale + line.minimum;
    const error = Math.abs(units * 16 - value);
    sum += error > LARGEST_ERROR ? LARGEST_ERROR * LARGEST_ERROR : error * error;
  }
  return sum;
}
