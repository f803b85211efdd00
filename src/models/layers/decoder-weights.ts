// The weights of a LLaMA-type decoder, under the checkpoint's own names in camelCase.
import type { Linear, Matrix } from "../../gpu/tensor.ts";
import type { TextConfig } from "../config.ts";
import type { WeightDeclarer } from "../weight-table.ts";

/** Weights of the norm of each head, [headDim] f32 each. */
export interface HeadNormWeights {
  readonly queryWeight: GPUBuffer;
  readonly keyWeight: GPUBuffer;
}

/** One decoder layer. */
export interface LlamaLayerWeights {
  readonly inputLayernorm: GPUBuffer;
  /** qkvProj: q_proj, k_proj and v_proj stacked by rows, [(H + 2·Hkv)·headDim, D] */
  readonly selfAttn: { readonly qkvProj: Linear; readonly oProj: Linear; readonly headNorm?: HeadNormWeights };
  readonly postAttentionLayernorm: GPUBuffer;
  /** gateUpProj: gate_proj and up_proj stacked by rows, [2·I, D] */
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

const PREFIX = "language_model.model";
/** Canonical name of the token embeddings. */
export const EMBED_TOKENS = `${PREFIX}.embed_tokens.weight`;
/** Canonical name of the language-model head. */
export const LM_HEAD = "language_model.lm_head.weight";

/** Declares a decoder. A tied checkpoint may hold the embedding table under either of its names. */
export function llamaWeights(w: WeightDeclarer, text: TextConfig): LlamaWeights {
  const { hiddenSize, vocabSize, tieWordEmbeddings } = text;
  const decoder = w.part("decoder");
  const embedTokens = decoder.table(EMBED_TOKENS, {
    rows: vocabSize,
    columns: hiddenSize,
    role: "token-embedding",
    otherNames: tieWordEmbeddings ? [LM_HEAD] : [],
    isQuantizable: tieWordEmbeddings, // rows are only looked up in it, unless it is the lm_head too
  });
  const layers = Array.from({ length: text.numHiddenLayers }, (_, layer) =>
    layerWeights(decoder, `${PREFIX}.layers.${layer}`, text),
  );
  const norm = decoder.vector(`${PREFIX}.norm.weight`, hiddenSize, "final-norm");
  const head = { rows: vocabSize, columns: hiddenSize, role: "token-embedding", isQuantizable: true } as const;
  const lmHead = tieWordEmbeddings ? embedTokens : w.part("lm_head").table(LM_HEAD, head);
  return { embedTokens, layers, norm, lmHead: { weight: lmHead, bias: undefined } };
}

function layerWeights(w: WeightDeclarer, prefix: string, text: TextConfig): LlamaLayerWeights {
  const { hiddenSize, intermediateSize, headDim } = text;
  const queryHeads = { count: text.numAttentionHeads, size: headDim };
  const keyValueHeads = { count: text.numKeyValueHeads, size: headDim };
  return {
    inputLayernorm: w.vector(`${prefix}.input_layernorm.weight`, hiddenSize, "norm"),
    selfAttn: {
      qkvProj: w.linear({
        stack: [
          { name: `${prefix}.self_attn.q_proj`, rows: queryHeads },
          { name: `${prefix}.self_attn.k_proj`, rows: keyValueHeads },
          { name: `${prefix}.self_attn.v_proj`, rows: keyValueHeads },
        ],
        columns: hiddenSize,
        bias: text.qkvBias,
      }),
      oProj: w.linear({
        stack: [{ name: `${prefix}.self_attn.o_proj`, rows: hiddenSize }],
        columns: queryHeads,
        bias: text.outputBias,
      }),
      ...(text.hasHeadNorm && {
        headNorm: {
          queryWeight: w.vector(`${prefix}.self_attn.q_norm.weight`, headDim, "norm"),
          keyWeight: w.vector(`${prefix}.self_attn.k_norm.weight`, headDim, "norm"),
        },
      }),
    },
    postAttentionLayernorm: w.vector(`${prefix}.post_attention_layernorm.weight`, hiddenSize, "norm"),
    mlp: {
      gateUpProj: w.linear({
        stack: [
          { name: `${prefix}.mlp.gate_proj`, rows: intermediateSize },
          { name: `${prefix}.mlp.up_proj`, rows: intermediateSize },
        ],
        columns: hiddenSize,
        bias: text.mlpBias,
      }),
      downProj: w.linear({
        stack: [{ name: `${prefix}.mlp.down_proj`, rows: hiddenSize }],
        columns: intermediateSize,
        bias: text.mlpBias,
      }),
    },
  };
}
