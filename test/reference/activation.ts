// Twin of shaders/shared/activation.wgsl: the activations by their names in config.json.
import type { Activation } from "../../src/gpu/ops/activations.ts";

/** activation(x) in f64. */
export function activate(x: number, activation: Activation): number {
  switch (activation) {
    case "none":
      return x;
    case "quick_gelu":
      return x * sigmoid(1.702 * x);
    case "gelu":
      return 0.5 * x * erfc(-x / Math.SQRT2);
    case "silu":
      return x * sigmoid(x);
    case "gelu_pytorch_tanh":
      // 0.5 · (1 + tanh z) is the sigmoid of 2z, which does not cancel where tanh is near −1.
      return x * sigmoid(2 * Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3));
    case "relu":
      return Math.max(x, 0);
  }
}

function sigmoid(x: number): number {
  return 1 / (1 + Math.exp(-x));
}

/** 1 − erf(x) in f64, to about 1e-15: a power series for small |x|, a continued fraction beyond. */
export function erfc(x: number): number {
  if (x < 0) return 2 - erfc(-x);
  return x < 2 ? 1 - erfSeries(x) : erfcFraction(x);
}

// DLMF 7.6.2: all terms positive, so nothing cancels.
function erfSeries(x: number): number {
  let term = x;
  let sum = x;
  for (let n = 1; n < 60; n++) {
    term *= (2 * x * x) / (2 * n + 1);
    sum += term;
  }
  return (2 / Math.sqrt(Math.PI)) * Math.exp(-x * x) * sum;
}

// DLMF 7.9.1, evaluated from its 120th level upwards.
function erfcFraction(x: number): number {
  let fraction = x;
  for (let n = 120; n > 0; n--) fraction = x + n / 2 / fraction;
  return Math.exp(-x * x) / Math.sqrt(Math.PI) / fraction;
}
