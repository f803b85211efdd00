// A small LLaMA-type checkpoint on disk, of random weights, with a vocabulary that llama.cpp takes.
import { mkdtemp, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { encodeSafetensors, type TensorToWrite } from "../../src/checkpoint/safetensors-writer.ts";

/** Sizes of the checkpoint. */
export const textShape = {
  vocabSize: 320,
  hiddenSize: 64,
  intermediateSize: 96,
  numLayers: 2,
  numHeads: 4,
  numKeyValueHeads: 2,
  headDim: 16,
} as const;

/** What varies between checkpoints. */
export interface TextCheckpointOptions {
  readonly biases?: boolean;
  readonly ropeScaling?: Readonly<Record<string, string | number>>;
}

/** Writes the checkpoint and returns its folder. */
export async function writeTextCheckpoint({ biases = false, ropeScaling }: TextCheckpointOptions): Promise<string> {
  const { vocabSize, hiddenSize, intermediateSize, numLayers, numHeads, numKeyValueHeads, headDim } = textShape;
  const folder = await mkdtemp(join(tmpdir(), "adaptvis-text-"));
  const random = generator(7);
  const tensors: TensorToWrite[] = [];
  const add = (name: string, shape: readonly number[], { mean = 0, spread = 1 } = {}): void => {
    const count = shape.reduce((product, size) => product * size, 1);
    const values = Float32Array.from({ length: count }, () => mean + spread * random());
    tensors.push({ name, dtype: "F32", shape, data: new Uint8Array(values.buffer) });
  };
  const linear = (name: string, rows: number, columns: number): void => {
    add(`${name}.weight`, [rows, columns], { spread: 2 / Math.sqrt(columns) });
    if (biases) add(`${name}.bias`, [rows], { spread: 0.3 });
  };
  add("model.embed_tokens.weight", [vocabSize, hiddenSize]);
  for (let index = 0; index < numLayers; index++) {
    const layer = `model.layers.${index}`;
    for (const norm of ["input_layernorm", "post_attention_layernorm"])
      add(`${layer}.${norm}.weight`, [hiddenSize], { mean: 1, spread: 0.2 });
    linear(`${layer}.self_attn.q_proj`, numHeads * headDim, hiddenSize);
    linear(`${layer}.self_attn.k_proj`, numKeyValueHeads * headDim, hiddenSize);
    linear(`${layer}.self_attn.v_proj`, numKeyValueHeads * headDim, hiddenSize);
    linear(`${layer}.self_attn.o_proj`, hiddenSize, numHeads * headDim);
    linear(`${layer}.mlp.gate_proj`, intermediateSize, hiddenSize);
    linear(`${layer}.mlp.up_proj`, intermediateSize, hiddenSize);
    linear(`${layer}.mlp.down_proj`, hiddenSize, intermediateSize);
  }
  add("model.norm.weight", [hiddenSize], { mean: 1, spread: 0.2 });
  add("lm_head.weight", [vocabSize, hiddenSize], { spread: 0.3 });
  await writeFile(join(folder, "model.safetensors"), encodeSafetensors(tensors, { format: "pt" }));
  const config = {
    architectures: ["LlamaForCausalLM"],
    model_type: "llama",
    vocab_size: vocabSize,
    hidden_size: hiddenSize,
    intermediate_size: intermediateSize,
    num_hidden_layers: numLayers,
    num_attention_heads: numHeads,
    num_key_value_heads: numKeyValueHeads,
    head_dim: headDim,
    hidden_act: "silu",
    rms_norm_eps: 1e-5,
    rope_theta: 10_000,
    ...(ropeScaling && { rope_scaling: ropeScaling }),
    max_position_embeddings: 256,
    attention_bias: biases,
    mlp_bias: biases,
    tie_word_embeddings: false,
  };
  await writeFile(join(folder, "config.json"), JSON.stringify(config));
  return folder;
}

/** Reproducible numbers in [−1, 1). */
function generator(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 31 - 1;
  };
}
