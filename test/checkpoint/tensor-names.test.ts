import { describe, expect, it } from "vitest";
import { canonicalName, isSavedBuffer } from "../../src/checkpoint/tensor-names.ts";

/** Our name, and what the four kinds of checkpoint call it: published, transformers 4.52, and 5.23 in its old and its new layout. */
const LLAVA_NAMES: readonly (readonly [string, ...string[]])[] = [
  [
    "language_model.model.layers.3.self_attn.q_proj.weight",
    "language_model.model.layers.3.self_attn.q_proj.weight",
    "model.language_model.layers.3.self_attn.q_proj.weight",
  ],
  [
    "language_model.model.embed_tokens.weight",
    "language_model.model.embed_tokens.weight",
    "model.language_model.embed_tokens.weight",
  ],
  ["language_model.model.norm.weight", "language_model.model.norm.weight", "model.language_model.norm.weight"],
  ["language_model.lm_head.weight", "language_model.lm_head.weight", "lm_head.weight"],
  [
    "vision_tower.vision_model.embeddings.class_embedding",
    "vision_tower.vision_model.embeddings.class_embedding",
    "model.vision_tower.vision_model.embeddings.class_embedding",
    "vision_tower.embeddings.class_embedding",
    "model.vision_tower.embeddings.class_embedding",
  ],
  [
    "vision_tower.vision_model.pre_layrnorm.bias",
    "vision_tower.vision_model.pre_layrnorm.bias",
    "model.vision_tower.vision_model.pre_layrnorm.bias",
    "vision_tower.pre_layrnorm.bias",
    "model.vision_tower.pre_layrnorm.bias",
  ],
  [
    "multi_modal_projector.linear_1.bias",
    "multi_modal_projector.linear_1.bias",
    "model.multi_modal_projector.linear_1.bias",
  ],
  ["image_newline", "image_newline", "model.image_newline"],
];

/** Plain LLaMA's names. */
const LLAMA_NAMES: readonly (readonly [string, ...string[]])[] = [
  ["language_model.model.layers.0.mlp.up_proj.weight", "model.layers.0.mlp.up_proj.weight"],
  ["language_model.model.embed_tokens.weight", "model.embed_tokens.weight"],
  ["language_model.model.norm.weight", "model.norm.weight"],
  ["language_model.lm_head.weight", "lm_head.weight"],
  ["language_model.model.layers.0.self_attn.rotary_emb.inv_freq", "model.layers.0.self_attn.rotary_emb.inv_freq"],
  ["language_model.model.rotary_emb.inv_freq", "model.rotary_emb.inv_freq"],
];

describe("canonicalName", () => {
  it.each([...LLAVA_NAMES, ...LLAMA_NAMES])("knows every spelling of %s", (canonical, ...spellings) => {
    expect(spellings.map(canonicalName)).toEqual(spellings.map(() => canonical));
  });

  it.each([
    "",
    "model",
    "model.",
    "lm_head",
    "text_model.layers.0",
    "model.visuals.x",
    "__proto__",
    "image_newlines",
    "language_model.model.x",
    "language_model.lm_head.x",
  ])("leaves %j alone", (name) => {
    expect(canonicalName(name)).toBe(name);
  });
});

describe("isSavedBuffer", () => {
  it.each([
    "language_model.model.layers.31.self_attn.rotary_emb.inv_freq",
    "language_model.model.rotary_emb.inv_freq",
    "vision_tower.vision_model.embeddings.position_ids",
    "rotary_emb.inv_freq",
    "position_ids",
  ])("knows %s", (name) => {
    expect(isSavedBuffer(name)).toBe(true);
  });

  it.each([
    "vision_tower.vision_model.pre_layrnorm.weight",
    "vision_tower.vision_model.encoder.layers.23.mlp.fc1.weight",
    "language_model.model.layers.0.post_attention_layernorm.weight",
    "vision_tower.vision_model.post_layernorm.weight",
    "my_position_ids",
    "my_rotary_emb.inv_freq",
    "position_ids.weight",
    "rotary_emb.inv_freq.weight",
    "language_model.model.rotary_emb",
    "",
  ])("does not excuse %j", (name) => {
    expect(isSavedBuffer(name)).toBe(false);
  });
});
