// The checkpoint's tensors as GPU buffers, under the checkpoint's own names in camelCase.

import { type Checkpoint, type ExpectedTensor, requireTensors } from "../checkpoint/checkpoint.ts";
import type { Gpu } from "../gpu/device.ts";
import { type FloatDtype, type Linear, type Matrix, storedRowBytes, type WeightDtype } from "../gpu/tensor.ts";
import type { ModelConfig, MultimodalConfig, TextConfig, VisionConfig } from "./config.ts";
import { Quantizer } from "./quantizer.ts";
import {
  floatDtypeOf,
  type Grouping,
  paddedLength,
  rowsPerPiece,
  type StackedTensor,
  type UploadContext,
  uploadJoined,
  uploadMatrix,
  uploadStacked,
  uploadVector,
} from "./upload.ts";
import { groupingsOf, storedBytes, storedDtype } from "./weight-storage.ts";

/** A layer norm's scale and shift, [D] f32 each. */
export interface NormWeights {
  readonly weight: GPUBuffer;
  readonly bias: GPUBuffer;
}

/** One CLIP encoder layer. */
export interface VisionLayerWeights {
  readonly layerNorm1: NormWeights;
  readonly selfAttn: {
    /** q_proj, k_proj and v_proj below one another: [3·H·headDim, Dv] */
    readonly qkvProj: Linear;
    readonly outProj: Linear;
  };
  readonly layerNorm2: NormWeights;
  readonly mlp: { readonly fc1: Linear; readonly fc2: Linear };
}

/** The CLIP vision tower, only the layers that run. */
export interface VisionWeights {
  /** [Dv] */
  readonly classEmbedding: GPUBuffer;
  /** [Dv, C·p²] */
  readonly patchEmbedding: Linear;
  /** [P + 1, Dv] */
  readonly positionEmbedding: Matrix;
  readonly preLayrnorm: NormWeights;
  readonly layers: readonly VisionLayerWeights[];
}

/** The two linear layers between the vision tower and the decoder. */
export interface ProjectorWeights {
  /** [D, Dv] */
  readonly linear1: Linear;
  /** [D, D] */
  readonly linear2: Linear;
  /** [D], LLaVA-NeXT only */
  readonly imageNewline: GPUBuffer | undefined;
}

/** One decoder layer. */
export interface LlamaLayerWeights {
  readonly inputLayernorm: GPUBuffer;
  /** qkvProj: q_proj, k_proj and v_proj below one another, [(H + 2·Hkv)·headDim, D] */
  readonly selfAttn: { readonly qkvProj: Linear; readonly oProj: Linear };
  readonly postAttentionLayernorm: GPUBuffer;
  /** gateUpProj: gate_proj and up_proj below one another, [2·I, D] */
  readonly mlp: { readonly gateUpProj: Linear; readonly downProj: Linear };
}

/** The decoder. */
export interface LlamaWeights {
  /** [V, D] */
  readonly embedTokens: Matrix;
  readonly layers: readonly LlamaLayerWeights[];
  /** [D] */
  readonly norm: GPUBuffer;
  /** [V, D]; the embedding table itself when the two are tied */
  readonly lmHead: Linear;
}

/** All weights of a model. */
export interface ModelWeights {
  readonly vision: VisionWeights | undefined;
  readonly projector: ProjectorWeights | undefined;
  readonly llama: LlamaWeights;
}

/** Progress of a load. */
export interface LoadProgress {
  readonly loadedBytes: number;
  readonly totalBytes: number;
  /** The tensor that was just worked on. */
  readonly tensor: string;
}

const VISION = "vision_tower.vision_model";
const LLAMA = "language_model.model";
const LM_HEAD = "language_model.lm_head.weight";
const EMBED_TOKENS = `${LLAMA}.embed_tokens.weight`;

/**
 * Checks the checkpoint's tensors against the config, then uploads them.
 * @throws CheckpointError listing missing, unexpected or misshapen tensors; GpuError; AbortError.
 */
