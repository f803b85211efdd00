// The goldens' checkpoints have ids only; with a small tokenizer, a chat template and a picture processor beside them the
// page and the command line can ask them. What they say means nothing.

import { copyFile, mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { repositoryRoot } from "./bundle.ts";

/** What of a golden's config.json is used. */
interface GoldenConfig {
  readonly model_type: string;
  readonly vocab_size?: number;
  readonly image_token_index?: number;
  /** The same, as Qwen-VL and SmolVLM call it. */
  readonly image_token_id?: number;
  /** LLaVA-OneVision's. */
  readonly video_token_index?: number;
  readonly vision_start_token_id?: number;
  readonly vision_end_token_id?: number;
  readonly image_grid_pinpoints?: readonly (readonly number[])[];
  readonly text_config?: { readonly vocab_size: number };
  readonly vision_config?: { readonly image_size?: number; readonly patch_size: number };
}

const WORDS = ["<unk>", "<s>", "</s>", "where", "is", "the", "mug", "?", "USER", ":", "ASSISTANT"];

/** @param picture what stands for one */
const templateOf = (
  picture: string,
) => `{%- for message in messages -%}{%- if message.content is string -%} USER : {{ message.content }}{%- else -%}
{%- for part in message.content -%}{%- if part.type == 'image' -%}${picture}{%- elif part.type == 'video' -%}<video>{%- else -%} USER : {{ part.text }}{%- endif -%}
{%- endfor -%}{%- endif -%}{%- endfor -%} ASSISTANT :`;

/** Copies a golden's checkpoint into a new folder and adds what it lacks to be asked. @returns the folder. */
export async function goldenCheckpoint(golden: string, folder: string): Promise<string> {
  const from = join(repositoryRoot, "test", "golden", golden);
  await mkdir(folder, { recursive: true });
  const own = (await readdir(from)).filter((name) => !name.startsWith("expected"));
  for (const name of own) await copyFile(join(from, name), join(folder, name));
  const config: GoldenConfig = JSON.parse(await readFile(join(folder, "config.json"), "utf8"));
  const write = async (name: string, content: string) => {
    if (!own.includes(name)) await writeFile(join(folder, name), content);
  };
  const json = (name: string, content: object) => write(name, JSON.stringify(content));
  const markers = markersOf(config);
  const { video_token_index: video } = config;
  await json("tokenizer.json", tokenizerOf(config, video === undefined ? markers : [...markers, ["<video>", video]]));
  await json("tokenizer_config.json", { bos_token: "<s>", eos_token: "</s>", unk_token: "<unk>" });
  await write("chat_template.jinja", templateOf(markers.map(([name]) => name).join("") || "<image>"));
  if (config.vision_config !== undefined) await json("preprocessor_config.json", processorOf(config));
  return folder;
}

/** The tokens that stand for a picture in a prompt, in their order, with their ids. */
function markersOf(config: GoldenConfig): readonly (readonly [name: string, id: number])[] {
  const { image_token_index, image_token_id: image = image_token_index } = config;
  const { vision_start_token_id: start, vision_end_token_id: end } = config;
  if (image === undefined) return [];
  if (start === undefined || end === undefined) return [["<image>", image]];
  return [
    ["<|vision_start|>", start],
    ["<|image_pad|>", image],
    ["<|vision_end|>", end],
  ];
}

function tokenizerOf({ vocab_size, text_config }: GoldenConfig, markers: ReturnType<typeof markersOf>): object {
  const size = text_config?.vocab_size ?? vocab_size ?? 0;
  const isMarker = (id: number) => markers.some(([, own]) => own === id);
  const ids = Array.from({ length: size }, (_, id) => id).filter((id) => !isMarker(id));
  const words = ids.map((id, index) => [WORDS[index] ?? `w${id}`, id] as const);
  // An added token keeps its id only if the vocabulary has it: another one would get the id behind the vocabulary's last.
  const vocab = Object.fromEntries([...words, ...markers]);
  const special = (id: number, content: string) => ({
    id,
    content,
    single_word: false,
    lstrip: false,
    rstrip: false,
    normalized: false,
    special: true,
  });
  return {
    added_tokens: [special(1, "<s>"), special(2, "</s>"), ...markers.map(([name, id]) => special(id, name))],
    normalizer: null,
    pre_tokenizer: { type: "Whitespace" },
    post_processor: null,
    decoder: null,
    model: {
      type: "WordPiece",
      vocab,
      unk_token: "<unk>",
      continuing_subword_prefix: "##",
      max_input_chars_per_word: 99,
    },
  };
}

function processorOf({ vision_config, image_grid_pinpoints, vision_start_token_id }: GoldenConfig): object {
  const side = vision_config?.image_size;
  if (vision_start_token_id !== undefined) {
    const limits = { min_pixels: 64, max_pixels: 12_845_056 };
    return { image_processor_type: "Qwen2VLImageProcessor", patch_size: vision_config?.patch_size, ...limits };
  }
  return {
    image_processor_type: image_grid_pinpoints === undefined ? "CLIPImageProcessor" : "LlavaNextImageProcessor",
    ...(image_grid_pinpoints !== undefined && { image_grid_pinpoints, do_pad: true }),
    do_convert_rgb: true,
    do_resize: true,
    size: { shortest_edge: side },
    resample: 3,
    do_center_crop: true,
    crop_size: { height: side, width: side },
    do_rescale: true,
    rescale_factor: 1 / 255,
    do_normalize: true,
    image_mean: [0.48145466, 0.4578275, 0.40821073],
    image_std: [0.26862954, 0.26130258, 0.27577711],
  };
}
