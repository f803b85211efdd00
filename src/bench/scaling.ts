// How cost grows with prompt length, pictures, factors of a sweep and model width, measured on small random models in memory.

import type { Source } from "../checkpoint/source.ts";
import { at, throwIfAborted } from "../errors.ts";
import { SubmitExecutor } from "../gpu/executor.ts";
import { Llava } from "../llava.ts";
import type { Ceilings } from "./kernels.ts";
import { seededPixels, textIds, withEncoder } from "./models.ts";
import { type CheckpointSpec, checkpointFiles } from "./random-checkpoint.ts";
import { CLIP_B, type DecoderShape, LLAMA_110M, type VisionShape } from "./shapes.ts";
import { type CostFit, costAt, fitCost, type Spread } from "./statistics.ts";
import { flush, type TimingOptions, timeWork } from "./timing.ts";

/** A measured point of a curve. */
export interface ScalingPoint {
  readonly x: number;
  readonly ms: Spread;
  /** The fitted cost model here. */
  readonly modelMs: number;
  /** Least time that the roofline allows for this work; null without a roofline. */
  readonly rooflineMs: number | null;
}

/** One curve. */
export interface ScalingSeries {
  /** The part's name, scaling/… */
  readonly name: string;
  readonly title: string;
  readonly xLabel: string;
  readonly points: readonly ScalingPoint[];
  readonly fit: CostFit;
  /** Where the curve bends, derived from its figures. */
  readonly explanation: string;
}

/** What measuring a curve needs. */
export interface ScalingRun {
  readonly device: GPUDevice;
  readonly isSoftware: boolean;
  readonly isQuick: boolean;
  readonly ceilings: Ceilings | null;
  readonly timing: TimingOptions;
}

/** Names of all curves. */
export const SCALING_NAMES = ["scaling/prompt", "scaling/images", "scaling/factors", "scaling/width"] as const;

/** Measures one curve. @throws AbortError; GpuError. */
export async function measureScaling(name: (typeof SCALING_NAMES)[number], run: ScalingRun): Promise<ScalingSeries> {
  switch (name) {
    case "scaling/prompt":
      return promptLength(run);
    case "scaling/images":
      return imageCount(run);
    case "scaling/factors":
      return factorCount(run);
    case "scaling/width":
      return modelWidth(run);
  }
}

const SMALL_TOWER: VisionShape = {
  name: "small-tower",
  hiddenSize: 384,
  intermediateSize: 1536,
  numHiddenLayers: 3,
  numAttentionHeads: 6,
  imageSize: 224,
  patchSize: 16,
};

/** A vision tower that is required but not measured. */
const NO_TOWER: VisionShape = {
  ...CLIP_B,
  hiddenSize: 16,
  intermediateSize: 16,
  numHiddenLayers: 2,
  numAttentionHeads: 1,
};

function decoderOf(width: number, numHiddenLayers: number): DecoderShape {
  const headDim = 64;
  const numHeads = width / headDim;
  return {
    ...LLAMA_110M,
    name: "scaling",
    hiddenSize: width,
    intermediateSize: Math.round((width * 8) / 3 / 32) * 32,
    numHiddenLayers,
    numAttentionHeads: numHeads,
    numKeyValueHeads: numHeads,
    headDim,
    vocabSize: 1024,
  };
}

/** Weights of the layers' matrices. */
function layerWeights({ hiddenSize: d, intermediateSize: inner, numHiddenLayers }: DecoderShape): number {
  return numHiddenLayers * (4 * d * d + 3 * d * inner);
}

async function promptLength(run: ScalingRun): Promise<ScalingSeries> {
  const decoder = decoderOf(256, 2);
  const lengths = [64, 128, 256, 512, 1024, 2048, 4096].filter((length) => !run.isQuick || length <= 1024);
  return withModel(run, specOf(decoder, NO_TOWER), async (llava) => {
    const works = lengths.map((length) => {
      const inputs = llava.processor.fromTensors({ inputIds: textIds(length, 3), pixelValues: undefined });
      const attentionFlops = 2 * decoder.numHiddenLayers * decoder.hiddenSize * length * (length + 1);
      return {
        x: length,
        flops: 2 * layerWeights(decoder) * length + attentionFlops,
        bytes: layerWeights(decoder) * bytesPerWeight(run),
        work: () => llava.answer(inputs, { maxNewTokens: 1, reusePrefix: false, ignoreEos: true }),
      };
    });
    return series(run, works, {
      name: "scaling/prompt",
      title: `Time to first token against prompt length (${describe(decoder)})`,
      xLabel: "prompt tokens",
      maxDegree: 2,
      explain: (fit) =>
        fit.quadratic > 0 && fit.linear > 0
          ? `The quadratic part of attention overtakes the linear layers at about ${whole(fit.linear / fit.quadratic)} tokens; ${fixedPart(fit, "tokens")}`
          : `No quadratic part is visible up to ${lengths.at(-1)} tokens: the linear layers outweigh attention; ${fixedPart(fit, "tokens")}`,
    });
  });
}

