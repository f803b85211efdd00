// Records which kernels a question runs with which constants at a model's shapes, without a GPU and without weights.
import { type CheckpointSpec, modelConfig } from "../bench/random-checkpoint.ts";
import { DEFAULT_CHUNK_ROWS } from "../generate/shared-decoder.ts";
import { Gpu } from "../gpu/device.ts";
import type { Constant, Kernel } from "../gpu/kernel.ts";
import { linear } from "../gpu/ops/linear.ts";
import { LINEAR_KERNELS } from "../gpu/ops/linear-kernels.ts";
import { isDispatch, Program } from "../gpu/program.ts";
import { type ActivationDtype, type Matrix, matrixSizes, storedRowBytes, type WeightDtype } from "../gpu/tensor.ts";
import { choiceText, type TunableChoice } from "../gpu/tunables.ts";
import { readArchitecture } from "../models/registry.ts";
import { labelOf, matrixDtype, WeightDeclarer, type WeightStore } from "../models/weight-table.ts";
import { USUAL_NEEDS } from "../precompile.ts";
import { ProgramRecorder } from "../program-recorder.ts";

/** A kernel and its constants, from which one pipeline is compiled. */
export interface RecordedPipeline {
  readonly kernel: Kernel;
  readonly constants: Readonly<Record<string, Constant>>;
  /** The passes that run it, such as "prefill layers.mlp.down_proj"; layers are not distinguished. */
  readonly passes: readonly string[];
}

/** Rows of a decode step with a sweep's six factors. */
const SWEEP_ROWS = 6;

/** A device that neither allocates nor executes anything, which is enough to record programs. */
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
    pushErrorScope: () => undefined,
    popErrorScope: async () => null,
    createBuffer: ({ label, size, usage }: GPUBufferDescriptor) => ({ label, size, usage, destroy: () => undefined }),
  };
  return device as unknown as GPUDevice; // the part of it that recording uses
}

/**
 * Every pipeline that a question about a picture, AdaptVis and a sweep of six factors run with weights in `dtype`: on a GPU, or on a
 * CPU adapter when `isSoftware`.
 */
export function recordPipelines(
  spec: CheckpointSpec,
  form: { readonly dtype: WeightDtype; readonly activationDtype: ActivationDtype; readonly isSoftware?: boolean },
  device: GPUDevice,
): readonly RecordedPipeline[] {
  const { dtype, activationDtype, isSoftware = false } = form;
  const gpu = new Gpu(device, { isSoftware });
  const architecture = readArchitecture(modelConfig(spec));
  const weights = architecture.weights(new WeightDeclarer(emptyStore(gpu, dtype)));
  const model = { architecture, weights, chunkRows: DEFAULT_CHUNK_ROWS, kvDtype: "f32", activationDtype } as const;
  const recorder = new ProgramRecorder(gpu, gpu, { ...model, batchRows: SWEEP_ROWS });
  const programs = USUAL_NEEDS.flatMap((needs) => [...recorder.question(needs, [model.chunkRows])]);
  programs.push(recorder.step({ isEdited: true, isCaptured: false }, SWEEP_ROWS));
  return mergePipelines(programs.flatMap(pipelinesOf));
}

/** Every tuning candidate for a linear layer with a 4096 × 4096 weight in `dtype`. */
export function recordCandidates(dtype: WeightDtype, device: GPUDevice): readonly RecordedPipeline[] {
  const gpu = new Gpu(device, { isSoftware: false });
  const store = emptyStore(gpu, dtype);
  const layer = new WeightDeclarer(store).linear({
    stack: [{ name: "linear", rows: 4096 }],
    columns: 4096,
    bias: false,
  });
  const buffer = gpu.unused;
  const programs: Program[] = [];
  for (const { name: kernel, ...entry } of LINEAR_KERNELS) {
    const tunables: Readonly<Record<string, readonly TunableChoice[]>> = "tunables" in entry ? entry.tunables : {};
    for (const [name, choices] of Object.entries(tunables)) {
      const isTiled = kernel === "matmul-tiled";
      if (!isTiled && name !== `matvec ${dtype === "bf16" ? "f16" : dtype}`) continue;
      for (const choice of choices) {
        const program = new Program(`${name}, ${choiceText(choice)}`);
        linear(program, gpu, { layer, input: buffer, output: buffer, numRows: isTiled ? 512 : 1, kernel, choice });
        programs.push(program);
      }
    }
  }
  return mergePipelines(programs.flatMap(pipelinesOf));
}

/** Pipelines of the same text and constants as one, in the order in which they come first. */
export function mergePipelines(pipelines: readonly RecordedPipeline[]): readonly RecordedPipeline[] {
  const found = new Map<string, RecordedPipeline>();
  for (const pipeline of pipelines) {
    const constants = Object.entries(pipeline.constants).sort(([a], [b]) => (a < b ? -1 : 1));
    const key = JSON.stringify([pipeline.kernel.code, constants]);
    const passes = new Set([...(found.get(key)?.passes ?? []), ...pipeline.passes]);
    found.set(key, { ...(found.get(key) ?? pipeline), passes: [...passes] });
  }
  return [...found.values()];
}

/** The pipeline of every dispatch of a program. */
function pipelinesOf(program: Program): readonly RecordedPipeline[] {
  return program.commands.filter(isDispatch).map(({ kernel, call: { constants = {} }, place }) => {
    const pass = `${program.label} ${place.replace(/layers\.\d+\./, "layers.")}`.trim();
    return { kernel, constants, passes: [pass] };
  });
}

/** Weights without values or memory; those that are not quantised under q8, q4_1 and q4 are f16. */
function emptyStore(gpu: Gpu, dtype: WeightDtype): WeightStore {
  return {
    matrix(spec, columns): Matrix {
      const stored = matrixDtype(spec, dtype) ?? "f16";
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
