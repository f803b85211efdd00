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
  readonly image_grid_pinpoints?: readonly (readonly number[])[];
  readonly text_config?: { readonly vocab_size: number };
  readonly vision_config?: { readonly image_size: number };
}

const WORDS = ["<unk>", "<s>", "</s>", "where", "is", "the", "mug", "?", "USER", ":", "ASSISTANT"];

const TEMPLATE = `{%- for message in messages -%}{%- if message.content is string -%} USER : {{ message.content }}{%- else -%}
{%- for part in message.content -%}{%- if part.type == 'image' -%}<image>{%- else -%} USER : {{ part.text }}{%- endif -%}
{%- endfor -%}{%- endif -%}{%- endfor -%} ASSISTANT :`;

/** Copies a golden's checkpoint into a new folder and adds what the page needs of one. @returns the folder. */
export async function goldenCheckpoint(golden: string, folder: string): Promise<string> {
  const from = join(repositoryRoot, "test", "golden", golden);
  await mkdir(folder, { recursive: true });
  for (const name of await readdir(from)) {
    if (!name.startsWith("expected")) await copyFile(join(from, name), join(folder, name));
  }
  const config: GoldenConfig = JSON.parse(await readFile(join(folder, "config.json"), "utf8"));
  const json = (name: string, content: object) => writeFile(join(folder, name), JSON.stringify(content));
  await json("tokenizer.json", tokenizerOf(config));
  await json("tokenizer_config.json", { bos_token: "<s>", eos_token: "</s>", unk_token: "<unk>" });
  await writeFile(join(folder, "chat_template.jinja"), TEMPLATE);
  if (config.vision_config !== undefined) await json("preprocessor_config.json", processorOf(config));
  return folder;
}

function tokenizerOf({ vocab_size, text_config, image_token_index: image }: GoldenConfig): object {
  const size = text_config?.vocab_size ?? vocab_size ?? 0;
  const ids = Array.from({ length: size }, (_, id) => id).filter((id) => id !== image);
  const words: [string, number][] = ids.map((id, index) => [WORDS[index] ?? `w${id}`, id]);
  // An added token keeps its id only if the vocabulary has it: another one would get the id behind the vocabulary's last.
  const vocab = Object.fromEntries(image === undefined ? words : [...words, ["<image>", image]]);
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
    added_tokens: [special(1, "<s>"), special(2, "</s>"), ...(image === undefined ? [] : [special(image, "<image>")])],
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

function processorOf({ vision_config, image_grid_pinpoints }: GoldenConfig): object {
  const side = vision_config?.image_size;
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