export async function loadWeights(
  checkpoint: Checkpoint,
  config: ModelConfig,
  options: {
    readonly gpu: Gpu;
    /** How matrices are stored; as in the file unless given. */
    readonly dtype?: WeightDtype | undefined;
    readonly signal?: AbortSignal | undefined;
    readonly onProgress?: ((progress: LoadProgress) => void) | undefined;
    /** Gets the weights without their values before any is read: enough to record programs and compile pipelines. */
    readonly onPlan?: (weights: ModelWeights) => void;
  },
): Promise<ModelWeights> {
  const plan = new LoadPlan(checkpoint, config, options.dtype);
  requireTensors(checkpoint, plan.expected, { ignore: (name) => plan.isUnused(name) });
  plan.checkLimits(options.gpu);
  const totalBytes = plan.totalBytes();
  let loadedBytes = 0;
  const quantizer = new Quantizer(options.gpu);
  const context: UploadContext = {
    checkpoint,
    gpu: options.gpu,
    signal: options.signal,
    quantizer,
    dtypeOf: (name, fileDtype) => plan.dtypeOf(name, fileDtype),
    onBytes: (byteLength, tensor) => {
      loadedBytes += byteLength;
      options.onProgress?.({ loadedBytes, totalBytes, tensor });
    },
  };
  options.onPlan?.(await uploadAll({ ...context, isPlan: true }, config, plan));
  try {
    return await options.gpu.guard("loading the weights", () => uploadAll(context, config, plan));
  } finally {
    quantizer.dispose();
  }
}

/** A matrix of a checkpoint with its dtype in the file and on the GPU. */
export interface StoredMatrix extends ExpectedTensor {
  readonly fileDtype: FloatDtype;
  readonly dtype: WeightDtype;
}

/** The matrices that a model is made of when it is loaded in `dtype`, or as in the file. */
export function storedMatrices(checkpoint: Checkpoint, config: ModelConfig, dtype?: WeightDtype): StoredMatrix[] {
  const plan = new LoadPlan(checkpoint, config, dtype);
  return plan.expected.flatMap((tensor) => {
    const fileDtype = floatDtypeOf(checkpoint.tensors.get(tensor.name)?.entry.dtype);
    if (tensor.shape.length < 2 || fileDtype === undefined) return [];
    return [{ ...tensor, fileDtype, dtype: plan.dtypeOf(tensor.name, fileDtype) }];
  });
}

/** Bytes that the weights of a checkpoint take on the GPU when its matrices are stored in `dtype`, or as in the file. */
export function weightMemory(checkpoint: Checkpoint, config: ModelConfig, dtype?: WeightDtype): number {
  const plan = new LoadPlan(checkpoint, config, dtype);
  return plan.expected.reduce((sum, tensor) => {
    const fileDtype = floatDtypeOf(checkpoint.tensors.get(tensor.name)?.entry.dtype) ?? "f32";
    return sum + storedBytes(tensor, config, plan.dtypeOf(tensor.name, fileDtype));
  }, 0);
}

async function uploadAll(context: UploadContext, config: ModelConfig, plan: LoadPlan): Promise<ModelWeights> {
  const { text, multimodal } = config;
  const vision = multimodal && (await loadVision(context, multimodal));
  const projector = multimodal && (await loadProjector(context, config, multimodal));
  const llama = await loadLlama(context, text, plan.embedTokensName);
  return { vision, projector, llama };
}

/** Which tensors a config asks for, with their shapes. */
class LoadPlan {
  readonly expected: readonly ExpectedTensor[];
  /** Where the embedding table is: a tied checkpoint may hold the pair under either name. */
  readonly embedTokensName: string;
  private readonly checkpoint: Checkpoint;
  private readonly config: ModelConfig;
  private readonly wantedDtype: WeightDtype | undefined;

  constructor(checkpoint: Checkpoint, config: ModelConfig, wantedDtype: WeightDtype | undefined) {
    this.checkpoint = checkpoint;
    this.config = config;
    this.wantedDtype = wantedDtype;
    const { text, multimodal } = config;
    const onlyHead = text.tieWordEmbeddings && !checkpoint.tensors.has(EMBED_TOKENS) && checkpoint.tensors.has(LM_HEAD);
    this.embedTokensName = onlyHead ? LM_HEAD : EMBED_TOKENS;
    this.expected = [
      ...(multimodal ? expectedMultimodal(config, multimodal) : []),
      ...expectedLlama(text, this.embedTokensName),
    ];
  }

