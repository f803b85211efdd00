// What an adapter is, has and lacks, as plain data: the content of `adaptvis doctor`.

import { accepts, InputError, kindOf } from "../errors.ts";
import { isSoftwareAdapter } from "./device.ts";

/** A feature or limit that falls short of what some part of the engine would like, and what that means. */
export interface AdapterGap {
  /** The feature or limit, by WebGPU's name, with its value where it has one. */
  readonly missing: string;
  /** What is slower or left out. */
  readonly consequence: string;
  /** What works all the same. */
  readonly worksAnyway: string;
}

/** An adapter's report; every value can be written as JSON. */
export interface AdapterReport {
  readonly vendor: string;
  readonly architecture: string;
  readonly device: string;
  readonly description: string;
  readonly isFallbackAdapter: boolean;
  /** Whether it computes on the CPU. */
  readonly isSoftware: boolean;
  readonly features: {
    readonly shaderF16: boolean;
    readonly subgroups: boolean;
    /** Threads of the smallest and largest subgroup, null without subgroups or where the host does not tell. */
    readonly subgroupMinSize: number | null;
    readonly subgroupMaxSize: number | null;
    readonly timestampQuery: boolean;
  };
  /** Limits by WebGPU's names; sizes in bytes. */
  readonly limits: Readonly<Record<LimitName, number>>;
  readonly gaps: readonly AdapterGap[];
}

/** A limit of WebGPU that the report has. */
export type LimitName =
  | "maxBufferSize"
  | "maxStorageBufferBindingSize"
  | "maxStorageBuffersPerShaderStage"
  | "maxComputeWorkgroupStorageSize"
  | "maxComputeInvocationsPerWorkgroup"
  | "maxComputeWorkgroupsPerDimension";

/** The embedding table of LLaVA-1.5-7B in f16: 32,064 tokens of 4,096 numbers, 262.7 MB. */
const llavaEmbeddingBytes = 32_064 * 4_096 * 2;

/** Describes an adapter and what of the engine it cannot serve at full speed. @throws InputError for what is not an adapter. */
export function describeAdapter(adapter: GPUAdapter): AdapterReport {
  if (!accepts(adapter, ({ features, limits, info }) => typeof features.has === "function" && limits && info)) {
    throw new InputError(`describeAdapter: expected a GPUAdapter, got ${kindOf(adapter)}.`);
  }
  const { info } = adapter;
  const features = {
    shaderF16: adapter.features.has("shader-f16"),
    subgroups: adapter.features.has("subgroups"),
    subgroupMinSize: info.subgroupMinSize ?? null,
    subgroupMaxSize: info.subgroupMaxSize ?? null,
    timestampQuery: adapter.features.has("timestamp-query"),
  };
  const limits = readLimits(adapter.limits);
  const isSoftware = isSoftwareAdapter(info);
  return {
    vendor: info.vendor,
    architecture: info.architecture,
    device: info.device,
    description: info.description,
    isFallbackAdapter: info.isFallbackAdapter ?? false,
    isSoftware,
    features,
    limits,
    gaps: findGaps(isSoftware, features, limits),
  };
}

function readLimits(limits: GPUSupportedLimits): Record<LimitName, number> {
  return {
    maxBufferSize: limits.maxBufferSize,
    maxStorageBufferBindingSize: limits.maxStorageBufferBindingSize,
    maxStorageBuffersPerShaderStage: limits.maxStorageBuffersPerShaderStage,
    maxComputeWorkgroupStorageSize: limits.maxComputeWorkgroupStorageSize,
    maxComputeInvocationsPerWorkgroup: limits.maxComputeInvocationsPerWorkgroup,
    maxComputeWorkgroupsPerDimension: limits.maxComputeWorkgroupsPerDimension,
  };
}

function findGaps(
  isSoftware: boolean,
  features: AdapterReport["features"],
  limits: AdapterReport["limits"],
): readonly AdapterGap[] {
  const gaps: AdapterGap[] = [];
  if (isSoftware) {
    gaps.push({
      missing: "GPU",
      consequence: "the CPU computes: a model of billions of parameters takes minutes for an answer",
      worksAnyway: "everything, with the same answers",
    });
  }
  if (!features.shaderF16) {
    gaps.push({
      missing: "shader-f16",
      consequence: "f16 weights are unpacked to f32 inside the kernels, which costs some speed",
      worksAnyway: "every checkpoint: f32, f16 and bf16",
    });
  }
  if (!features.subgroups) {
    gaps.push({
      missing: "subgroups",
      consequence: "sums over a workgroup go through its shared memory, which costs some speed",
      worksAnyway: "every kernel",
    });
  }
  if (!features.timestampQuery) {
    gaps.push({
      missing: "timestamp-query",
      consequence: "the time that a kernel takes on the GPU cannot be measured",
      worksAnyway: "everything but profiling",
    });
  }
  const largestBytes = Math.min(limits.maxStorageBufferBindingSize, limits.maxBufferSize);
  if (largestBytes < llavaEmbeddingBytes) {
    gaps.push({
      missing: `maxStorageBufferBindingSize of ${toMebibytes(llavaEmbeddingBytes)} (it is ${toMebibytes(largestBytes)})`,
      consequence: "the embedding table and output matrix of a 7B model are split over several buffers",
      worksAnyway: "tensors of any size, in parts",
    });
  }
  return gaps;
}

function toMebibytes(bytes: number): string {
  return `${Math.ceil(bytes / 2 ** 20)} MiB`;
}
