// Which pipelines the compile lab compiles: recorded without a GPU, and without asking a device for anything but buffers.
import { describe, expect, test } from "vitest";
import { LLAVA_7B_FULL } from "../../../src/bench/model-cases.ts";
import { modelConfig } from "../../../src/bench/random-checkpoint.ts";
import { Gpu } from "../../../src/gpu/device.ts";
import { matrixSizes, WEIGHT_DTYPES, type WeightDtype } from "../../../src/gpu/tensor.ts";
import {
  type RecordedPipeline,
  recordCandidates,
  recordingDevice,
  recordPipelines,
} from "../../../src/isa/recorded-passes.ts";
import { readArchitecture } from "../../../src/models/registry.ts";
import { rowsPerPiece } from "../../../src/models/upload.ts";
import { labelOf, WeightDeclarer, type WeightStore } from "../../../src/models/weight-table.ts";

const FEATURES = ["subgroups", "shader-f16"];

const kernelNames = (pipelines: readonly RecordedPipeline[]) => [
  ...new Set(pipelines.map(({ kernel }) => kernel.name)),
];
const keyOf = ({ kernel, constants }: RecordedPipeline) => JSON.stringify([kernel.code, constants]);

/** A recording device that notes which of its members are used. */
function watchedDevice(features: readonly string[]) {
  const used = new Set<string>();
  const device = new Proxy(recordingDevice(features), {
    get(target, name) {
      used.add(String(name));
      return Reflect.get(target, name);
    },
  });
  return { device, used };
}

describe("a question on a GPU with subgroups", () => {
  const { device, used } = watchedDevice(FEATURES);
  const pipelines = recordPipelines(LLAVA_7B_FULL, { dtype: "q4", activationDtype: "f32" }, device);

  test("runs the kernels for GPUs, with quantised weights where they may be", () => {
    const names = kernelNames(pipelines);
    expect(names).toEqual(
      expect.arrayContaining([
        "matmul-tiled",
        "matvec-subgroup",
        "gated-matvec-subgroup",
        "qkv-rope-subgroup",
        "attention-prefill-tiled",
        "attention-decode-split-tiled",
        "attention-decode-reduce",
        "layer-norm",
        "rms-norm",
        "choose-token",
      ]),
    );
    expect(names.filter((name) => name.endsWith("-quad") || name === "matmul" || name === "matvec")).toEqual([]);
    const dtypes = new Set(pipelines.map(({ kernel }) => kernel.weightDtype));
    expect(dtypes.has("q4")).toBe(true);
    expect(dtypes.has("f32")).toBe(false);
  });

  test("compiles nothing and runs nothing", () => {
    const allowed = [
      "limits",
      "features",
      "adapterInfo",
      "lost",
      "queue",
      "createBuffer",
      "pushErrorScope",
      "popErrorScope",
    ];
    expect([...used].filter((name) => !allowed.includes(name))).toEqual([]);
  });

  test("has every pipeline once, with the passes that run it", () => {
    expect(new Set(pipelines.map(keyOf)).size).toBe(pipelines.length);
    const passes = pipelines.flatMap((pipeline) => pipeline.passes);
    expect(passes).toEqual(expect.arrayContaining(["prefill layers.mlp.down_proj", "step layers.self_attn.qkv_proj"]));
    // 32 layers run the same passes.
    expect(passes.some((pass) => /layers\.\d/.test(pass))).toBe(false);
    expect(pipelines.every((pipeline) => new Set(pipeline.passes).size === pipeline.passes.length)).toBe(true);
  });

  test("includes AdaptVis' step and a sweep's rows", () => {
    const edited = pipelines.filter(({ constants }) => constants.EDIT === true);
    expect(kernelNames(edited)).toContain("attention-decode-split-tiled");
    const batches = pipelines
      .filter(({ kernel }) => kernel.name === "qkv-rope-subgroup")
      .map((each) => each.constants.BATCH);
    expect(batches).toContain(1);
    expect(pipelines.some(({ passes }) => passes.some((pass) => pass.startsWith("edited step of 6 rows")))).toBe(true);
  });
});

describe("activations in 8 bits", () => {
  const pipelines = recordPipelines(LLAVA_7B_FULL, { dtype: "q4", activationDtype: "q8" }, recordingDevice(FEATURES));
  const passesOf = (isWanted: (pipeline: (typeof pipelines)[number]) => boolean) =>
    new Set(
      pipelines
        .filter(isWanted)
        .flatMap(({ passes }) => passes.map((pass) => pass.replace(/^.*?step(?: of \d+ rows)? /, ""))),
    );
  const linears = [
    "layers.self_attn.qkv_proj",
    "layers.self_attn.o_proj",
    "layers.mlp.gate_up_proj",
    "layers.mlp.down_proj",
  ];

  test("every linear layer of a step's layers reads them, quantised just before it; the lm_head and prompts do not", () => {
    const quantized = passesOf(({ kernel }) => kernel.name === "quantize-activations");
    const reading = passesOf(({ kernel }) => kernel.activationDtype === "q8");
    expect(quantized).toEqual(new Set(linears));
    expect(reading).toEqual(new Set(linears));
    const others = pipelines.filter(
      ({ kernel }) => kernel.name.startsWith("matvec") && kernel.activationDtype === undefined,
    );
    expect(passesOf((pipeline) => others.includes(pipeline))).toEqual(new Set(["prefill lm_head", "lm_head"]));
  });
});