  /** A tensor that belongs to the architecture but that no forward pass here reads. */
  isUnused(name: string): boolean {
    if (name === LM_HEAD) return this.config.text.tieWordEmbeddings;
    const layer = /^vision_tower\.vision_model\.encoder\.layers\.(\d+)\./.exec(name);
    if (layer === null || this.config.multimodal === undefined) return false;
    const { numVisionLayers, vision } = this.config.multimodal;
    return Number(layer[1]) >= numVisionLayers && Number(layer[1]) < vision.numHiddenLayers;
  }

  /** The dtype of a matrix on the GPU. */
  dtypeOf(name: string, file: FloatDtype): WeightDtype {
    return storedDtype(name, { wanted: this.wantedDtype, file, isTied: this.config.text.tieWordEmbeddings });
  }

  /** Finds a matrix that the adapter cannot hold before anything is uploaded. @throws GpuError `limit`. */
  checkLimits(gpu: Gpu): void {
    for (const tensor of this.expected) {
      const fileDtype = floatDtypeOf(this.checkpoint.tensors.get(tensor.name)?.entry.dtype);
      if (tensor.shape.length < 2 || fileDtype === undefined) continue;
      const { rows, columns } = groupingsOf(tensor, this.config);
      const row = storedRowBytes({ dtype: this.dtypeOf(tensor.name, fileDtype), columns: paddedLength(columns) });
      const matrix = { numRows: paddedLength(rows), rowBytes: row.weights, splittable: true };
      rowsPerPiece(gpu, tensor.name, matrix);
    }
  }

  totalBytes(): number {
    return this.expected.reduce((sum, { name }) => {
      const entry = this.checkpoint.tensors.get(name)?.entry;
      return sum + (entry === undefined ? 0 : entry.end - entry.start);
    }, 0);
  }
}

function expectedLlama(text: TextConfig, embedTokensName: string): ExpectedTensor[] {
  const { hiddenSize: d, intermediateSize: i, headDim, vocabSize } = text;
  const q = text.numAttentionHeads * headDim;
  const kv = text.numKeyValueHeads * headDim;
  const expected: ExpectedTensor[] = [
    { name: embedTokensName, shape: [vocabSize, d] },
    { name: `${LLAMA}.norm.weight`, shape: [d] },
  ];
  if (!text.tieWordEmbeddings) expected.push({ name: LM_HEAD, shape: [vocabSize, d] });
  const linear = (name: string, shape: readonly [number, number], bias: boolean) => {
    expected.push({ name: `${name}.weight`, shape });
    if (bias) expected.push({ name: `${name}.bias`, shape: [shape[0]] });
  };
  for (let layer = 0; layer < text.numHiddenLayers; layer++) {
    const prefix = `${LLAMA}.layers.${layer}`;
    expected.push({ name: `${prefix}.input_layernorm.weight`, shape: [d] });
    expected.push({ name: `${prefix}.post_attention_layernorm.weight`, shape: [d] });
    linear(`${prefix}.self_attn.q_proj`, [q, d], text.qkvBias);
    linear(`${prefix}.self_attn.k_proj`, [kv, d], text.qkvBias);
    linear(`${prefix}.self_attn.v_proj`, [kv, d], text.qkvBias);
    linear(`${prefix}.self_attn.o_proj`, [d, q], text.outputBias);
    linear(`${prefix}.mlp.gate_proj`, [i, d], text.mlpBias);
    linear(`${prefix}.mlp.up_proj`, [i, d], text.mlpBias);
    linear(`${prefix}.mlp.down_proj`, [d, i], text.mlpBias);
  }
  return expected;
}

