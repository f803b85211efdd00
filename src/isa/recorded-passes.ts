// The passes of a question at a model's shapes, recorded without a GPU and without weights: which kernels run with which constants.
import { type CheckpointSpec, modelConfig } from "../bench/random-checkpoint.ts";
import { DEFAULT_CHUNK_ROWS } from "../generate/shared-decoder.ts";
import { Gpu } from "../gpu/device.ts";
import type { Constant, Kernel } from "../gpu/kernel.ts";
import { linear } from "../gpu/ops/linear.ts";
import { LINEAR_KERNELS } from "../gpu/ops/linear-kernels.ts";
import { isDispatch, Program } from "../gpu/program.ts";
import { isQuantized, type Matrix, matrixSizes, storedRowBytes, type WeightDtype } from "../gpu/tensor.ts";
import { choiceText, type TunableChoice } from "../gpu/tunables.ts";
import { readArchitecture } from "../models/registry.ts";
import { labelOf, WeightDeclarer, type WeightStore } from "../models/weight-table.ts";
import { USUAL_NEEDS } from "../precompile.ts";
import { ProgramRecorder } from "../program-recorder.ts";

/** A kernel with its constants: what one pipeline is compiled from. */
export interface RecordedPipeline {
  readonly kernel: Kernel;
  readonly constants: Readonly<Record<string, Constant>>;
  /** The passes that run it, such as "prefill layers.mlp.down_proj"; a pass of every layer is named once. */
  readonly passes: readonly string[];
}

/** Rows of a decode step with a sweep's six factors. */
const SWEEP_ROWS = 6;

/** A device that allocates nothing and runs nothing: enough to record programs, whose buffers need no contents. */
export function recordingDevice(features: readonly string[]): GPUDevice {
  const limits = {
    maxBufferSize: 2 ** 32 - 4,
    maxStorageBufferBindingSize: 2 ** 32 - 4,
    maxComputeWorkgroupStorageSize: 2 ** 15,
    maxComputeInvocationsPerWorkgroup: 1024,
    maxComputeWorkgroupsPerDimension: 65_535,
  };
  const device = {
    limits,
    features: new Set(features),
    adapterInfo: { vendor: "amd", architecture: "", device: "", description: "", isFallbackAdapter: false },
    lost: new Promise(() => undefined),
    queue: { writeBuffer: () => undefined },
    createBuffer: ({ label, size, usage }: GPUBufferDescriptor) => ({ label, size, usage, destroy: () => undefined }),
  };
  return device as unknown as GPUDevice; // the part of it that recording uses
}

/** Every pipeline that a question about a picture, AdaptVis and a sweep of six factors run on a GPU with weights in `dtype`. */
export function recordPipelines(
  spec: CheckpointSpec,
  dtype: WeightDtype,
  device: GPUDevice,
): readonly RecordedPipeline[] {
  const gpu = new Gpu(device, { isSoftware: false });
  const architecture = readArchitecture(modelConfig(spec));
  const weights = architecture.weights(new WeightDeclarer(emptyStore(gpu, dtype)));
  const model = { architecture, weights, chunkRows: DEFAULT_CHUNK_ROWS, kvDtype: "f32" } as const;
  const recorder = new ProgramRecorder(gpu, gpu, { ...model, batchRows: SWEEP_ROWS });
  const pipelines = new Pipelines();
  for (const needs of USUAL_NEEDS) {
    for (const program of recorder.question(needs, [model.chunkRows])) pipelines.add(program);
  }
  pipelines.add(recorder.step({ isEdited: true, isCaptured: false }, SWEEP_ROWS));
  return pipelines.list();
}

/** Every choice that start-up tuning has for a linear layer of 4096 to 4096 columns with weights in `dtype`. */
export function recordCandidates(dtype: WeightDtype, device: GPUDevice): readonly RecordedPipeline[] {
  const gpu = new Gpu(device, { isSoftware: false });
  const store = emptyStore(gpu, dtype);
  const layer = new WeightDeclarer(store).linear({
    stack: [{ name: "linear", rows: 4096 }],
    columns: 4096,
    bias: false,
  });
  const buffer = gpu.unused;
  const pipelines = new Pipelines();
  for (const { name: kernel, ...entry } of LINEAR_KERNELS) {
    const tunables: Readonly<Record<string, readonly TunableChoice[]>> = "tunables" in entry ? entry.tunables : {};
    for (const [name, choices] of Object.entries(tunables)) {
      const isTiled = kernel === "matmul-tiled";
      if (!isTiled && name !== `matvec ${dtype === "bf16" ? "f16" : dtype}`) continue;
      for (const choice of choices) {
        const program = new Program(`${name}, ${choiceText(choice)}`);
        linear(program, gpu, { layer, input: buffer, output: buffer, numRows: isTiled ? 512 : 1, kernel, choice });
        pipelines.add(program);
      }
    }
  }
  return pipelines.list();
}

/** Collects what different pipelines a list of programs needs. */
class Pipelines {
  private readonly found = new Map<string, Omit<RecordedPipeline, "passes"> & { readonly passes: Set<string> }>();

  add(program: Program): void {
    for (const { kernel, call, place } of program.commands.filter(isDispatch)) {
      const constants = call.constants ?? {};
      const key = JSON.stringify([kernel.code, constants]);
      const entry = this.found.get(key) ?? { kernel, constants, passes: new Set() };
      entry.passes.add(`${program.label} ${place.replace(/layers\.\d+\./, "layers.")}`.trim());
      this.found.set(key, entry);
    }
  }

  list(): readonly RecordedPipeline[] {
    return [...this.found.values()].map((entry) => ({ ...entry, passes: [...entry.passes] }));
  }
}

/** Weights without values or memory; what q8 and q4 do not apply to is in f16. */
function emptyStore(gpu: Gpu, dtype: WeightDtype): WeightStore {
  return {
    matrix(spec, columns): Matrix {
      const stored = isQuantized(dtype) && !spec.isQuantizable ? "f16" : dtype;
      const sizes = matrixSizes(
        spec.tensors.map(({ rows }) => rows),
        columns,
      );
      const hasScales = storedRowBytes({ dtype: stored, columns: sizes.columns }).scales > 0;
      const piece = { buffer: gpu.unused, rowStart: 0, numRows: sizes.rows };
      const pieces = [hasScales ? { ...piece, scales: gpu.unused } : piece];
      return { name: labelOf(spec), dtype: stored, ...sizes, pieces };
    },
    vector: () => gpu.unused,
  };
}
