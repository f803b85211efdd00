// Runs the compile lab: records every kernel of the GPU class at real models' shapes and compiles each for each target.
import { modelCases } from "../bench/model-cases.ts";
import type { CheckpointSpec } from "../bench/random-checkpoint.ts";
import { CLIP_L, LLAVA_7B } from "../bench/shapes.ts";
import type { WeightDtype } from "../gpu/tensor.ts";
import { type CompileOptions, compileJobs } from "./compile-jobs.node.ts";
import { type IsaKernel, type IsaReport, type IsaTargetReport, isaKernel } from "./lab.ts";
import { type RecordedPipeline, recordCandidates, recordingDevice, recordPipelines } from "./recorded-passes.ts";
import type { IsaTarget } from "./targets.ts";

/** What to compile. */
export interface LabOptions {
  readonly targets: readonly IsaTarget[];
  readonly dtypes: readonly WeightDtype[];
  /** Only kernels whose file name contains this; all unless given. */
  readonly filter?: string | undefined;
  /** As in {@link CompileOptions}. */
  readonly program: string;
  readonly dawnToggles?: readonly string[];
  /** False to compile without Dawn's clamps; true unless given. */
  readonly isRobust?: boolean;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: (what: string) => void;
}

/** LLaVA-1.5-7B, in the form of the bench's random checkpoints. */
const LLAVA_7B_SPEC: CheckpointSpec = {
  name: "llava-7b",
  seed: 7,
  dtype: "F16",
  decoder: LLAVA_7B,
  vision: CLIP_L,
  tieWordEmbeddings: false,
  maxPositions: 4096,
};

/** With and without subgroups: what a device lacks changes the choice of kernels. */
const FEATURE_SETS: readonly (readonly string[])[] = [["subgroups", "shader-f16"], []];

/**
 * Compiles all kernels for all targets.
 * @throws GpuError `no-adapter` where the compiler is missing, `shader` when a kernel does not compile; AbortError.
 */
export async function runLab(options: LabOptions): Promise<IsaReport> {
  const { program, dawnToggles, isRobust = true, signal, onProgress } = options;
  const targets: IsaTargetReport[] = [];
  let driver = "";
  for (const target of options.targets) {
    onProgress?.(`${target.name}, ${target.description}`);
    const kernels: IsaKernel[] = [];
    for (const features of FEATURE_SETS) {
      const pipelines = pipelinesOf(options, features);
      if (pipelines.length === 0) continue;
      const jobs = pipelines.map(({ kernel: { name, code }, constants }) => ({ name, code, constants }));
      const compile: CompileOptions = { target: target.name, program, dawnToggles, isRobust, signal };
      const compiled = await compileJobs(jobs, compile);
      driver = compiled.driver;
      kernels.push(...pipelines.map((pipeline, index) => isaKernel(pipeline, String(compiled.texts[index]), target)));
    }
    const seen = new Set<string>();
    const isNew = (kernel: IsaKernel) => {
      const key = JSON.stringify([kernel.kernel, kernel.weightDtype, kernel.constants]);
      return seen.size < seen.add(key).size;
    };
    targets.push({ target, kernels: kernels.filter(isNew) });
  }
  return { format: 1, driver, isRobust, targets };
}

/** Whether some kernel's name contains the filter. */
export function hasKernels(options: Pick<LabOptions, "dtypes" | "filter">): boolean {
  return FEATURE_SETS.some((features) => pipelinesOf(options, features).length > 0);
}

/** Pipelines of both models and of the candidates of tuning, each once. */
function pipelinesOf(
  { dtypes, filter = "" }: Pick<LabOptions, "dtypes" | "filter">,
  features: readonly string[],
): readonly RecordedPipeline[] {
  const device = recordingDevice(features);
  const small = modelCases({ isSoftware: false, isQuick: true }).find(({ name }) => name === "models/llava-110m")?.spec;
  const specs = [LLAVA_7B_SPEC, ...(small === undefined ? [] : [small])];
  const recorded = dtypes.flatMap((dtype) => [
    ...specs.flatMap((spec) =>
      recordPipelines(spec, dtype, device).map((pipeline) => ({
        ...pipeline,
        passes: pipeline.passes.map((pass) => `${spec.name} ${pass}`),
      })),
    ),
    ...recordCandidates(dtype, device),
  ]);
  return merged(recorded.filter(({ kernel }) => kernel.name.includes(filter)));
}

/** Pipelines of the same text and constants as one. */
function merged(pipelines: readonly RecordedPipeline[]): readonly RecordedPipeline[] {
  const found = new Map<string, RecordedPipeline>();
  for (const pipeline of pipelines) {
    const constants = Object.entries(pipeline.constants).sort(([a], [b]) => (a < b ? -1 : 1));
    const key = JSON.stringify([pipeline.kernel.code, constants]);
    const before = found.get(key);
    found.set(key, before === undefined ? pipeline : { ...before, passes: [...before.passes, ...pipeline.passes] });
  }
  return [...found.values()];
}
