// Fuzzing of the JSON files of a checkpoint: they are read, the memory of the model is planned, and a prompt with a picture is prepared.

import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { openCheckpoint } from "../../src/checkpoint/checkpoint.ts";
import { dtypeBits } from "../../src/checkpoint/dtypes.ts";
import { missingFile, type Source } from "../../src/checkpoint/source.ts";
import { parseIndex } from "../../src/checkpoint/weight-files.ts";
import { at } from "../../src/errors.ts";
import { type PlannedDevice, planMemory } from "../../src/memory-plan.ts";
import { architectureOf } from "../../src/models/checkpoint-architecture.ts";
import { loadProcessor } from "../../src/models/processor.ts";
import { readArchitecture } from "../../src/models/registry.ts";
import { listWeights } from "../../src/models/weight-table.ts";
import { readMethodDefaults } from "../../src/settings.ts";
import { defineKind } from "./kind.ts";
import { brokenJson, chance, mutateJson, pick, rewriteJson, writeJson } from "./mutate.ts";

/** A checkpoint that is in this repository, with other files. */
interface Checkpoint {
  readonly base: string;
  /** Texts by name. */
  readonly files: Readonly<Record<string, string>>;
}

/** Folders of checkpoints, from the repository's root. */
const FOLDERS = [
  "weights/tiny-spatial",
  "test/golden/llava-next",
  "test/golden/llava-onevision",
  "test/golden/llava-siglip",
  "test/golden/llava-qwen2-f16-sharded",
  "test/golden/llama-text-tied",
  "test/golden/llava-biases",
];

/** Files that bases lack, so that they are read too. */
const ADDED: Readonly<Record<string, object>> = {
  "adaptvis.json": { alpha1: 0.5, alpha2: 1.2, beta: 0.6, scalingFactor: 1.2 },
  "added_tokens.json": { "<image>": 3 },
  "model.safetensors.index.json": {
    metadata: { total_size: 1 },
    weight_map: { a: "model-00001-of-00002.safetensors" },
  },
};

/** Keys that change what is computed, in any of the files. */
const KEYS =
  "model_type text_config vision_config hidden_size intermediate_size num_hidden_layers num_attention_heads num_key_value_heads head_dim hidden_act rms_norm_eps layer_norm_eps rope_theta rope_scaling rope_parameters rope_type type factor low_freq_factor high_freq_factor original_max_position_embeddings attention_factor beta_fast beta_slow mscale mscale_all_dim truncate partial_rotary_factor max_position_embeddings sliding_window use_sliding_window max_window_layers layer_types vocab_size attention_bias mlp_bias tie_word_embeddings image_token_id image_token_index projector_hidden_act multimodal_projector_bias vision_feature_layer vision_feature_select_strategy image_grid_pinpoints vision_aspect_ratio video_token_index image_size patch_size num_channels quantization_config eos_token_id bos_token_id eos_token bos_token unk_token pad_token additional_special_tokens added_tokens_decoder content special lstrip rstrip chat_template name template image_processor image_processor_type feature_extractor_type size shortest_edge height width crop_size resample rescale_factor image_mean image_std do_resize do_center_crop do_rescale do_normalize do_pad data_format weight_map alpha1 alpha2 beta scalingFactor tokenizer_class add_bos_token add_eos_token add_prefix_space legacy extra_special_tokens".split(
    " ",
  );

const root = process.env.FUZZ_ROOT ?? process.cwd();

/** What a folder holds: its JSON files, and its tensors' names and shapes by what its config.json declares. */
interface Base {
  readonly texts: ReadonlyMap<string, string>;
  readonly weights: { readonly head: Uint8Array<ArrayBuffer>; readonly size: number };
}

const bases = new Map<string, Base>();

function baseNamed(name: string): Base {
  const known = bases.get(name);
  if (known !== undefined) return known;
  const folder = join(root, name);
  const names = readdirSync(folder).filter((file) => /\.(json|jinja)$/.test(file) && !file.includes(".index."));
  const texts = new Map(names.map((file) => [file, readFileSync(join(folder, file), "utf8")]));
  const made = { texts, weights: weightsOf(JSON.parse(texts.get("config.json") ?? "{}")) };
  bases.set(name, made);
  return made;
}

function weightsOf(config: object): Base["weights"] {
  const architecture = readArchitecture(config);
  const header: Record<string, object> = {};
  let end = 0;
  for (const { tensors } of listWeights((w) => architecture.weights(w))) {
    for (const { name, shape } of tensors) {
      const start = end;
      end += (shape.reduce((product, size) => product * size, 1) * dtypeBits("F16")) / 8;
      header[name] = { dtype: "F16", shape, data_offsets: [start, end] };
    }
  }
  const json = new TextEncoder().encode(JSON.stringify(header));
  const head = new Uint8Array(8 + json.length);
  new DataView(head.buffer).setBigUint64(0, BigInt(json.length), true);
  head.set(json, 8);
  return { head, size: head.length + end };
}

