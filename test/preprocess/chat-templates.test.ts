// The built-in chat templates, written out by hand from the formats of their authors (the sources are named in the file itself).
import { describe, expect, test } from "vitest";
import { InputError } from "../../src/errors.ts";
import { type ChatMessage, loadChatTemplate } from "../../src/preprocess/chat-template.ts";
import { CHAT_TEMPLATES, type ChatTemplateName, templateOfRepository } from "../../src/preprocess/chat-templates.ts";

const NO_FILES = { readText: async () => undefined, readJson: async () => undefined };

async function builtIn(name: ChatTemplateName) {
  const template = await loadChatTemplate(NO_FILES, CHAT_TEMPLATES[name]);
  if (template === undefined) throw new Error("expected a template");
  return template;
}

const picture = { type: "image" } as const;
const text = (words: string) => ({ type: "text", text: words }) as const;
const CHAT: readonly ChatMessage[] = [
  { role: "user", content: [picture, picture, text("Q1")] },
  { role: "assistant", content: "A1" },
  { role: "user", content: "Q2" },
];
const HUMAN =
  "A chat between a curious human and an artificial intelligence assistant. The assistant gives helpful, detailed, and polite answers to the human's questions. ";
const USER =
  "A chat between a curious user and an artificial intelligence assistant. The assistant gives helpful, detailed, and polite answers to the user's questions. ";

describe.each<readonly [ChatTemplateName, string, string]>([
  [
    "llava-1.5",
    "USER: <image>\n<image>\nQ1 ASSISTANT: A1 USER: Q2 ASSISTANT:",
    "S USER: <image>\n<image>\nQ1 ASSISTANT: A1 USER: Q2 ASSISTANT:",
  ],
  [
    "llava-v1",
    `${HUMAN}USER: <image>\n<image>\nQ1 ASSISTANT: A1</s>USER: Q2 ASSISTANT:`,
    "S USER: <image>\n<image>\nQ1 ASSISTANT: A1</s>USER: Q2 ASSISTANT:",
  ],
  [
    "vicuna",
    `${USER}USER: <image>\n<image>\nQ1 ASSISTANT: A1</s>USER: Q2 ASSISTANT:`,
    "S USER: <image>\n<image>\nQ1 ASSISTANT: A1</s>USER: Q2 ASSISTANT:",
  ],
  [
    "mistral",
    "[INST] <image>\n<image>\nQ1 [/INST] A1</s>[INST] Q2 [/INST]",
    "[INST] <<SYS>>\nS\n<</SYS>>\n\n<image>\n<image>\nQ1 [/INST] A1</s>[INST] Q2 [/INST]",
  ],
  [
    "chatml",
    "<|im_start|>user\n<image>\n<image>\nQ1<|im_end|>\n<|im_start|>assistant\nA1<|im_end|>\n<|im_start|>user\nQ2<|im_end|>\n<|im_start|>assistant\n",
    "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\n<image>\n<image>\nQ1<|im_end|>\n<|im_start|>assistant\nA1<|im_end|>\n<|im_start|>user\nQ2<|im_end|>\n<|im_start|>assistant\n",
  ],
  [
    "chatml-direct",
    "<|im_start|>system\nAnswer the questions.<|im_end|><|im_start|>user\n<image>\n<image>\nQ1<|im_end|><|im_start|>assistant\nA1<|im_end|><|im_start|>user\nQ2<|im_end|><|im_start|>assistant\n",
    "<|im_start|>system\nS<|im_end|><|im_start|>user\n<image>\n<image>\nQ1<|im_end|><|im_start|>assistant\nA1<|im_end|><|im_start|>user\nQ2<|im_end|><|im_start|>assistant\n",
  ],
  [
    "llama-3",
    "<|start_header_id|>user<|end_header_id|>\n\n<image>\n<image>\nQ1<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\nA1<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nQ2<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n",
    "<|start_header_id|>system<|end_header_id|>\n\nS<|eot_id|><|start_header_id|>user<|end_header_id|>\n\n<image>\n<image>\nQ1<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\nA1<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nQ2<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n",
  ],
])("%s", (name, plain, withSystem) => {
  test("two turns with two pictures", async () => {
    expect((await builtIn(name)).renderMessages(CHAT)).toBe(plain);
  });
  test("with a system message", async () => {
    expect((await builtIn(name)).renderMessages([{ role: "system", content: "S" }, ...CHAT])).toBe(withSystem);
  });
  test("a question that holds the image token is refused", async () => {
    expect(
      (await builtIn(name)).renderMessages.bind(await builtIn(name), [{ role: "user", content: "<image>" }]),
    ).toThrow(InputError);
  });
});

test("all built-in templates are tested above", () => {
  expect(Object.keys(CHAT_TEMPLATES)).toHaveLength(7);
  for (const [name, { file }] of Object.entries(CHAT_TEMPLATES)) expect(file).toBe(name);
});

test("a given template goes before the checkpoint's", async () => {
  const files = { ...NO_FILES, readText: async () => "own {{ messages[0].content[0].text }}<image>" };
  const template = await loadChatTemplate(files, CHAT_TEMPLATES.vicuna);
  expect(template?.file).toBe("vicuna");
});

test.each([
  ["llava-hf/llava-1.5-7b-hf", "llava-1.5-7b-hf", "llava-1.5"],
  ["/models/LLaVA-1.5-13B-hf/", "LLaVA-1.5-13B-hf", "llava-1.5"],
  ["/hub/models--llava-hf--llava-v1.6-mistral-7b-hf/snapshots/0a1b2c", "llava-v1.6-mistral-7b-hf", "mistral"],
  ["C:\\models\\llava-v1.6-34b-hf", "llava-v1.6-34b-hf", "chatml-direct"],
  ["llava-v1.6-vicuna-7b-hf", "llava-v1.6-vicuna-7b-hf", "llava-v1"],
  ["liuhaotian/llava-v1.5-7b", "llava-v1.5-7b", "llava-v1"],
  ["lmsys/vicuna-7b-v1.5", "vicuna-7b-v1.5", "vicuna"],
])("%s is known", (path, repository, template) => {
  expect(templateOfRepository(path)).toEqual({ repository, template });
});

test.each(["", "weights/tiny-spatial", "my-llava-1.5-7b-hf-tuned", "llava-1.5", "/models/llava"])(
  "%j is not known",
  (path) => {
    expect(templateOfRepository(path)).toBeUndefined();
  },
);
