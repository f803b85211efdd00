import { describe, expect, test } from "vitest";
import { GPU_STORAGE } from "../../src/gpu/device.ts";
import { defineKernel } from "../../src/gpu/kernel.ts";
import { PreparedProgram } from "../../src/gpu/prepared-program.ts";
import { Program } from "../../src/gpu/program.ts";
import { withErrorScopes } from "../setup/device.ts";
import { openTestGpu } from "../setup/run-kernel.ts";

const ADD = defineKernel(
  "add",
  `
struct Params {
  index: u32,
  offset: i32,
  amount: f32,
}
@group(0) @binding(0) var<storage, read_write> output: array<f32>;
@group(0) @binding(1) var<uniform> params: Params;

@compute @workgroup_size(1)
fn main() {
  output[params.index] = output[params.index] * 10.0 + f32(params.offset) + params.amount;
}`,
);

describe("Program", () => {
  test("every dispatch keeps its own parameters; copies come in their order; a program runs as often as wanted", async () => {
    const gpu = await openTestGpu();
    await withErrorScopes(gpu.device, async () => {
      const output = gpu.createBuffer("output", 16, GPU_STORAGE);
      const copy = gpu.createBuffer("copy", 16, GPU_STORAGE);
      const before = gpu.allocatedBytes;
      const program = new Program("test");
      const add = (index: number, offset: number, amount: number) =>
        program.dispatch(ADD, { bindings: { output }, params: { index, offset, amount }, grid: [1] });
      add(0, 1, 0.5);
      add(1, -2, 0);
      program.copy(output, copy, { size: 8, sourceOffset: 0, targetOffset: 4 });
      add(0, 3, 0.25);
      expect(program.numDispatches).toBe(3);
      const prepared = await PreparedProgram.prepare(gpu, program);
      expect(gpu.allocatedBytes).toBe(before + 3 * 256);
      for (let run = 0; run < 2; run++) {
        const encoder = gpu.device.createCommandEncoder();
        prepared.encode(encoder);
        gpu.device.queue.submit([encoder.finish()]);
      }
      expect([...new Float32Array(await gpu.readBuffer(output, 16))]).toEqual([1843.25, -22, 0, 0]);
      expect([...new Float32Array(await gpu.readBuffer(copy, 16))]).toEqual([0, 184, -22, 0]);
      prepared.dispose();
      expect(gpu.allocatedBytes).toBe(before);
      prepared.dispose();
      expect(gpu.allocatedBytes).toBe(before);
      gpu.destroyBuffer(output);
      gpu.destroyBuffer(copy);
    });
  });

  test("a part of a buffer is bound by its offset", async () => {
    const gpu = await openTestGpu();
    await withErrorScopes(gpu.device, async () => {
      const output = gpu.createBuffer("output", 512, GPU_STORAGE);
      const program = new Program("test");
      const bindings = { output: { buffer: output, offset: 256, size: 16 } };
      program.dispatch(ADD, { bindings, params: { index: 1, offset: 0, amount: 7 }, grid: [1] });
      const prepared = await PreparedProgram.prepare(gpu, program);
      const encoder = gpu.device.createCommandEncoder();
      prepared.encode(encoder);
      gpu.device.queue.submit([encoder.finish()]);
      expect([...new Float32Array(await gpu.readBuffer(output, 16, 256))]).toEqual([0, 7, 0, 0]);
      prepared.dispose();
      gpu.destroyBuffer(output);
    });
  });
});
