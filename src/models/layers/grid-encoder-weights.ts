// The weights of a vision tower that takes pictures of any shape as flattened patches, under the checkpoint's own names in camelCase.
import type { Activation } from "../../gpu/ops/activations.ts";
import type { Linear, Matrix } from "../../gpu/tensor.ts";
import type { VisionConfig } from "../config.ts";
import type { WeightDeclarer } from "../weight-table.ts";

/** The config of such a tower. */
export interface GridVisionConfig extends VisionConfig {
  /** Frames of a patch. */
  readonly temporalPatchSize: number;
  /** Patches along each side of a block, whose features become one. */
  readonly mergeSize: number;
  /** LayerNorm, or RMSNorm without shifts. */
  readonly norm: "layer" | "rms";
  /** Whether the MLP has a gate, as that of LLaMA. */
  readonly hasGate: boolean;
  readonly mergerAct: Activation;
  readonly ropeTheta: number;
  /** Blocks along each side of a window; undefined where every layer attends to all of the picture. */
  readonly windowSide: number | undefined;
  /** Layers that attend to all of the picture where there are windows. */
  readonly fullLayers: readonly number[];
  /** Width of the features. */
  readonly outputSize: number;
  /** Sides of the square table of learned positions, which is stretched over each picture; undefined without one. */
  readonly positionSide: number | undefined;
  /** Layers, in ascending order, whose hidden states are merged too, into features for the decoder's first layers. */
  readonly deepstackLayers: readonly number[];
  readonly names: GridNames;
}

/** What a family calls the parts that towers call differently. */
export interface GridNames {
  /** The two layers of an MLP without gate. */
  readonly mlp: readonly [inner: string, outer: string];
  readonly mergerNorm: string;
  readonly merger: readonly [first: string, second: string];
}

/** A norm's scale [D], and the shift [D] of a LayerNorm. */
export interface GridNorm {
  readonly weight: GPUBuffer;
  readonly bias: GPUBuffer | undefined;
}

/** One layer. */
export interface GridLayerWeights {
  readonly norm1: GridNorm;
  /** qkv: [3·H·headDim, Dv] */
  readonly attn: { readonly qkv: Linear; readonly proj: Linear };
  readonly norm2: GridNorm;
  /** inner: fc1 [I, Dv], or gate_proj and up_proj stacked by rows [2·I, Dv] */
  readonly mlp: { readonly inner: Linear; readonly outer: Linear };
}

/** first: [m²·Dv, m²·Dv] and second: [D, m²·Dv] over the m² patches of a block side by side. */
export interface MergerWeights {
  /** Of each patch; of a block's patches side by side behind an earlier layer. */
  readonly norm: GridNorm;
  readonly first: Linear;
  readonly second: Linear;
}

/** The tower. */
export interface GridEncoderWeights {
  /** [Dv, C·t·p²] */
  readonly patchEmbed: Linear;
  /** [side², Dv]; undefined without learned positions */
  readonly positions: Matrix | undefined;
  readonly blocks: readonly GridLayerWeights[];
  readonly merger: MergerWeights;
  /** Of each of the config's `deepstackLayers`. */
  readonly deepstack: readonly MergerWeights[];
}

const PREFIX = "visual";

/** Declares a tower. */
export function gridEncoderWeights(w: WeightDeclarer, vision: GridVisionConfig): GridEncoderWeights {
  const tower = w.part("vision tower");
  const { hiddenSize, numChannels, temporalPatchSize, patchSize } = vision;
  const columnShape = [numChannels, temporalPatchSize, patchSize, patchSize];
  const patchEmbed = tower.linear({
    stack: [{ name: `${PREFIX}.patch_embed.proj`, rows: hiddenSize }],
    columns: columnShape.reduce((product, size) => product * size, 1),
    columnShape,
    bias: vision.patchBias,
    isQuantizable: false,
  });
  const { positionSide } = vision;
  const positions =
    positionSide === undefined
      ? undefined
      : tower.table(`${PREFIX}.pos_embed.weight`, {
          rows: positionSide ** 2,
          columns: hiddenSize,
          role: "position",
          isQuantizable: false,
          isSplittable: false,
        });
  const blocks = Array.from({ length: vision.numHiddenLayers }, (_, layer) => layerWeights(tower, layer, vision));
  const projector = w.part("projector");
  return {
    patchEmbed,
    positions,
    blocks,
    merger: mergerWeights(projector, `${PREFIX}.merger`, vision, hiddenSize),
    deepstack: vision.deepstackLayers.map((_, index) =>
      mergerWeights(projector, `${PREFIX}.deepstack_merger_list.${index}`, vision, hiddenSize * vision.mergeSize ** 2),
    ),
  };
}

/** @param normSize values that are normed together */
function mergerWeights(w: WeightDeclarer, prefix: string, vision: GridVisionConfig, normSize: number): MergerWeights {
  const merged = { count: vision.mergeSize ** 2, size: vision.hiddenSize };
  const width = merged.count * merged.size;
  const linear = (name: string, rows: number, columns: typeof merged | number) =>
    w.linear({ stack: [{ name: `${prefix}.${name}`, rows }], columns, bias: true });
  const { mergerNorm, merger } = vision.names;
  return {
    norm: normWeights(w, `${prefix}.${mergerNorm}`, { ...vision, hiddenSize: normSize }),
    first: linear(merger[0], width, merged),
    second: linear(merger[1], vision.outputSize, width),
  };
}

function layerWeights(w: WeightDeclarer, layer: number, vision: GridVisionConfig): GridLayerWeights {
  const { hiddenSize, intermediateSize, numAttentionHeads, headDim } = vision;
  const prefix = `${PREFIX}.blocks.${layer}`;
  const heads = { count: numAttentionHeads, size: headDim };
  const linear = (names: readonly string[], rows: typeof heads | number, columns: typeof heads | number) =>
    w.linear({ stack: names.map((name) => ({ name: `${prefix}.${name}`, rows })), columns, bias: true });
  return {
    norm1: normWeights(w, `${prefix}.norm1`, vision),
    attn: {
      qkv: linear(["attn.qkv"], { count: 3 * numAttentionHeads, size: headDim }, hiddenSize),
      proj: linear(["attn.proj"], hiddenSize, heads),
    },
    norm2: normWeights(w, `${prefix}.norm2`, vision),
    mlp: vision.hasGate
      ? {
          inner: linear(["mlp.gate_proj", "mlp.up_proj"], intermediateSize, hiddenSize),
          outer: linear(["mlp.down_proj"], hiddenSize, intermediateSize),
        }
      : {
          inner: linear([vision.names.mlp[0]], intermediateSize, hiddenSize),
          outer: linear([vision.names.mlp[1]], hiddenSize, intermediateSize),
        },
  };
}

function normWeights(w: WeightDeclarer, name: string, { hiddenSize, norm }: GridVisionConfig): GridNorm {
  const weight = w.vector(`${name}.weight`, hiddenSize, "norm");
  return { weight, bias: norm === "layer" ? w.vector(`${name}.bias`, hiddenSize, "bias") : undefined };
}