describe("LLaVA-1.5-13B", () => {
  const sizes = { hiddenSize: 5120, intermediateSize: 13_824, numHiddenLayers: 40 };
  const heads = { numAttentionHeads: 40, numKeyValueHeads: 40 };
  const spec = { ...LLAVA_7B_FULL, decoder: { ...LLAVA_7B_FULL.decoder, ...sizes, ...heads } };
  const record = (of: typeof spec, dtype: WeightDtype, device = recordingDevice(FEATURES)) =>
    recordPipelines(of, { dtype, activationDtype: "f32" }, device);

  test.each(["f16", "q4"] as const)("runs the pipelines of 7B in %s, but for the number of heads", (dtype) => {
    const withoutHeads = ({ kernel, constants }: RecordedPipeline) =>
      keyOf({ kernel, constants: { ...constants, ...withHeads(constants, 0) }, passes: [] });
    const isDecoder = ({ constants }: RecordedPipeline) => constants.NUM_HEADS === 40;
    const pipelines = record(spec, dtype);
    expect(pipelines.some(isDecoder)).toBe(true);
    expect(new Set(pipelines.map(withoutHeads))).toEqual(new Set(record(LLAVA_7B_FULL, dtype).map(withoutHeads)));
  });

  test("fits WebGPU's default binding of 128 MiB in f16, in up to three pieces", () => {
    const device = recordingDevice(FEATURES);
    const limits = { ...device.limits, maxStorageBufferBindingSize: 2 ** 27 };
    const gpu = new Gpu({ ...device, limits }, { isSoftware: false });
    const numPieces = new Map<string, number>();
    const store: WeightStore = {
      matrix(matrix, columns) {
        const sizes = matrixSizes(
          matrix.tensors.map(({ rows }) => rows),
          columns,
        );
        const size = { numRows: sizes.rows, rowBytes: 2 * sizes.columns, splittable: matrix.isSplittable };
        const count = Math.ceil(sizes.rows / rowsPerPiece(gpu, labelOf(matrix), size));
        for (const { name } of matrix.tensors) numPieces.set(name.replace(/^.*(\.\d+\.|model\.)/, ""), count);
        const piece = { buffer: gpu.unused, rowStart: 0, numRows: sizes.rows };
        return { name: labelOf(matrix), dtype: "f16", ...sizes, pieces: [piece] };
      },
      vector: () => gpu.unused,
    };
    readArchitecture(modelConfig(spec)).weights(new WeightDeclarer(store));
    // MiB: q, k and v 150; gate and up 270; down 135; embeddings and lm_head 313 each; all others less than 128.
    expect(Object.fromEntries([...numPieces].filter(([, count]) => count > 1))).toEqual({
      "self_attn.q_proj.weight": 2,
      "self_attn.k_proj.weight": 2,
      "self_attn.v_proj.weight": 2,
      "mlp.gate_proj.weight": 3,
      "mlp.up_proj.weight": 3,
      "mlp.down_proj.weight": 2,
      "embed_tokens.weight": 3,
      "lm_head.weight": 3,
    });
  });
});

/** The head counts among a pipeline's constants, each as `count`. */
function withHeads(constants: RecordedPipeline["constants"], count: number): Readonly<Record<string, number>> {
  const names = ["NUM_HEADS", "NUM_KEY_VALUE_HEADS"].filter((name) => constants[name] !== undefined);
  return Object.fromEntries(names.map((name) => [name, count]));
}

test("a GPU without subgroups reduces in workgroup memory", () => {
  const names = kernelNames(
    recordPipelines(LLAVA_7B_FULL, { dtype: "f16", activationDtype: "f32" }, recordingDevice([])),
  );
  expect(names).toContain("matvec-reduce");
  expect(names.filter((name) => name.endsWith("-subgroup"))).toEqual([]);
});

test.each(WEIGHT_DTYPES)("candidates of tuning: every tile and thread count, %s", (dtype) => {
  const candidates = recordCandidates(dtype, recordingDevice(FEATURES));
  expect(new Set(candidates.map(keyOf)).size).toBe(candidates.length);
  const tiles = candidates
    .filter(({ kernel }) => kernel.name === "matmul-tiled")
    .map(({ constants }) => constants.TILE);
  expect(new Set(tiles).size).toBeGreaterThan(1);
  const threads = candidates
    .filter(({ kernel }) => /^matvec/.test(kernel.name))
    .map(({ constants }) => constants.THREADS);
  expect(new Set(threads).size).toBeGreaterThan(1);
  expect(new Set(candidates.map(({ kernel }) => kernel.weightDtype))).toEqual(new Set([dtype]));
});
