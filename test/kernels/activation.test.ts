import { describe, expect, test } from "vitest";
import type { Activation } from "../../src/gpu/ops/activations.ts";
import { gatedActivation } from "../../src/gpu/ops/linear.ts";
import { activate, erfc } from "../reference/activation.ts";
import { besides } from "../reference/rows.ts";
import { BOUNDS } from "../setup/bounds.ts";
import { expectClose } from "../setup/expect-close.ts";
import { runKernel } from "../setup/run-kernel.ts";

const NAMES: readonly Activation[] = ["none", "quick_gelu", "gelu", "silu", "gelu_pytorch_tanh", "relu"];

// Every 1/64 from −8 to 8, where the functions bend, then every 1/2 to ±60, and what overflows exp or a cube.
const INPUTS = Float32Array.from([
  ...Array.from({ length: 1025 }, (_, index) => index / 64 - 8),
  ...Array.from({ length: 241 }, (_, index) => index / 2 - 60),
  ...[0, 1e-30, 1e-6, 88.8, 100, 1e4, 1e10].flatMap((x) => [x, -x]),
]);

describe("activations", () => {
  test.each(NAMES)("%s", async (activation) => {
    const { output } = await runKernel(({ program, upload, output }) => {
      const target = output(INPUTS.length);
      const up = new Float32Array(INPUTS.length).fill(1);
      const call = { numRows: 1, columns: INPUTS.length, activation };
      gatedActivation(program, { gateUp: upload(besides(INPUTS, up, INPUTS.length)), output: target, ...call });
      return { output: target };
    });
    const expected = Array.from(INPUTS, (x) => activate(x, activation));
    expectClose(output, expected, BOUNDS.activation, { shape: [INPUTS.length] });
  });
});

describe("the twin's erfc", () => {
  // DLMF 7.2.2; values to 16 digits from mpmath 1.3: erfc(x) for x = −1, 0.5, 1, 2, 3, 6.
  const known: readonly (readonly [number, number])[] = [
    [-1, 1.842700792949715],
    [0.5, 0.4795001221869535],
    [1, 0.15729920705028513],
    [2, 0.004677734981047266],
    [3, 2.209049699858544e-5],
    [6, 2.1519736712498913e-17],
  ];
  test.each(known)("erfc(%d)", (x, value) => {
    expect(Math.abs(erfc(x) / value - 1)).toBeLessThan(2e-15);
  });
});