/** A base's files as sources have them; the weights are zeros. */
function sourceOf({ base, files }: Checkpoint): Source {
  const { texts, weights } = baseNamed(base);
  const all = new Map(
    [...texts, ...Object.entries(files)].map(([name, text]) => [name, new TextEncoder().encode(text)]),
  );
  return {
    name: "fuzzed",
    size: async (path) => (path === "model.safetensors" ? weights.size : all.get(path)?.length),
    async read(path, start, end) {
      if (path !== "model.safetensors") {
        const bytes = all.get(path);
        if (bytes === undefined) throw missingFile(path, "fuzzed");
        return bytes.slice(start, end);
      }
      const bytes = new Uint8Array(end - start);
      bytes.set(weights.head.subarray(start, end));
      return bytes;
    },
  };
}

export const configFiles = defineKind<Checkpoint>({
  name: "config",
  make(random) {
    const base = pick(random, FOLDERS);
    const { texts } = baseNamed(base);
    const names = [...texts.keys(), ...Object.keys(ADDED)].filter(
      (name) => /\.json$/.test(name) && name !== "tokenizer.json",
    );
    // config.json is as likely as all others together.
    const file = chance(random, 1, 2) ? "config.json" : pick(random, names);
    const value: unknown = texts.has(file) ? JSON.parse(texts.get(file) ?? "") : ADDED[file];
    const kind = random.integer(12);
    if (kind === 0 && texts.has(file)) {
      const extra = { ...Object(value), zzz: "@NaN@", _name_or_path: "x" };
      const text = rewriteJson(extra, random).replace('"@NaN@"', "NaN");
      return { input: { base, files: { [file]: text } }, sameAs: unchanged(base) };
    }
    const text = kind <= 9 ? writeJson(mutateJson(value, random, KEYS)) : brokenJson(JSON.stringify(value), random);
    return { input: { base, files: { [file]: text } } };
  },
  async run(files) {
    const index = files.files["model.safetensors.index.json"];
    const shards = index === undefined ? [] : [...parseIndex(index)];
    const source = sourceOf(files);
    const checkpoint = await openCheckpoint(source);
    const architecture = await architectureOf(checkpoint);
    const numImages = architecture.pictures === undefined ? 0 : 1;
    const plan = await planMemory(checkpoint, architecture, { device: DEVICE, numImages });
    const defaults = await readMethodDefaults(source);
    const processor = await loadProcessor(checkpoint, architecture);
    const answer: unknown[] = [
      architecture.config,
      plan.peakBytes,
      plan.problem,
      defaults,
      processor.eosTokenIds,
      shards,
    ];
    if (processor.hasTokenizer) {
      const prompt = processor.chatPrompt("Where is it?", { numImages });
      const inputs = processor.inputs(
        prompt,
        Array.from({ length: numImages }, () => PICTURE),
      );
      answer.push(prompt, [...inputs.inputIds]);
      for (const { pixelValues } of inputs.images) {
        if (pixelValues.some((value) => !Number.isFinite(value))) throw new Error("pixel values are not finite");
        answer.push(createHash("sha1").update(pixelValues).digest("hex"));
      }
    } else if (architecture.pictures !== undefined && processor.imageProcessor !== undefined) {
      const context = { processor: processor.imageProcessor, numPictures: 1 };
      const values = architecture.pictures.pixelValues(PICTURE, context);
      if (values.some((value) => !Number.isFinite(value))) throw new Error("pixel values are not finite");
      answer.push(createHash("sha1").update(values).digest("hex"));
    }
    return JSON.stringify(answer);
  },
});

const unchangedBases = new Map(FOLDERS.map((base): [string, Checkpoint] => [base, { base, files: {} }]));

function unchanged(base: string): Checkpoint {
  return unchangedBases.get(base) ?? at([], 0);
}

const PICTURE = {
  width: 20,
  height: 12,
  data: Uint8Array.from({ length: 20 * 12 * 3 }, (_, index) => (index * 37) % 256),
};

const LIMITS = {
  maxBufferSize: 2 ** 30,
  maxStorageBufferBindingSize: 2 ** 27,
  maxComputeWorkgroupStorageSize: 16_384,
  maxComputeInvocationsPerWorkgroup: 256,
  maxComputeWorkgroupsPerDimension: 65_535,
};

/** The limits that WebGPU guarantees; a host's objects have more members than are read. */
const DEVICE: PlannedDevice = {
  limits: LIMITS as unknown as GPUSupportedLimits,
  features: new Set(),
  adapterInfo: {
    vendor: "",
    architecture: "",
    device: "",
    description: "",
    isFallbackAdapter: false,
  } as GPUAdapterInfo,
  isSoftware: false,
};