function expectedMultimodal(config: ModelConfig, multimodal: MultimodalConfig): ExpectedTensor[] {
  const { vision, projectorBias, imageGridPinpoints, numVisionLayers } = multimodal;
  const { hiddenSize: dv, intermediateSize: i } = vision;
  const d = config.text.hiddenSize;
  const expected: ExpectedTensor[] = [
    { name: `${VISION}.embeddings.class_embedding`, shape: [dv] },
    {
      name: `${VISION}.embeddings.patch_embedding.weight`,
      shape: [dv, vision.numChannels, vision.patchSize, vision.patchSize],
    },
    { name: `${VISION}.embeddings.position_embedding.weight`, shape: [vision.numPatches + 1, dv] },
    { name: "multi_modal_projector.linear_1.weight", shape: [d, dv] },
    { name: "multi_modal_projector.linear_2.weight", shape: [d, d] },
  ];
  const withBias = (name: string, shape: readonly number[]) => {
    expected.push({ name: `${name}.weight`, shape }, { name: `${name}.bias`, shape: [shape[0] ?? 0] });
  };
  withBias(`${VISION}.pre_layrnorm`, [dv]);
  if (projectorBias) {
    expected.push({ name: "multi_modal_projector.linear_1.bias", shape: [d] });
    expected.push({ name: "multi_modal_projector.linear_2.bias", shape: [d] });
  }
  if (imageGridPinpoints !== undefined) expected.push({ name: "image_newline", shape: [d] });
  for (let layer = 0; layer < numVisionLayers; layer++) {
    const prefix = `${VISION}.encoder.layers.${layer}`;
    withBias(`${prefix}.layer_norm1`, [dv]);
    withBias(`${prefix}.layer_norm2`, [dv]);
    for (const name of ["q_proj", "k_proj", "v_proj", "out_proj"]) withBias(`${prefix}.self_attn.${name}`, [dv, dv]);
    withBias(`${prefix}.mlp.fc1`, [i, dv]);
    withBias(`${prefix}.mlp.fc2`, [dv, i]);
  }
  return expected;
}

const whole = (size: number): Grouping => ({ count: 1, size });

async function loadLinear(
  context: UploadContext,
  name: string,
  options: { readonly rows: Grouping; readonly columns: Grouping; readonly bias: boolean },
): Promise<Linear> {
  return loadStacked(context, [{ name, rows: options.rows }], options);
}

/** Linear layers of one input as one. */
async function loadStacked(
  context: UploadContext,
  layers: readonly StackedTensor[],
  options: { readonly columns: Grouping; readonly bias: boolean },
): Promise<Linear> {
  const tensors = (kind: string) => layers.map(({ name, rows }) => ({ name: `${name}.${kind}`, rows }));
  const weight = await uploadStacked(context, tensors("weight"), options);
  const bias = options.bias ? await uploadJoined(context, tensors("bias")) : undefined;
  return { weight, bias };
}

async function loadNorm(context: UploadContext, name: string, size: number): Promise<NormWeights> {
  return {
    weight: await uploadVector(context, `${name}.weight`, whole(size)),
    bias: await uploadVector(context, `${name}.bias`, whole(size)),
  };
}

async function loadVision(context: UploadContext, multimodal: MultimodalConfig): Promise<VisionWeights> {
  const { vision, numVisionLayers } = multimodal;
  const dv = whole(vision.hiddenSize);
  const patchColumns = whole(vision.numChannels * vision.patchSize ** 2);
  const embeddings = `${VISION}.embeddings`;
  const layers: VisionLayerWeights[] = [];
  for (let layer = 0; layer < numVisionLayers; layer++) {
    layers.push(await loadVisionLayer(context, `${VISION}.encoder.layers.${layer}`, vision));
  }
  return {
    classEmbedding: await uploadVector(context, `${embeddings}.class_embedding`, dv),
    patchEmbedding: await loadLinear(context, `${embeddings}.patch_embedding`, {
      rows: dv,
      columns: patchColumns,
      bias: false,
    }),
    positionEmbedding: await uploadMatrix(context, `${embeddings}.position_embedding.weight`, {
      rows: whole(vision.numPatches + 1),
      columns: dv,
      splittable: false,
    }),
    preLayrnorm: await loadNorm(context, `${VISION}.pre_layrnorm`, vision.hiddenSize),
    layers,
  };
}

