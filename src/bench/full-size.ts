// One pass over a model of full size, for which rounds would take hours on a CPU: load, warm-up, one question about a picture with
// AdaptVis, and the GPU's time of each of its stages.

import type { StageTimes } from "../gpu/profile/profile-report.ts";
import { Profiler } from "../gpu/profile/profiler.ts";
import { Llava } from "../llava.ts";
import { requireMultimodal } from "../models/config.ts";
import type { ModelCase } from "./model-cases.ts";
import type { ModelFigures, ModelRun } from "./models.ts";
import { seededPixels, textIds } from "./models.ts";
import { IMAGE_TOKEN_ID } from "./random-checkpoint.ts";
import { clocked, flush } from "./timing.ts";

/** AdaptVis' step, and one decode step for each token but the first. */
const STEPS = "AdaptVis step and decode steps";

/** Measures one model once. Its stages are empty where the device has no timestamps. @throws CheckpointError, GpuError or AbortError. */
export async function measureFullSize(
  model: ModelCase,
  run: Omit<ModelRun, "folder" | "peers">,
): Promise<ModelFigures> {
  const { device, isSoftware } = run;
  const { signal } = run.rounds;
  const profiler = new Profiler();
  let weightBytes = 0;
  const started = performance.now();
  const llava = await Llava.load(run.open(), {
    device,
    adapterClass: isSoftware ? "cpu" : "gpu",
    dtype: model.quantized,
    profiler,
    signal,
    onProgress: ({ totalBytes }) => {
      weightBytes = totalBytes;
    },
  });
  try {
    await flush(llava.gpu);
    const loadMs = performance.now() - started;
    const needs = { hasImage: true, method: "adaptvis", maxNewTokens: model.decodeTokens } as const;
    const warmUpMs = await clocked(() => llava.warmUp({ questions: [needs], sweep: false, signal }));
    const before = (await profiler.report()).stages;
    const { vision } = requireMultimodal(llava.config);
    const inputs = llava.processor.fromTensors({
      inputIds: [...textIds(2, 1), IMAGE_TOKEN_ID, ...textIds(model.questionTokens - 2, 2)],
      pixelValues: seededPixels(vision.numChannels * vision.imageSize ** 2),
    });
    let gpuBytes = 0;
    const onToken = () => {
      gpuBytes = Math.max(gpuBytes, llava.gpu.allocatedBytes);
    };
    const { method, maxNewTokens } = needs;
    const answer = await llava.answer(inputs, { method, maxNewTokens, ignoreEos: true, signal, onToken });
    const stages = stageTimes((await profiler.report()).stages, before);
    const msOf = (name: string) => stages.find(({ stage }) => stage === name)?.gpuMs;
    const [visionMs, prefillMs, decodeMs] = [msOf("vision"), msOf("prefill"), msOf(STEPS)];
    return {
      name: model.name,
      description: model.description,
      weights: model.weights,
      weightBytes,
      loadMs,
      loadMbps: weightBytes / loadMs / 1000,
      warmUpMs,
      visionMs: visionMs === undefined ? [] : [visionMs],
      prefillRows: answer.promptTokens,
      prefill: prefillMs === undefined ? [] : [(1000 * answer.promptTokens) / prefillMs],
      decodeTokens: model.decodeTokens,
      decode: decodeMs === undefined ? [] : [(1000 * answer.tokens.length) / decodeMs],
      questions: null,
      stages,
      gpuBytes,
      peakRssBytes: run.peakRssBytes(),
      peers: [],
    };
  } finally {
    llava.dispose();
  }
}

/** The GPU's time of each stage since `before`; chunks of a prefill are summed up, and so are decode steps. */
function stageTimes(
  stages: readonly StageTimes[],
  before: readonly StageTimes[],
): readonly { readonly stage: string; readonly gpuMs: number }[] {
  const sums = new Map<string, number>();
  for (const { stage, gpuMs } of stages) {
    if (gpuMs === undefined) continue;
    const name = stage.startsWith("step ") ? STEPS : stage;
    const earlier = before.find((each) => each.stage === stage)?.gpuMs ?? 0;
    if (gpuMs > earlier) sums.set(name, (sums.get(name) ?? 0) + gpuMs - earlier);
  }
  return [...sums].map(([stage, gpuMs]) => ({ stage, gpuMs }));
}
