// Chat templates of published models, for checkpoints that come without one. Written from the formats that their authors
// document; none of them writes the token that begins a text, which the tokenizer adds.
//
// Sources: LLaVA's conversation templates (haotian-liu/LLaVA, llava/conversation.py: vicuna_v1, llava_v1, mistral_instruct,
// chatml_direct), the prompts in transformers' documentation of LLaVA and LLaVA-NeXT, Qwen's and Llama 3's model cards.
import type { ChatTemplateSource } from "./chat-template.ts";

/** A template's name. */
export type ChatTemplateName = "llava-1.5" | "llava-v1" | "vicuna" | "mistral" | "chatml" | "chatml-direct" | "llama-3";

/** A message's pictures, each on a line, and then its text. */
const CONTENT =
  "{%- for part in message['content'] if part['type'] == 'image' -%}{{- '<image>\\n' -}}{%- endfor -%}" +
  "{%- for part in message['content'] if part['type'] == 'text' -%}{{- part['text'] -}}{%- endfor -%}";

const LLAVA_1_5 =
  "{%- for message in messages -%}" +
  `{%- if message['role'] != 'system' -%}{{- message['role'].upper() + ': ' -}}{%- endif -%}${CONTENT}{{- ' ' -}}` +
  "{%- endfor -%}{%- if add_generation_prompt -%}{{- 'ASSISTANT:' -}}{%- endif -%}";

const VICUNA_TURNS =
  "{%- for message in messages -%}" +
  `{%- if message['role'] == 'assistant' -%}{{- 'ASSISTANT: ' -}}${CONTENT}{{- '</s>' -}}` +
  `{%- else -%}{%- if message['role'] == 'user' -%}{{- 'USER: ' -}}{%- endif -%}${CONTENT}{{- ' ' -}}{%- endif -%}` +
  "{%- endfor -%}{%- if add_generation_prompt -%}{{- 'ASSISTANT:' -}}{%- endif -%}";

const LLAVA_V1 =
  "{%- if messages[0]['role'] != 'system' -%}{{- \"A chat between a curious human and an artificial intelligence assistant. " +
  `The assistant gives helpful, detailed, and polite answers to the human's questions. " -}}{%- endif -%}${VICUNA_TURNS}`;

const VICUNA =
  "{%- if messages[0]['role'] != 'system' -%}{{- \"A chat between a curious user and an artificial intelligence assistant. " +
  `The assistant gives helpful, detailed, and polite answers to the user's questions. " -}}{%- endif -%}${VICUNA_TURNS}`;

/** The system message is inside the first instruction, and an answer is followed by its end at once, as Mistral writes it. */
const MISTRAL =
  "{%- for message in messages -%}" +
  `{%- if message['role'] == 'assistant' -%}{{- ' ' -}}${CONTENT}{{- '</s>' -}}` +
  `{%- elif message['role'] == 'system' -%}{{- '[INST] <<SYS>>\\n' -}}${CONTENT}{{- '\\n<</SYS>>\\n\\n' -}}` +
  "{%- else -%}{%- if loop.index0 != 1 or messages[0]['role'] != 'system' -%}{{- '[INST] ' -}}{%- endif -%}" +
  `${CONTENT}{{- ' [/INST]' -}}{%- endif -%}{%- endfor -%}`;

const CHATML =
  "{%- for message in messages -%}" +
  `{{- '<|im_start|>' + message['role'] + '\\n' -}}${CONTENT}{{- '<|im_end|>\\n' -}}` +
  "{%- endfor -%}{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}";

const CHATML_DIRECT =
  "{%- if messages[0]['role'] != 'system' -%}" +
  "{{- '<|im_start|>system\\nAnswer the questions.<|im_end|>' -}}{%- endif -%}" +
  "{%- for message in messages -%}" +
  `{{- '<|im_start|>' + message['role'] + '\\n' -}}${CONTENT}{{- '<|im_end|>' -}}` +
  "{%- endfor -%}{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}";

const LLAMA_3 =
  "{%- for message in messages -%}" +
  `{{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' -}}${CONTENT}{{- '<|eot_id|>' -}}` +
  "{%- endfor -%}{%- if add_generation_prompt -%}{{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' -}}{%- endif -%}";

/**
 * Templates for checkpoints that come without one, by name: `llava-1.5` as in llava-hf's repositories, `llava-v1` and `vicuna` with
 * their system messages and an end token after each answer, `mistral`, `chatml` (Qwen), `chatml-direct` (LLaVA-1.6-34B) and
 * `llama-3`. The `chatTemplate` of `Llava.load` takes one of them.
 */
export const CHAT_TEMPLATES: Readonly<Record<ChatTemplateName, ChatTemplateSource>> = {
  "llava-1.5": { file: "llava-1.5", source: LLAVA_1_5 },
  "llava-v1": { file: "llava-v1", source: LLAVA_V1 },
  vicuna: { file: "vicuna", source: VICUNA },
  mistral: { file: "mistral", source: MISTRAL },
  chatml: { file: "chatml", source: CHATML },
  "chatml-direct": { file: "chatml-direct", source: CHATML_DIRECT },
  "llama-3": { file: "llama-3", source: LLAMA_3 },
};

/** Published repositories whose early versions had no template. The more special name comes first. */
const KNOWN: readonly { readonly repository: RegExp; readonly template: ChatTemplateName }[] = [
  { repository: /^llava-1\.5-\d+b-hf$/, template: "llava-1.5" },
  { repository: /^bakllava-v1-hf$/, template: "llava-1.5" },
  { repository: /^llava-v1\.5-\d+b(-hf)?$/, template: "llava-v1" },
  { repository: /^llava-v1\.6-vicuna-\d+b(-hf)?$/, template: "llava-v1" },
  { repository: /^llava-v1\.6-mistral-7b(-hf)?$/, template: "mistral" },
  { repository: /^llava-v1\.6-34b(-hf)?$/, template: "chatml-direct" },
  { repository: /^vicuna-\d+b-v1\.[135](-16k)?$/, template: "vicuna" },
  { repository: /^mistral-7b-instruct-v0\.[123]$/, template: "mistral" },
];

/**
 * The template of a published repository.
 * @param path a folder's path or a repository's id; any part of it may be the repository's name, also as in a hub cache
 *   (`models--llava-hf--llava-1.5-7b-hf/snapshots/…`)
 * @returns the repository's name and the template's; undefined for an unknown repository
 */
export function templateOfRepository(
  path: string,
): { readonly repository: string; readonly template: ChatTemplateName } | undefined {
  for (const repository of path.split(/[\\/]|--/).reverse()) {
    const known = KNOWN.find((entry) => entry.repository.test(repository.toLowerCase()));
    if (known !== undefined) return { repository, template: known.template };
  }
  return undefined;
}
