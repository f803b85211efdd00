// What the weights of a model are declared as: names, shapes, flags, with and without the parts that a tower may lack.
import { expect, test } from "vitest";
import type { WeightDtype } from "../../src/gpu/tensor.ts";
import type { VisionConfig } from "../../src/models/config.ts";
import { visionWeights } from "../../src/models/layers/vision-encoder.ts";
import { readArchitecture } from "../../src/models/registry.ts";
import { listWeights, matrixDtype, type WeightSpec } from "../../src/models/weight-table.ts";

const LLAVA = {
  model_type: "llava",
  text_config: { model_type: "llama", hidden_size: 8, num_attention_heads: 2, num_hidden_layers: 1, vocab_size: 10 },
  vision_config: { hidden_size: 12, num_attention_heads: 2, num_hidden_layers: 2, image_size: 8, patch_size: 4 },
};

function declared(json: object): readonly WeightSpec[] {
  const architecture = readArchitecture(json);
  return listWeights((w) => architecture.weights(w));
}

const namesOf = (weights: readonly WeightSpec[]) =>
  weights.flatMap(({ tensors }) => tensors.map(({ name }) => name.replace("vision_tower.vision_model.", "v.")));

test("tensors that no pass reads are declared, but not used", () => {
  const unused = declared(LLAVA).filter(({ isUsed }) => !isUsed);
  expect(namesOf(unused)).toContain("v.encoder.layers.1.mlp.fc1.weight");
  expect(namesOf(unused)).toContain("v.post_layernorm.weight");
  expect(namesOf(unused).some((name) => name.includes("layers.0."))).toBe(false);
});

test("parts come in the order of the forward pass", () => {
  expect([...new Set(declared(LLAVA).map(({ part }) => part))]).toEqual([
    "vision tower",
    "projector",
    "decoder",
    "lm_head",
  ]);
});

test("heads are padded one by one, and stacked tensors follow each other", () => {
  const qkv = declared(LLAVA).find(({ tensors }) => tensors[0]?.name.endsWith("layers.0.self_attn.q_proj.weight"));
  expect(qkv?.tensors.map(({ shape, rows }) => [shape, rows])).toEqual(
    Array.from({ length: 3 }, () => [[12, 12], { count: 2, size: 6 }]),
  );
  const out = declared(LLAVA).find(({ tensors }) => tensors[0]?.name.endsWith("layers.0.self_attn.out_proj.weight"));
  expect(out?.columns).toEqual({ count: 2, size: 6 });
});

test("a tied table may have either name and is quantised, an untied one only as the lm_head", () => {
  const tables = (json: object) => declared(json).filter(({ role }) => role === "token-embedding");
  expect(tables(LLAVA).map(({ isQuantizable, tensors }) => [isQuantizable, tensors[0]?.otherNames])).toEqual([
    [false, []],
    [true, []],
  ]);
  expect(tables({ ...LLAVA, tie_word_embeddings: true })).toMatchObject([
    { isQuantizable: true, tensors: [{ otherNames: ["language_model.lm_head.weight"] }] },
  ]);
});

test("under q4 and q4_1 the lm_head, or the table that is it too, the tower and the projector are in q8; what is not quantised keeps the file's dtype", () => {
  const dtypesOf = (json: object, wanted: WeightDtype | undefined) =>
    declared(json)
      .filter(({ role }) => role === "token-embedding")
      .map((spec) => matrixDtype(spec, wanted));
  expect(dtypesOf(LLAVA, "q4")).toEqual([undefined, "q8"]);
  expect(dtypesOf({ ...LLAVA, tie_word_embeddings: true }, "q4")).toEqual(["q8"]);
  expect(dtypesOf(LLAVA, "q8")).toEqual([undefined, "q8"]);
  expect(dtypesOf(LLAVA, "f16")).toEqual(["f16", "f16"]);
  expect(dtypesOf(LLAVA, undefined)).toEqual([undefined, undefined]);
  const matrices = declared(LLAVA).filter(({ role, isQuantizable }) => role === "matrix" && isQuantizable);
  for (const wanted of ["q4", "q4_1"] as const) {
    const formsOf = (part: string) =>
      new Set(matrices.filter((spec) => spec.part === part).map((spec) => matrixDtype(spec, wanted)));
    expect(formsOf("decoder")).toEqual(new Set([wanted]));
    expect(formsOf("vision tower")).toEqual(new Set(["q8"]));
    expect(formsOf("projector")).toEqual(new Set(["q8"]));
  }
});

test("LLaVA-NeXT adds its newline", () => {
  expect(namesOf(declared({ ...LLAVA, model_type: "llava_next" }))).toContain("image_newline");
});

test("a tower without class token and first norm, with a patch bias and an applied last norm", () => {
  const { multimodal } = readArchitecture(LLAVA).config;
  if (multimodal === undefined) throw new Error("expected a vision tower");
  const vision: VisionConfig = {
    ...multimodal.vision,
    hasClassToken: false,
    numPositions: 4,
    hasPreLayernorm: false,
    patchBias: true,
  };
  const weights = listWeights((w) => visionWeights(w, vision, { numLayers: 2, usesPostLayernorm: true }));
  const [embeddings] = [namesOf(weights).filter((name) => !name.includes("layers."))];
  expect(embeddings).toEqual([
    "v.embeddings.patch_embedding.weight",
    "v.embeddings.patch_embedding.bias",
    "v.embeddings.position_embedding.weight",
    "v.post_layernorm.weight",
    "v.post_layernorm.bias",
  ]);
  expect(weights.every(({ isUsed }) => isUsed)).toBe(true);
  expect(weights.find(({ role }) => role === "position")?.tensors[0]?.shape).toEqual([4, 12]);
});
