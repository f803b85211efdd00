// One name for each tensor, whatever wrote the checkpoint. The published LLaVA names are ours; everything else is mapped to them here.
//
//   published            language_model.model.…   language_model.lm_head.…  vision_tower.vision_model.…        multi_modal_projector.…
//   transformers ≥ 4.52  model.language_model.…   lm_head.…                 model.vision_tower.vision_model.…  model.multi_modal_projector.…
//   transformers ≥ 5     as published, or as ≥ 4.52, but both without "vision_model." (checked with what 5.23.0's save_pretrained writes)
//   plain LLaMA          model.layers.…, model.embed_tokens.…, model.norm.…, lm_head.…

/** Prefixes (or whole names), the longer before the shorter that it begins with, and what stands for them in our names. */
const PREFIXES: readonly (readonly [prefix: string, canonical: string])[] = [
  ["language_model.model.", "language_model.model."],
  ["language_model.lm_head.", "language_model.lm_head."],
  ["vision_tower.vision_model.", "vision_tower.vision_model."],
  ["vision_tower.", "vision_tower.vision_model."],
  ["model.language_model.", "language_model.model."],
  ["model.vision_tower.vision_model.", "vision_tower.vision_model."],
  ["model.vision_tower.", "vision_tower.vision_model."],
  ["model.multi_modal_projector.", "multi_modal_projector."],
  ["model.image_newline", "image_newline"],
  ["model.layers.", "language_model.model.layers."],
  ["model.embed_tokens.", "language_model.model.embed_tokens."],
  ["model.norm.", "language_model.model.norm."],
  ["model.rotary_emb.", "language_model.model.rotary_emb."],
  ["lm_head.", "language_model.lm_head."],
];

/** The published LLaVA name of the tensor that a checkpoint calls `name`; a name of no known form is returned as it is. */
export function canonicalName(name: string): string {
  for (const [prefix, canonical] of PREFIXES) {
    if (name.startsWith(prefix)) return canonical + name.slice(prefix.length);
  }
  return name;
}

/**
 * Whether a forward pass needs no tensor of this canonical name: tables that old versions saved, the vision tower's last norm, and the
 * vision layers from `numVisionLayersRun` on (the feature layer −2 of 24 runs 23), when that number is given.
 */
export function isKnownUnused(name: string, numVisionLayersRun: number = Number.POSITIVE_INFINITY): boolean {
  if (/(?:^|\.)(?:rotary_emb\.inv_freq|position_ids)$/.test(name)) return true;
  if (/^vision_tower\.vision_model\.post_layernorm\.(?:weight|bias)$/.test(name)) return true;
  const layer = /^vision_tower\.vision_model\.encoder\.layers\.(\d+)\./.exec(name)?.[1];
  return layer !== undefined && Number(layer) >= numVisionLayersRun;
}
