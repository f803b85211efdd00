import { describe, expect, test } from "vitest";
import { CheckpointError, InputError } from "../../src/errors.ts";
import { loadChatTemplate, type TemplateFiles } from "../../src/preprocess/chat-template.ts";
import { readGolden, type Versioned, versionsOf } from "./golden.ts";

interface ChatGolden extends Versioned {
  readonly templates: Readonly<Record<string, string>>;
  readonly text: string;
  readonly system: string;
  readonly cases: readonly {
    readonly template: string;
    readonly hasImage: boolean;
    readonly hasSystem: boolean;
    readonly prompt: string;
  }[];
}

const golden = readGolden<ChatGolden>("chat-template.json");
const tokenizerConfig = { bos_token: "<s>", eos_token: { content: "</s>" } };

function files(content: Readonly<Record<string, string | undefined>>): TemplateFiles {
  return {
    readText: async (path) => content[path],
    readJson: async (path) => (content[path] === undefined ? undefined : JSON.parse(content[path])),
  };
}

async function template(source: string) {
  const loaded = await loadChatTemplate(files({ "chat_template.jinja": source }), tokenizerConfig);
  if (loaded === undefined) throw new Error("expected a template");
  return loaded;
}

describe(`renders as apply_chat_template of ${versionsOf(golden, "transformers")}`, () => {
  test.each(golden.cases)(
    "$template, image $hasImage, system $hasSystem",
    async ({ template: name, hasImage, hasSystem, prompt }) => {
      const loaded = await template(golden.templates[name] ?? "");
      expect(loaded.render(golden.text, { hasImage, system: hasSystem ? golden.system : undefined })).toBe(prompt);
    },
  );
});

describe("loadChatTemplate", () => {
  const jinja = "jinja {{ messages[0].content[0].type }}";
  const from = (word: string) =>
    `${word} {% for part in messages[0].content %}{{ '<image>' if part.type == 'image' else part.text }}{% endfor %}`;
  const all = {
    "chat_template.jinja": from("file"),
    "chat_template.json": JSON.stringify({ chat_template: from("json") }),
  };

  test("takes chat_template.jinja, else chat_template.json, else tokenizer_config.json", async () => {
    const config = { ...tokenizerConfig, chat_template: from("config") };
    const { "chat_template.json": json } = all;
    const chosen = [all, { "chat_template.json": json }, {}].map(async (content) => {
      return (await loadChatTemplate(files(content), config))?.render("Q?", { hasImage: true });
    });
    expect(await Promise.all(chosen)).toEqual(["file <image>Q?", "json <image>Q?", "config <image>Q?"]);
    expect((await loadChatTemplate(files({}), config))?.file).toBe("tokenizer_config.json");
  });

  test("takes the default of several named templates", async () => {
    const named = [
      { name: "rag", template: jinja },
      { name: "default", template: from("default") },
    ];
    const loaded = await loadChatTemplate(files({}), { chat_template: named });
    expect(loaded?.render("Q?", { hasImage: true })).toBe("default <image>Q?");
    await expect(
      loadChatTemplate(files({}), { chat_template: named.concat(named).filter(({ name }) => name === "rag") }),
    ).rejects.toThrow(/one named "default", got rag, rag/);
  });

  test("a checkpoint without any has none", async () => {
    expect(await loadChatTemplate(files({}), {})).toBeUndefined();
    expect(await loadChatTemplate(files({}), undefined)).toBeUndefined();
  });

  test("what is no Jinja is refused", async () => {
    await expect(template("{% for %}")).rejects.toThrow(CheckpointError);
    await expect(template("{% for %}")).rejects.toThrow(
      /^The chat template of chat_template\.jinja is no Jinja template: /,
    );
  });
});

describe("render", () => {
  test("a checkpoint's own image token takes the place of <image>", async () => {
    const source =
      "{% for part in messages[0].content %}{{ '<|img|>' if part.type == 'image' else part.text }}{% endfor %}";
    const loaded = await loadChatTemplate(files({ "chat_template.jinja": source }), { image_token: "<|img|>" });
    expect(loaded?.render("a <image>?", { hasImage: true })).toBe("<|img|>a <image>?");
  });

  test.each([
    ["an empty question", "", {}, /question is empty/],
    ["white space", " \n", {}, /question is empty/],
    ["a question with an image token", "what is <image>?", {}, /holds <image>/],
    ["a system message with one", "what?", { system: "see <image>" }, /holds <image>/],
  ])("refuses %s", async (_, text, options, message) => {
    const loaded = await template(golden.templates.parts ?? "");
    expect(() => loaded.render(text, { hasImage: true, ...options })).toThrow(InputError);
    expect(() => loaded.render(text, { hasImage: true, ...options })).toThrow(message);
  });

  test("refuses a system message that the template would drop", async () => {
    const loaded = await template(
      "{% for m in messages if m.role == 'user' %}{% for p in m.content %}{{ '<image>' if p.type == 'image' else p.text }}{% endfor %}{% endfor %}",
    );
    expect(loaded.render("Q?", { hasImage: true })).toBe("<image>Q?");
    expect(() => loaded.render("Q?", { hasImage: true, system: "Be brief." })).toThrow(/no place for a system message/);
  });

  test("a template's own error comes with its message", async () => {
    const loaded = await template("{{ raise_exception('Only tools are supported') }}");
    expect(() => loaded.render("Q?", { hasImage: true })).toThrow(CheckpointError);
    expect(() => loaded.render("Q?", { hasImage: true })).toThrow(
      /^The chat template of chat_template\.jinja failed: .*Only tools are supported/,
    );
  });

  test("a template without a place for the picture is refused, one with two places too", async () => {
    const none = await template("{{ messages[0].role }}");
    expect(() => none.render("Q?", { hasImage: true })).toThrow(/has no place for <image> and the question/);
    const two = await template("{% for p in messages[0].content %}<image>{{ p.text }}{% endfor %}");
    expect(() => two.render("Q?", { hasImage: true })).toThrow(CheckpointError);
  });
});
