// One name for each tensor, independent of the program that wrote the checkpoint. The names of the published LLaVA are canonical;
// others are mapped to them here.
//
//   published            language_model.model.…   language_model.lm_head.…  vision_tower.vision_model.…        multi_modal_projector.…
//   transformers ≥ 4.52  model.language_model.…   lm_head.…                 model.vision_tower.vision_model.…  model.multi_modal_projector.…
//   transformers ≥ 5     as published, or as ≥ 4.52, but both without "vision_model." (checked with what 5.23.0's save_pretrained writes)
//   Idefics3, SmolVLM    model.text_model.…          lm_head.…                 model.vision_model.…               model.connector.…
//   Qwen2-VL             model.layers.…, …         lm_head.…                 visual.…                            visual.merger.…
//   the same, ≥ 4.52     model.language_model.…   lm_head.…                 model.visual.…                      model.visual.merger.…
//   plain LLaMA          model.layers.…, model.embed_tokens.…, model.norm.…, lm_head.…

/** Prefixes (or whole names) and their canonical form; a prefix comes before any shorter one that it begins with. */
const PREFIXES: readonly (readonly [prefix: string, canonical: string])[] = [
  ["vision_tower.vision_model.", "vision_tower.vision_model."],
  ["vision_tower.", "vision_tower.vision_model."],
  ["model.language_model.", "language_model.model."],
  ["model.vision_tower.vision_model.", "vision_tower.vision_model."],
  ["model.vision_tower.", "vision_tower.vision_model."],
  ["model.multi_modal_projector.", "multi_modal_projector."],
  ["model.image_newline", "image_newline"],
  ["model.text_model.", "language_model.model."],
  ["model.vision_model.", "vision_tower.vision_model."],
  ["model.connector.", "connector."],
  ["model.visual.", "visual."],
  ["model.layers.", "language_model.model.layers."],
  ["model.embed_tokens.", "language_model.model.embed_tokens."],
  ["model.norm.", "language_model.model.norm."],
  ["model.rotary_emb.", "language_model.model.rotary_emb."],
  ["lm_head.", "language_model.lm_head."],
];

/** The published LLaVA name of the tensor that a checkpoint calls `name`; an unknown name is returned unchanged. */
export function canonicalName(name: string): string {
  for (const [prefix, canonical] of PREFIXES) {
    if (name.startsWith(prefix)) return canonical + name.slice(prefix.length);
  }
  return name;
}

/**
 * Whether this canonical name belongs to a table that old versions saved and that every model computes itself. Other tensors
 * that a model does not read are declared by its family.
 */
export function isSavedBuffer(name: string): boolean {
  return /(?:^|\.)(?:rotary_emb\.inv_freq|position_ids)$/.test(name);
}