async function imageCount(run: ScalingRun): Promise<ScalingSeries> {
  const source = memorySource(specOf(decoderOf(256, 1), SMALL_TOWER));
  const counts = run.isQuick ? [1, 2, 4] : [1, 2, 3, 4, 6, 8];
  return withEncoder({ ...run, open: () => source }, async (gpu, { encoder, numPixels }) => {
    const d = SMALL_TOWER.hiddenSize;
    const rows = (SMALL_TOWER.imageSize / SMALL_TOWER.patchSize) ** 2 + 1;
    const numLayers = SMALL_TOWER.numHiddenLayers - 1; // the feature layer is the last but one
    const weights = numLayers * (4 * d * d + 2 * d * SMALL_TOWER.intermediateSize) + d * 3 * SMALL_TOWER.patchSize ** 2;
    const works = counts.map((count) => ({
      x: count,
      flops: count * (2 * weights * rows + numLayers * 4 * d * rows * rows),
      bytes: count * weights * bytesPerWeight(run),
      work: async () => {
        const features = await encoder.encode(seededPixels(numPixels * count), { executor: new SubmitExecutor(gpu) });
        await flush(gpu);
        gpu.destroyBuffer(features);
      },
    }));
    return series(run, works, {
      name: "scaling/images",
      title: `Encoding time against pictures or tiles (${layers(numLayers)}, ${d} wide, ${rows} positions each)`,
      xLabel: "pictures or tiles",
      maxDegree: 1,
      explain: (fit) =>
        `Pictures are encoded one by one, so the curve is a line of ${number(fit.linear)} ms per picture; ${fixedPart(fit, "pictures")}`,
    });
  });
}

async function factorCount(run: ScalingRun): Promise<ScalingSeries> {
  const decoder = decoderOf(512, 2);
  const counts = run.isQuick ? [1, 4, 16, 32] : [1, 2, 4, 6, 8, 16, 32];
  const numTokens = 8;
  return withModel(run, specOf(decoder, NO_TOWER), async (llava) => {
    const inputs = llava.processor.fromTensors({ inputIds: textIds(64, 5), pixelValues: undefined });
    const works = counts.map((count) => ({
      x: count,
      flops: 2 * layerWeights(decoder) * count * numTokens,
      bytes: layerWeights(decoder) * bytesPerWeight(run) * numTokens,
      work: () => llava.sweep(inputs, new Array<number>(count).fill(1), { maxNewTokens: numTokens, ignoreEos: true }),
    }));
    return series(run, works, {
      name: "scaling/factors",
      title: `Sweep of ${numTokens} tokens against factors in one batch (${describe(decoder)})`,
      xLabel: "factors",
      maxDegree: 1,
      explain: (fit) => {
        const shared = fit.constant / Math.max(fit.linear, 1e-9);
        return shared >= 1
          ? `The shared cost (reading the weights, dispatches) equals that of ${number(shared)} rows: below that number of factors another one is nearly free, above it the cost grows with them.`
          : "Rows share almost no cost: every factor costs as much as the first, because the time is spent on products, not on reading the weights.";
      },
    });
  });
}

async function modelWidth(run: ScalingRun): Promise<ScalingSeries> {
  const widths = run.isQuick ? [256, 512, 1024] : [256, 512, 1024, 2048, 4096];
  const numLayers = run.isSoftware ? 1 : 2;
  const numTokens = 8;
  const points: Measured[] = [];
  for (const width of widths) {
    const decoder = decoderOf(width, numLayers);
    points.push(
      ...(await withModel(run, specOf(decoder, NO_TOWER), async (llava) => {
        const inputs = llava.processor.fromTensors({ inputIds: textIds(16, 7), pixelValues: undefined });
        return measurePoints(run, [
          {
            x: width,
            flops: 2 * layerWeights(decoder) * numTokens,
            bytes: layerWeights(decoder) * bytesPerWeight(run) * numTokens,
            work: () => llava.answer(inputs, { maxNewTokens: numTokens, ignoreEos: true }),
          },
        ]);
      })),
    );
  }
  return fitted(points, {
    name: "scaling/width",
    title: `Decoding ${numTokens} tokens against the model's width (${layers(numLayers)})`,
    xLabel: "width",
    maxDegree: 2,
    explain: (fit) => {
      const start = fit.constant + fit.linear * at(widths, 0);
      const bend = Math.sqrt(start / Math.max(fit.quadratic, 1e-12));
      return fit.quadratic > 0
        ? `Weights grow with the square of the width; below a width of about ${whole(bend)} dispatches and readbacks (${number(start)} ms for ${numTokens} tokens) outweigh reading them.`
        : "No quadratic part is visible: dispatches and readbacks outweigh reading the weights at all these widths.";
    },
  });
}