async function loadVisionLayer(
  context: UploadContext,
  prefix: string,
  vision: VisionConfig,
): Promise<VisionLayerWeights> {
  const dv = whole(vision.hiddenSize);
  const heads: Grouping = { count: vision.numAttentionHeads, size: vision.headDim };
  const projection = (name: string) => ({ name: `${prefix}.self_attn.${name}`, rows: heads });
  const inner = whole(vision.intermediateSize);
  return {
    layerNorm1: await loadNorm(context, `${prefix}.layer_norm1`, vision.hiddenSize),
    selfAttn: {
      qkvProj: await loadStacked(context, ["q_proj", "k_proj", "v_proj"].map(projection), { columns: dv, bias: true }),
      outProj: await loadLinear(context, `${prefix}.self_attn.out_proj`, { rows: dv, columns: heads, bias: true }),
    },
    layerNorm2: await loadNorm(context, `${prefix}.layer_norm2`, vision.hiddenSize),
    mlp: {
      fc1: await loadLinear(context, `${prefix}.mlp.fc1`, { rows: inner, columns: dv, bias: true }),
      fc2: await loadLinear(context, `${prefix}.mlp.fc2`, { rows: dv, columns: inner, bias: true }),
    },
  };
}

async function loadProjector(
  context: UploadContext,
  config: ModelConfig,
  multimodal: MultimodalConfig,
): Promise<ProjectorWeights> {
  const d = whole(config.text.hiddenSize);
  const bias = multimodal.projectorBias;
  const name = "multi_modal_projector";
  return {
    linear1: await loadLinear(context, `${name}.linear_1`, {
      rows: d,
      columns: whole(multimodal.vision.hiddenSize),
      bias,
    }),
    linear2: await loadLinear(context, `${name}.linear_2`, { rows: d, columns: d, bias }),
    imageNewline: multimodal.imageGridPinpoints && (await uploadVector(context, "image_newline", d)),
  };
}

async function loadLlama(context: UploadContext, text: TextConfig, embedTokensName: string): Promise<LlamaWeights> {
  const d = whole(text.hiddenSize);
  const vocabulary = whole(text.vocabSize);
  const embedTokens = await uploadMatrix(context, embedTokensName, { rows: vocabulary, columns: d });
  const layers: LlamaLayerWeights[] = [];
  for (let layer = 0; layer < text.numHiddenLayers; layer++) {
    layers.push(await loadLlamaLayer(context, `${LLAMA}.layers.${layer}`, text));
  }
  const lmHead = text.tieWordEmbeddings
    ? embedTokens
    : await uploadMatrix(context, LM_HEAD, { rows: vocabulary, columns: d });
  return {
    embedTokens,
    layers,
    norm: await uploadVector(context, `${LLAMA}.norm.weight`, d),
    lmHead: { weight: lmHead, bias: undefined },
  };
}

async function loadLlamaLayer(context: UploadContext, prefix: string, text: TextConfig): Promise<LlamaLayerWeights> {
  const d = whole(text.hiddenSize);
  const inner = whole(text.intermediateSize);
  const queryHeads: Grouping = { count: text.numAttentionHeads, size: text.headDim };
  const keyValueHeads: Grouping = { count: text.numKeyValueHeads, size: text.headDim };
  const tensor = (name: string, rows: Grouping): StackedTensor => ({ name: `${prefix}.${name}`, rows });
  const { mlpBias } = text;
  return {
    inputLayernorm: await uploadVector(context, `${prefix}.input_layernorm.weight`, d),
    selfAttn: {
      qkvProj: await loadStacked(
        context,
        [
          tensor("self_attn.q_proj", queryHeads),
          tensor("self_attn.k_proj", keyValueHeads),
          tensor("self_attn.v_proj", keyValueHeads),
        ],
        { columns: d, bias: text.qkvBias },
      ),
      oProj: await loadStacked(context, [tensor("self_attn.o_proj", d)], {
        columns: queryHeads,
        bias: text.outputBias,
      }),
    },
    postAttentionLayernorm: await uploadVector(context, `${prefix}.post_attention_layernorm.weight`, d),
    mlp: {
      gateUpProj: await loadStacked(context, [tensor("mlp.gate_proj", inner), tensor("mlp.up_proj", inner)], {
        columns: d,
        bias: mlpBias,
      }),
      downProj: await loadStacked(context, [tensor("mlp.down_proj", d)], { columns: inner, bias: mlpBias }),
    },
  };
}
