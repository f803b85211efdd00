// All kinds of fuzzing, loaded one at a time: each brings in a part of the engine.

import type { FuzzKind } from "./kind.ts";

const KINDS: Readonly<Record<string, () => Promise<FuzzKind>>> = {
  safetensors: async () => (await import("./safetensors-files.ts")).safetensorsFiles,
  config: async () => (await import("./config-files.ts")).configFiles,
  tokenizer: async () => (await import("./tokenizer-files.ts")).tokenizerFiles,
  templates: async () => (await import("./chat-template-files.ts")).chatTemplateFiles,
  pictures: async () => (await import("./picture-files.ts")).pictureFiles,
  options: async () => (await import("./call-options.ts")).callOptions,
  http: async () => (await import("./http-answers.ts")).httpAnswers,
  chat: async () => (await import("./chat-requests.ts")).chatRequests,
};

/** The names of all kinds. */
export const KIND_NAMES: readonly string[] = Object.keys(KINDS);

/** The kind of a name. @throws Error for an unknown one. */
export async function kindNamed(name: string): Promise<FuzzKind> {
  const kind = Object.hasOwn(KINDS, name) ? await KINDS[name]?.() : undefined;
  if (kind === undefined) throw new Error(`no kind ${name}, but ${KIND_NAMES.join(", ")}`);
  return kind;
}
