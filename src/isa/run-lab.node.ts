// Runs the compile lab: compiles every GPU kernel, at the shapes of real models, for each target.
import { LLAVA_7B_FULL, modelCases } from "../bench/model-cases.ts";
import { ACTIVATION_DTYPES, type ActivationDtype, isQuantized, type WeightDtype } from "../gpu/tensor.ts";
import { type CompileOptions, compileJobs } from "./compile-jobs.node.ts";
import { type IsaReport, type IsaTargetReport, isaKernel } from "./lab.ts";
import {
  mergePipelines,
  type RecordedPipeline,
  recordCandidates,
  recordingDevice,
  recordPipelines,
} from "./recorded-passes.ts";
import type { IsaTarget } from "./targets.ts";

/** How the pipelines are compiled. */
export interface LabOptions extends Omit<CompileOptions, "target"> {
  readonly targets: readonly IsaTarget[];
  readonly onProgress?: (what: string) => void;
}

/** With and without subgroups: what a device lacks changes the choice of kernels. */
const FEATURE_SETS: readonly (readonly string[])[] = [["subgroups", "shader-f16"], []];

/**
 * Compiles pipelines for all targets.
 * @throws GpuError `no-adapter` where the compiler is missing, `shader` when a kernel does not compile; AbortError.
 */
export async function runLab(pipelines: readonly RecordedPipeline[], options: LabOptions): Promise<IsaReport> {
  const { targets, onProgress, ...compile } = options;
  const jobs = pipelines.map(({ kernel: { name, code }, constants }) => ({ name, code, constants }));
  const reports: IsaTargetReport[] = [];
  let driver = "";
  for (const target of targets) {
    onProgress?.(`${target.name}, ${target.description}`);
    const compiled = await compileJobs(jobs, { ...compile, target: target.name });
    driver = compiled.driver;
    const kernels = pipelines.map((pipeline, index) => isaKernel(pipeline, String(compiled.texts[index]), target));
    reports.push({ target, kernels });
  }
  return { format: 1, driver, isRobust: compile.isRobust ?? true, targets: reports };
}

/**
 * Every pipeline of LLaVA-1.5-7B, llava-110m and the candidates of tuning, with weights in these dtypes.
 * @param filter only kernels whose name contains this
 */
export function labPipelines(dtypes: readonly WeightDtype[], filter = ""): readonly RecordedPipeline[] {
  const small = modelCases({ isSoftware: false, isQuick: true }).find(({ name }) => name === "models/llava-110m")?.spec;
  const specs = [LLAVA_7B_FULL, ...(small === undefined ? [] : [small])];
  const recorded = FEATURE_SETS.flatMap((features) => {
    const device = recordingDevice(features);
    return dtypes.flatMap((dtype) => {
      const activations: readonly ActivationDtype[] = isQuantized(dtype) ? ACTIVATION_DTYPES : ["f32"];
      const models = specs.flatMap((spec) =>
        activations.flatMap((activationDtype) =>
          recordPipelines(spec, { dtype, activationDtype }, device).map((pipeline) => ({
            ...pipeline,
            passes: pipeline.passes.map((pass) => `${spec.name} ${pass}`),
          })),
        ),
      );
      return [...models, ...recordCandidates(dtype, device)];
    });
  });
  return mergePipelines(recorded.filter(({ kernel }) => kernel.name.includes(filter)));
}
