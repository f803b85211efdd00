/**
 * The public API for every host; the modules `browser`, `node` and `deno` add what only they can do.
 * @module core
 */
export {
  type Answer,
  type AnswerJson,
  type AnswerMaps,
  type AnswerOptions,
  type AnswerStage,
  type AnswersOfEach,
  answerJson,
  type EachOptions,
  type ExpectedQuestion,
  type LoadOptions,
  type MapNumbersJson,
  type MethodOptions,
  type PictureAttentionJson,
  type Question,
  type SessionOptions,
  type SweepAnswer,
  type SweepOptions,
  type Trace,
  type TraceOptions,
  type WarmUpOptions,
  type WarmUpProgress,
} from "./answer.ts";
export { AnswerStream } from "./answer-stream.ts";
export {
  type AttentionRollout,
  type AttentionRolloutOptions,
  attentionRollout,
  type SinkTokens,
  type SinkTokensOptions,
  sinkTokens,
} from "./attention-rollout.ts";
export {
  type AttributedToken,
  type Attribution,
  type AttributionOptions,
  attributeLogit,
  type LogitPart,
} from "./attribution.ts";
export type { AblationGrid, AblationMode, AblationResult } from "./causal/ablation.ts";
export type { MeasuredRun } from "./causal/changed-runs.ts";
export type {
  AnswerMeasure,
  CausalGrid,
  EffectGrid,
  GridAxes,
  Measure,
  PictureArea,
  PositionGroup,
  PositionGrouping,
  PositionSelection,
} from "./causal/grid.ts";
export type { KnockOutGrid, KnockOutResult } from "./causal/knock-out-windows.ts";
export type { PatchedPart, PatchGrid, PatchResult } from "./causal/patching.ts";
export { blobSource } from "./checkpoint/blob-source.ts";
export { type Checkpoint, type CheckpointTensor, openCheckpoint, type TensorRange } from "./checkpoint/checkpoint.ts";
export { type Dtype, type FileDtype, f32ToBf16, f32ToF16, toF32 } from "./checkpoint/dtypes.ts";
export { type HttpSourceOptions, httpSource } from "./checkpoint/http-source.ts";
export { readSafetensorsHeader, type SafetensorsHeader, type TensorEntry } from "./checkpoint/safetensors.ts";
export { encodeSafetensors, type TensorToWrite } from "./checkpoint/safetensors-writer.ts";
export type { Source } from "./checkpoint/source.ts";
export { AbortError, CheckpointError, GpuError, type GpuErrorReason, InputError } from "./errors.ts";
export type { AblationOptions, KnockOutOptions, PatchOptions } from "./experiments.ts";
export { type ExplainOptions, type Explanation, explain } from "./explain.ts";
export type { Continuation } from "./generate/continuations.ts";
export type { FinishReason, GeneratedToken } from "./generate/generate.ts";
export type { JsonSchema } from "./generate/grammar/json-schema.ts";
export type { SamplingOptions } from "./generate/sampler.ts";
export type { TokenLogProb } from "./generate/token-chooser.ts";
export type { HeadLogitsOptions } from "./generate/unembed.ts";
export type { CacheDtype } from "./gpu/cache-format.ts";
export { type Gpu, isSoftwareAdapter, requestGpuDevice } from "./gpu/device.ts";
export { type AdapterGap, type AdapterReport, describeAdapter, type LimitName } from "./gpu/doctor.ts";
export type { Constant as KernelConstant } from "./gpu/kernel.ts";
export { measureTuning, type TuningSizes } from "./gpu/ops/measure-tuning.ts";
export { parseTuningTable, tuningKey } from "./gpu/ops/tuning.ts";
export type { ChromeTrace, ChromeTraceEvent } from "./gpu/profile/chrome-trace.ts";
export type { KernelTimes, PhaseTimes, ProfileReport, StageTimes } from "./gpu/profile/profile-report.ts";
export { Profiler, type ProfilerOptions } from "./gpu/profile/profiler.ts";
export type { ActivationDtype, FloatDtype, QuantizedDtype, WeightDtype } from "./gpu/tensor.ts";
export type { TunableChoice, TunableName, TuningTable } from "./gpu/tunables.ts";
export { type AnswerWord, tokensOfWord, wordsOf } from "./inspect/answer-words.ts";
export type { AnswerAttention, AttentionMap, HeadMaps, MapSelection } from "./inspect/attention-map.ts";
export { entropyBits } from "./inspect/entropy.ts";
export type { ExplainedKernel, ExplainedPass, PassTensor, PassValues } from "./inspect/explained-pass.ts";
export { drawHeatMap, HEAT_MAP_GAP, HEAT_MAP_SIDE, heatColor, overlayAttention } from "./inspect/heat-map.ts";
export type { KernelHeader } from "./inspect/kernel-text.ts";
export { mapOnPicture, type PixelMap } from "./inspect/map-on-picture.ts";
export type { PlaceRead, PlaceValues, PlaceWrite } from "./inspect/places.ts";
export { type Comparison, type RelativeMap, relativeMap } from "./inspect/relative-map.ts";
export type { ValuePicture, ValueStatistics } from "./inspect/tensor-values.ts";
export type { TraceTensor } from "./inspect/trace.ts";
export { type AdaptVisSettings, chooseFactor, DEFAULT_ADAPTVIS } from "./interventions/adaptvis.ts";
export { confidenceOf, optionConfidence, roundConfidence } from "./interventions/confidence.ts";
export { type ImageSelection, imageColumns } from "./interventions/image-columns.ts";
export {
  type ChangedPictureContrast,
  type ConfidenceMeasure,
  type Contrast,
  columnsOf,
  defineIntervention,
  type EarlyLayerContrast,
  type EditContext,
  type EditedImage,
  type Edits,
  type Intervention,
  type NoPictureContrast,
  type Readings,
  RULED_OUT,
  rowsOf,
  type ScoreEdit,
} from "./interventions/intervention.ts";
export {
  type ColumnSelection,
  choice,
  factor,
  HEAD_PARAMETERS,
  IMAGE_PARAMETERS,
  type IndexedThings,
  indices,
  type NumberOptions,
  number,
  type Parameter,
  type ParameterKind,
  type Parameters,
  type PictureBox,
  PLACE_PARAMETERS,
  type RowSelection,
  type SettingsOf,
  type Strengths,
  whole,
} from "./interventions/parameters.ts";
export { type PlaceSettings, placed } from "./interventions/placement.ts";
export { INTERVENTIONS, type MethodName, type MethodSettings } from "./interventions/registry.ts";
export { type Lens, type LensOptions, type LensRow, type LensToken, logitLens } from "./lens.ts";
export { Llava } from "./llava.ts";
export type { ImageSize } from "./models/architecture.ts";
export type { ModelConfig, MultimodalConfig, TextConfig, VisionConfig } from "./models/config.ts";
export {
  type FeatureGrid,
  type ImageInput,
  imageRuns,
  imageSpan,
  type ModelInputs,
  type PictureTiles,
  type PictureView,
  type Run,
} from "./models/inputs.ts";
export type { ScoreOperation, SinkRule } from "./models/layers/score-edits.ts";
export type { ProcessedTensors } from "./models/processed-tensors.ts";
export type {
  Conversation,
  ConversationMessage,
  PicturePart,
  Processor,
  TextPart,
  Video,
  VideoPart,
} from "./models/processor.ts";
export { readModelConfig } from "./models/registry.ts";
export type { RopeAxes, RopeConfig, RopeScaling, YarnScaling } from "./models/rope-config.ts";
export type { LoadProgress } from "./models/weights.ts";
export type { TileView } from "./preprocess/anyres.ts";
export type {
  ChatMessage,
  ChatPart,
  ChatTemplate,
  ChatTemplateSource,
  RenderMessagesOptions,
  RenderOptions,
} from "./preprocess/chat-template.ts";
export { CHAT_TEMPLATES, type ChatTemplateName } from "./preprocess/chat-templates.ts";
export type { RgbImage } from "./preprocess/image.ts";
export type { DecodeOptions, PictureFile } from "./preprocess/image-header.ts";
export {
  type ColorTriple,
  fitToSquare,
  type ImageProcessorConfig,
  type PatchRule,
  type ResizeRule,
} from "./preprocess/image-processor.ts";
export type { ResampleFilter, Size } from "./preprocess/resize-bicubic.ts";
export type { TilingRule } from "./preprocess/tiles.ts";
export type { Tokenizer, TokenStream } from "./preprocess/tokenizer/tokenizer.ts";
export { type RunOptions, Session } from "./session.ts";
export type { MethodDefaults } from "./settings.ts";
export { type TokenAttention, type TokenAttentionOptions, tokenAttention } from "./token-attention.ts";
