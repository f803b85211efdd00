// What a pass does in the model, in a few words, from its place and its kernel.
import { ACTIVATIONS } from "../gpu/ops/activations.ts";
import type { PassCall } from "./pass-call.ts";

/** By the end of the place; the longest that fits counts. */
const WORDS: Readonly<Record<string, string>> = {
  "vision.patch_embedding": "every patch's pixels as a hidden state",
  "vision.position_embedding": "class token and patches, each plus its position's embedding",
  "vision.pre_layrnorm": "hidden states before the first layer",
  layer_norm1: "hidden states, normalised for the attention",
  layer_norm2: "hidden states, normalised for the MLP",
  input_layernorm: "hidden states, normalised for the attention",
  post_attention_layernorm: "hidden states, normalised for the MLP",
  "self_attn.qkv_proj": "q, k and v of all heads",
  "self_attn.rotary_emb": "q and k rotated by position, k and v put into the cache",
  "self_attn.o_proj": "what the heads found, added to the hidden states",
  "self_attn.out_proj": "what the heads found, added to the hidden states",
  "mlp.fc1": "the MLP's inner values",
  "mlp.fc2": "the MLP's result, added to the hidden states",
  "mlp.gate_up_proj": "gate and up projection of the MLP",
  "mlp.act_fn": "the MLP's inner values: activation(gate) · up",
  "mlp.down_proj": "the MLP's result, added to the hidden states",
  "multi_modal_projector.linear_1": "features of the picture, as wide as the decoder",
  "multi_modal_projector.linear_2": "image features: a row for each position of the picture",
  embed_tokens: "the embedding of every text token",
  image_features: "image features put in the picture's positions of the prompt",
  norm: "the last row, normalised for the vocabulary",
  lm_head: "logits: a score for every token of the vocabulary",
  argmax: "the most probable token and its probability",
  top_k: "the most probable tokens in order",
  repetition_penalty: "logits of the tokens seen so far made smaller",
};

/** By kernel, where that says more than the place. */
const KERNEL_WORDS: Readonly<Record<string, string>> = {
  "unfold-patches": "the picture cut into patches",
  "qkv-rope": "q, k and v of all heads, rotated, put into the cache",
  "qkv-rope-reduce": "q, k and v of all heads, rotated, put into the cache",
  "gated-matvec": "the MLP's inner values: activation(gate) · up",
  "gated-matvec-reduce": "the MLP's inner values: activation(gate) · up",
  "attention-decode-quad": "what the last position finds in itself and all before it",
  "attention-decode-split": "what the last position finds in each split of the keys",
  "attention-decode-split-tiled": "what the last position finds in each split of the keys",
  "attention-decode-reduce": "what the splits found, merged into one softmax",
};

/** A sentence's fragment. @param step what `struct Step` says, as params of the pass: its factor is told */
export function wordsOf(call: PassCall, step: Readonly<Record<string, number>>): string {
  const { kernel, place, constants } = call;
  const words = KERNEL_WORDS[kernel.name] ?? placeWords(place) ?? attentionWords(call);
  const activation = Object.entries(ACTIVATIONS).find(([, number]) => number === constants.ACTIVATION)?.[0];
  const named = activation === undefined || activation === "none" ? words : activated(words, activation);
  const { "step.factor": factor = 1, "step.scaledStart": start = 0, "step.scaledEnd": end = 0 } = step;
  if (factor === 1) return named;
  const rows = end - start === 1 ? `position ${start}` : `positions ${start} to ${end - 1}`;
  return `${named}; in ${rows} the scores of the image times ${Number(factor.toPrecision(6))}`;
}

function placeWords(place: string): string | undefined {
  const parts = place.split(".");
  for (let first = 0; first < parts.length; first++) {
    const words = WORDS[parts.slice(first).join(".")];
    if (words !== undefined) return words;
  }
  return undefined;
}

function attentionWords({ constants }: PassCall): string {
  return constants.CAUSAL === true
    ? "what every position finds in itself and all before it"
    : "what every patch finds in all patches";
}

function activated(words: string, activation: string): string {
  return words.includes("activation(") ? words.replace("activation", activation) : `${words}, through ${activation}`;
}
