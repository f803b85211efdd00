import { describe, expect, test } from "vitest";
import { CheckpointError, InputError } from "../../src/errors.ts";
import { type ChatMessage, loadChatTemplate, type TemplateFiles } from "../../src/preprocess/chat-template.ts";
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

  test("a template that is not Jinja is refused", async () => {
    await expect(template("{% for %}")).rejects.toThrow(CheckpointError);
    await expect(template("{% for %}")).rejects.toThrow(
      /^The chat template of chat_template\.jinja is not a Jinja template: /,
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

describe("renderMessages", () => {
  const turns: readonly ChatMessage[] = [
    { role: "system", content: "Be brief." },
    { role: "user", content: [{ type: "image" }, { type: "text", text: "What is this?" }, { type: "image" }] },
    { role: "assistant", content: "A cup." },
    { role: "user", content: "And this?" },
  ];
  const parts = `{% for m in messages %}[{{ m.role }}]{% for p in m.content %}{{ '<image>' if p.type == 'image' else p.text }}{% endfor %}{% endfor %}{{ '[assistant]' if add_generation_prompt }}`;
  const string = `{% for m in messages %}[{{ m.role }}]{{ m.content | trim }}{% endfor %}{{ '[assistant]' if add_generation_prompt }}`;

  test("parts keep their order; a string template gets them as lines", async () => {
    expect((await template(parts)).renderMessages(turns)).toBe(
      "[system]Be brief.[user]<image>What is this?<image>[assistant]A cup.[user]And this?[assistant]",
    );
    expect((await template(string)).renderMessages(turns)).toBe(
      "[system]Be brief.[user]<image>\nWhat is this?\n<image>[assistant]A cup.[user]And this?[assistant]",
    );
  });

  test("without a generation prompt it ends with the last message", async () => {
    const loaded = await template(parts);
    const prompt = loaded.renderMessages(turns.slice(0, 3), { addGenerationPrompt: false });
    expect(prompt).toMatch(/A cup\.$/);
  });

  test("one question is a conversation of one message", async () => {
    const loaded = await template(golden.templates.parts ?? "");
    const content = [{ type: "image" }, { type: "text", text: golden.text }] as const;
    expect(loaded.renderMessages([{ role: "user", content }])).toBe(loaded.render(golden.text, { hasImage: true }));
  });

  const user = (content: ChatMessage["content"]): ChatMessage => ({ role: "user", content });
  test.each<readonly [string, string, readonly unknown[], RegExp]>([
    ["no messages", parts, [], /at least one message/],
    ["another role", parts, [{ role: "tool", content: "x" }], /messages\[0\]\.role must be system, user or assistant/],
    ["a video", parts, [user("a"), { role: "user", content: [{ type: "video" }] }], /messages\[1\]\.content must be/],
    ["content that is none", parts, [{ role: "user" }], /messages\[0\]\.content must be/],
    ["an image token in a text", string, [user("see <image>")], /user's text holds <image>/],
    ["an image token in an answer", string, [user("a"), { role: "assistant", content: "<image>" }], /assistant's text/],
    [
      "roles that the template refuses",
      `{% if messages | length > 1 %}{{ raise_exception('Roles must alternate') }}{% endif %}${parts}`,
      [user("a"), user("b")],
      /refuses messages of user, user: .*Roles must alternate/,
    ],
    [
      "a second picture that the template does not write",
      "{% for p in messages[0].content %}{% if p.type == 'text' %}<image>{{ p.text }}{% endif %}{% endfor %}",
      [user([{ type: "image" }, { type: "image" }, { type: "text", text: "b" }])],
      /writes <image> 1 times for 2 pictures/,
    ],
    [
      "an answer that the template drops",
      `{% for m in messages if m.role == 'user' %}{% for p in m.content %}{{ '<image>' if p.type == 'image' else p.text }}{% endfor %}{% endfor %}`,
      [user("a"), { role: "assistant", content: "zzz" }],
      /leaves out what the assistant says/,
    ],
  ])("refuses %s", async (_, source, messages, message) => {
    const loaded = await template(source);
    const render = () => loaded.renderMessages(messages as readonly ChatMessage[]); // what a caller without types gives
    expect(render).toThrow(InputError);
    expect(render).toThrow(message);
  });
});
