// Which attention kernels the ops choose, by the class of adapter and its features.
import { describe, expect, test, vi } from "vitest";
import { Gpu } from "../../src/gpu/device.ts";
import { openNodeAdapter } from "../../src/gpu/hosts/adapter.node.ts";
import { attentionDecode, attentionPrefill } from "../../src/gpu/ops/attention.ts";
import { Program } from "../../src/gpu/program.ts";
import { adapterOfEnvironment, openTestDevice } from "../setup/device.ts";
import { headLayout } from "./attention-cases.ts";

/** The names of the kernels that a prefill of 40 rows and a decode step over `capacity` slots record. */
function recordedKernels(gpu: Gpu, capacity = 256): readonly string[] {
  const program = new Program("test");
  const dispatch = vi.spyOn(program, "dispatch").mockImplementation(() => undefined);
  const common = {
    heads: headLayout(2, 1, 8),
    queries: gpu.unused,
    queryRowStride: 32,
    keys: gpu.unused,
    values: gpu.unused,
    output: gpu.unused,
    step: gpu.unused,
  };
  const strides = { keyOffset: 0, valueOffset: 0, positionStride: 8, headStride: 8 * capacity };
  attentionPrefill(program, gpu, { ...common, ...strides, numRows: 40, causal: true, numKeys: 0 });
  attentionDecode(program, gpu, { ...common, numRows: 1, partials: gpu.unused, stats: gpu.unused, capacity });
  return dispatch.mock.calls.map(([kernel]) => kernel.name);
}

const PLAIN_DECODE = ["attention-decode-split", "attention-decode-reduce"];

describe("attention kernels", () => {
  test("of a CPU adapter exchange values within quads, where it has subgroups", async () => {
    const { device } = await openTestDevice();
    const names = recordedKernels(new Gpu(device, { isSoftware: true }));
    const hasSubgroups = device.features.has("subgroups");
    expect(names).toEqual(
      hasSubgroups ? ["attention-prefill-quad", "attention-decode-quad"] : ["attention-prefill", ...PLAIN_DECODE],
    );
  });

  test("of a CPU adapter without subgroups need none", async () => {
    const { adapter } = await openNodeAdapter(adapterOfEnvironment()); // an adapter gives one device only
    const device = await adapter.requestDevice();
    expect(recordedKernels(new Gpu(device, { isSoftware: true }))).toEqual(["attention-prefill", ...PLAIN_DECODE]);
    device.destroy();
  });

  test("of a GPU use workgroup memory, up to 32 splits of 1024 keys", async () => {
    const { device } = await openTestDevice();
    const gpu = new Gpu(device, { isSoftware: false });
    expect(recordedKernels(gpu)).toEqual([
      "attention-prefill-tiled",
      "attention-decode-split-tiled",
      "attention-decode-reduce",
    ]);
    expect(recordedKernels(gpu, 32 * 1024)).toContain("attention-decode-split-tiled");
    expect(recordedKernels(gpu, 32 * 1024 + 1)).toEqual(["attention-prefill-tiled", ...PLAIN_DECODE]);
  });
});
