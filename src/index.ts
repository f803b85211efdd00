/**
 * The public API for every host; the modules `browser`, `node` and `deno` add what only they can do.
 * @module core
 */
export {
  type AdaptVisSettings,
  chooseFactor,
  DEFAULT_ADAPTVIS,
  DEFAULT_FACTOR,
  type Method,
  optionConfidence,
  roundConfidence,
  type ScaledRows,
} from "./adaptvis.ts";
export type {
  Answer,
  AnswerOptions,
  AnswerStage,
  LoadOptions,
  Question,
  SweepAnswer,
  SweepOptions,
  Trace,
} from "./answer.ts";
export { type CheckpointSettings, readCheckpointSettings } from "./checkpoint-settings.ts";
export { AbortError, CheckpointError, GpuError, type GpuErrorReason, InputError } from "./errors.ts";

export { type ExplainOptions, type Explanation, explain } from "./explain.ts";
export type { FinishReason, GeneratedToken } from "./generate/generate.ts";
export type { SamplingOptions } from "./generate/sampler.ts";
export type { TokenLogProb } from "./generate/token-chooser.ts";
export type { ChromeTrace, ChromeTraceEvent } from "./gpu/chrome-trace.ts";
export { type Gpu, isSoftwareAdapter, requestGpuDevice } from "./gpu/device.ts";
export { type AdapterGap, type AdapterReport, describeAdapter, type LimitName } from "./gpu/doctor.ts";
export type { Constant as KernelConstant } from "./gpu/kernel.ts";
export { measureTuning, type TuningSizes } from "./gpu/ops-tuning.ts";
export type { KernelTimes, PhaseTimes, ProfileReport, StageTimes } from "./gpu/profile-report.ts";
export { Profiler, type ProfilerOptions } from "./gpu/profiler.ts";
export type { FloatDtype, QuantizedDtype, WeightDtype } from "./gpu/tensor.ts";
export type { Choice as TunableChoice, TunableName } from "./gpu/tunables.ts";
export { parseTuningTable, type TuningTable, tuningKey } from "./gpu/tuning.ts";
export { Llava } from "./llava.ts";
export { blobSource } from "./load/blob-source.ts";
export { type Checkpoint, type CheckpointTensor, openCheckpoint, type TensorRange } from "./load/checkpoint.ts";
export type { Dtype, WeightDtype as FileWeightDtype } from "./load/dtypes.ts";
export { type HttpSourceOptions, httpSource } from "./load/http-source.ts";
export { f32ToBf16, f32ToF16, toF32 } from "./load/numeric.ts";
export { readSafetensorsHeader, type SafetensorsHeader, type TensorEntry } from "./load/safetensors.ts";
export { encodeSafetensors, type TensorToWrite } from "./load/safetensors-writer.ts";
export type { Source } from "./load/source.ts";
export {
  type ModelConfig,
  type MultimodalConfig,
  readModelConfig,
  type TextConfig,
  type VisionConfig,
} from "./model/config.ts";
export type { RopeConfig } from "./model/rope.ts";
export type { LoadProgress } from "./model/weights.ts";
export {
  type ClipProcessorConfig,
  type ColorTriple,
  fitToSquare,
  type ResizeRule,
} from "./preprocess/clip-processor.ts";
export type { RgbImage } from "./preprocess/image.ts";
export type { DecodeOptions } from "./preprocess/image-header.ts";
export type { ModelInputs, ProcessedTensors, Processor } from "./preprocess/processor.ts";
export type { ResampleFilter, Size } from "./preprocess/resize-bicubic.ts";
export type { Tokenizer, TokenStream } from "./preprocess/tokenizer.ts";
export { type AnswerAttention, type AttentionMap, entropyBits, type MapSelection } from "./trace/attention-map.ts";
export type { ExplainedKernel, ExplainedPass, PassTensor, PassValues } from "./trace/explained-pass.ts";
export { drawHeatMap, HEAT_MAP_GAP, HEAT_MAP_SIDE, heatColor, overlayAttention } from "./trace/heat-map.ts";
export type { KernelHeader } from "./trace/kernel-text.ts";
export type { ValuePicture, ValueStatistics } from "./trace/pass-values.ts";
export type { TraceTensor } from "./trace/trace.ts";