interface Work {
  readonly x: number;
  readonly flops: number;
  readonly bytes: number;
  readonly work: () => Promise<unknown>;
}

interface Measured {
  readonly x: number;
  readonly ms: Spread;
  readonly rooflineMs: number | null;
}

interface Curve {
  readonly name: string;
  readonly title: string;
  readonly xLabel: string;
  readonly maxDegree: 1 | 2;
  readonly explain: (fit: CostFit) => string;
}

async function series(run: ScalingRun, works: readonly Work[], curve: Curve): Promise<ScalingSeries> {
  return fitted(await measurePoints(run, works), curve);
}

async function measurePoints(run: ScalingRun, works: readonly Work[]): Promise<readonly Measured[]> {
  const points: Measured[] = [];
  for (const { x, flops, bytes, work } of works) {
    throwIfAborted(run.timing.signal, "The bench");
    const ms = await timeWork(work, { ...run.timing, minSamples: Math.min(3, run.timing.minSamples) });
    const { ceilings } = run;
    const rooflineMs = ceilings && Math.max(flops / (ceilings.gflops * 1e6), bytes / (ceilings.gbps * 1e6));
    points.push({ x, ms, rooflineMs });
  }
  return points;
}

function fitted(points: readonly Measured[], { name, title, xLabel, maxDegree, explain }: Curve): ScalingSeries {
  const fit = fitCost(
    points.map(({ x, ms }) => ({ x, ms: ms.median })),
    maxDegree,
  );
  const withModelMs = points.map((point) => ({ ...point, modelMs: costAt(fit, point.x) }));
  return { name, title, xLabel, points: withModelMs, fit, explanation: explain(fit) };
}

function fixedPart(fit: CostFit, unit: string): string {
  if (fit.constant <= 0) return "no fixed cost is visible.";
  const upTo = fit.linear > 0 ? `, as much as ${number(fit.constant / fit.linear)} ${unit}` : "";
  return `the fixed cost is ${number(fit.constant)} ms${upTo}.`;
}

function describe({ hiddenSize, numHiddenLayers }: DecoderShape): string {
  return `${layers(numHiddenLayers)}, ${hiddenSize} wide`;
}

function layers(count: number): string {
  return count === 1 ? "1 layer" : `${count} layers`;
}

function whole(value: number): string {
  return Math.round(value).toLocaleString("en-US");
}

function number(value: number): string {
  return value >= 100 ? whole(value) : value.toPrecision(2);
}

function bytesPerWeight(run: ScalingRun): number {
  return run.isSoftware ? 4 : 2;
}

function specOf(decoder: DecoderShape, vision: VisionShape): Omit<CheckpointSpec, "dtype"> {
  return { name: "scaling", seed: 1, decoder, vision, tieWordEmbeddings: false, maxPositions: 8192 };
}

async function withModel<T>(
  run: ScalingRun,
  spec: Omit<CheckpointSpec, "dtype">,
  work: (llava: Llava) => Promise<T>,
): Promise<T> {
  const source = memorySource(spec, run.isSoftware ? "F32" : "F16");
  const llava = await Llava.load(source, { device: run.device, adapterClass: run.isSoftware ? "cpu" : "gpu" });
  try {
    return await work(llava);
  } finally {
    llava.dispose();
  }
}

/** A random checkpoint in memory, without a tokenizer. */
function memorySource(spec: Omit<CheckpointSpec, "dtype">, dtype: CheckpointSpec["dtype"] = "F32"): Source {
  const encoder = new TextEncoder();
  const files = new Map(
    [...checkpointFiles({ ...spec, dtype })].map(({ name, content }) => [
      name,
      typeof content === "string" ? encoder.encode(content) : content,
    ]),
  );
  return {
    name: spec.name,
    size: async (path) => files.get(path)?.byteLength,
    read: async (path, start, end) => files.get(path)?.slice(start, end) ?? new Uint8Array(0),
  };
}
