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

interface FamilyGolden extends Versioned {
  readonly conversations: Readonly<Record<string, readonly ChatMessage[]>>;
  readonly families: Readonly<
    Record<
      string,
      {
        readonly template: string;
        readonly imageToken: string;
        readonly prompts: Readonly<Record<string, string>>;
        readonly withVideo?: readonly ChatMessage[];
        readonly videoPrompt?: string;
      }
    >
  >;
}

const golden = readGolden<ChatGolden>("chat-template.json");
const families = readGolden<FamilyGolden>("chat-families.json");
const tokenizerConfig = { bos_token: "<s>", eos_token: { content: "</s>" } };

/** Files by path, and the value of tokenizer_config.json. */
function files(content: Readonly<Record<string, string | undefined>>, config?: unknown): TemplateFiles {
  return {
    readText: async (path) => content[path],
    async readJson(path) {
      if (path === "tokenizer_config.json" && config !== undefined) return config;
      return content[path] === undefined ? undefined : JSON.parse(content[path]);
    },
  };
}

async function template(source: string) {
  const loaded = await loadChatTemplate(files({ "chat_template.jinja": source }, tokenizerConfig));
  if (loaded === undefined) throw new Error("expected a template");
  return loaded;
}

/** Writes the parts in order and nothing else. */
const PARTS = `{% for m in messages %}{% for p in m.content %}{{ '<image>' if p.type == 'image' else p.text }}{% endfor %}{% endfor %}`;

/** What a call throws. */
function thrownBy(call: () => unknown): unknown {
  try {
    call();
  } catch (error) {
    return error;
  }
  throw new Error("expected an error");
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

describe(`conversations in the families' forms, as apply_chat_template of ${versionsOf(families, "transformers")}`, () => {
  const of = (source: string, imageToken: string) =>
    loadChatTemplate(files({ "chat_template.jinja": source }, tokenizerConfig), undefined, { imageToken });

  test.each(Object.entries(families.families))("%s", async (_, { template: source, imageToken, prompts }) => {
    const loaded = await of(source, imageToken);
    const rendered = Object.entries(families.conversations).map(([name, messages]) => [
      name,
      loaded?.renderMessages(messages),
    ]);
    expect(Object.fromEntries(rendered)).toEqual(prompts);
  });

  test("videos where LLaVA-OneVision's template puts them", async () => {
    const { template: source = "", withVideo = [], videoPrompt } = families.families["llava-onevision"] ?? {};
    const tokens = { imageToken: "<image>", videoToken: "<video>" };
    const loaded = await loadChatTemplate(files({ "chat_template.jinja": source }, tokenizerConfig), undefined, tokens);
    expect(loaded?.renderMessages(withVideo)).toBe(videoPrompt);
  });

  test("templates that write <image> do for a model with another token", async () => {
    const source = families.families["llava-onevision"]?.template ?? "";
    const [own, other] = [await of(source, "<image>"), await of(source, "<|image_pad|>")];
    for (const messages of Object.values(families.conversations)) {
      expect(other?.renderMessages(messages)).toBe(own?.renderMessages(messages));
    }
    for (const token of ["<image>", "<|image_pad|>"]) {
      const fresh = await of(source, "<|image_pad|>");
      expect(() => fresh?.render(`What is ${token}?`, { hasImage: true })).toThrow(
        new InputError(`The user's text holds ${token}, which the chat template puts there itself: leave it out.`),
      );
    }
  });
});

describe("loadChatTemplate", () => {
  const jinja = "jinja {{ messages[0].content[0].type }}";
  const from = (word: string) =>
    `${word} {% for part in messages[0].content %}{{ '<image>' if part.type == 'image' else part.text }}{% endfor %}`;
  test("takes the first place that has one", async () => {
    const places = [
      ["processor_config.json", JSON.stringify({ chat_template: from("processor") })],
      ["chat_template.jinja", from("file")],
      ["chat_template.json", JSON.stringify({ chat_template: from("json") })],
      ["additional_chat_templates/default.jinja", from("folder")],
      ["tokenizer_config.json", JSON.stringify({ chat_template: from("config") })],
    ] as const;
    const chosen = places.map(async (_, index) => {
      const loaded = await loadChatTemplate(files(Object.fromEntries(places.slice(index))));
      return [loaded?.file, loaded?.render("Q?", { hasImage: true })];
    });
    const words = ["processor", "file", "json", "folder", "config"];
    const expected = places.map(([file], index) => [file, `${words[index]} <image>Q?`]);
    expect(await Promise.all(chosen)).toEqual(expected);
  });

  test("takes the default of several named templates", async () => {
    const named = [
      { name: "rag", template: jinja },
      { name: "default", template: from("default") },
    ];
    const loaded = await loadChatTemplate(files({}, { chat_template: named }));
    expect(loaded?.render("Q?", { hasImage: true })).toBe("default <image>Q?");
    const byName = { rag: jinja, default: from("default") };
    for (const chat_template of [named, byName]) {
      const chosen = await loadChatTemplate(files({ "chat_template.json": JSON.stringify({ chat_template }) }));
      expect(chosen?.file).toBe("chat_template.json");
      expect(chosen?.render("Q?", { hasImage: true })).toBe("default <image>Q?");
    }
  });

  test("takes the only one of named templates", async () => {
    const loaded = await loadChatTemplate(files({}, { chat_template: [{ name: "rag", template: from("rag") }] }));
    expect(loaded?.render("Q?", { hasImage: true })).toBe("rag <image>Q?");
  });

  test.each<[string, readonly unknown[], string]>([
    [
      "two others",
      [
        { name: "rag", template: jinja },
        { name: "tools", template: jinja },
      ],
      "rag, tools",
    ],
    ["a default that is not a text", [{ name: "default" }, { name: "rag", template: jinja }], "default, rag"],
    ["a single one that is not a text", [{ name: "rag", template: 1 }], "rag"],
    ["none", [], "none"],
    ["what is not a template", [null, "rag"], "undefined, undefined"],
  ])("refuses a list of %s", async (_, named, names) => {
    const message = `tokenizer_config.json: chat_template must have one named "default", got ${names}.`;
    const error = new CheckpointError(message, { file: "tokenizer_config.json" });
    await expect(loadChatTemplate(files({}, { chat_template: named }))).rejects.toThrow(error);
  });

  test("a checkpoint without any has none", async () => {
    expect(await loadChatTemplate(files({}, {}))).toBeUndefined();
    expect(await loadChatTemplate(files({}))).toBeUndefined();
    expect(await loadChatTemplate(files({ "chat_template.json": "null" }, null))).toBeUndefined();
    expect(await loadChatTemplate(files({ "chat_template.json": '{ "chat_template": 1 }' }, {}))).toBeUndefined();
  });

  test("a template that is not Jinja is refused", async () => {
    const error = await template("{% for %}").catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(CheckpointError);
    expect(error).toMatchObject({
      message: "The chat template of chat_template.jinja is not a Jinja template: Unexpected token: CloseStatement.",
      file: "chat_template.jinja",
      cause: { message: "Unexpected token: CloseStatement" },
    });
  });

  test("every kind of line end is one line feed", async () => {
    const lines = ["a", "{% if true %}", `${PARTS}{% endif %}.`, "b"];
    const renderedWith = async (end: string) => (await template(lines.join(end))).render("Q?", { hasImage: true });
    expect(await renderedWith("\n")).toBe("a\n<image>Q?.\nb");
    expect(await renderedWith("\r\n")).toBe("a\n<image>Q?.\nb");
    expect(await renderedWith("\r")).toBe("a\n<image>Q?.\nb");
  });
});

describe("render", () => {
  test("a checkpoint's own image token takes the place of <image>", async () => {
    const source =
      "{% for part in messages[0].content %}{{ '<|img|>' if part.type == 'image' else part.text }}{% endfor %}";
    const loaded = await loadChatTemplate(files({ "chat_template.jinja": source }, { image_token: "<|img|>" }));
    expect(loaded?.render("a <image>?", { hasImage: true })).toBe("<|img|>a <image>?");
  });

  test("an image token may be an object with its text, as other tokens", async () => {
    const source = `{{ bos_token }}${PARTS.replace("<image>", "[IMG]")}{{ eos_token }}`;
    const config = { image_token: { content: "[IMG]" }, bos_token: { content: "<s>" }, eos_token: "</s>" };
    const loaded = await loadChatTemplate(files({ "chat_template.jinja": source }, config));
    expect(loaded?.render("Q?", { hasImage: true })).toBe("<s>[IMG]Q?</s>");
  });

  test("a token that the checkpoint does not have is empty", async () => {
    const source = `[{{ bos_token }}]${PARTS}[{{ eos_token }}]`;
    const loaded = await loadChatTemplate(files({ "chat_template.jinja": source }, { bos_token: null, eos_token: 2 }));
    expect(loaded?.render("Q?", { hasImage: true })).toBe("[]<image>Q?[]");
  });

  test("a template sees every special token, and neither tools nor documents", async () => {
    const source = `{{ pad_token }}|{{ obj_token }}|{% if tools is none and documents is none %}${PARTS}{% endif %}`;
    const config = { extra_special_tokens: { obj_token: "<obj>" } };
    const map = { pad_token: { content: "<pad>" } };
    const content = { "chat_template.jinja": source, "special_tokens_map.json": JSON.stringify(map) };
    const loaded = await loadChatTemplate(files(content, config));
    expect(loaded?.render("Q?", { hasImage: true })).toBe("<pad>|<obj>|<image>Q?");
  });

  const token = "<image>, which the chat template puts there itself: leave it out.";
  test.each([
    ["an empty question", "", {}, "The question is empty: give at least one word."],
    ["white space", " \n", {}, "The question is empty: give at least one word."],
    ["a question with an image token", "what is <image>?", {}, `The user's text holds ${token}`],
    ["a system message with one", "what?", { system: "see <image>" }, `The system's text holds ${token}`],
  ])("refuses %s", async (_, text, options, message) => {
    const loaded = await template(golden.templates.parts ?? "");
    expect(() => loaded.render(text, { hasImage: true, ...options })).toThrow(new InputError(message));
  });

  test("refuses a system message that the template would drop", async () => {
    const loaded = await template(PARTS.replace("in messages", "in messages if m.role == 'user'"));
    expect(loaded.render("Q?", { hasImage: true })).toBe("<image>Q?");
    expect(() => loaded.render("Q?", { hasImage: true, system: "Be brief." })).toThrow(
      new InputError("The chat template of chat_template.jinja has no place for a system message: leave it out."),
    );
  });

  test.each([
    ["Only tools are supported", "Only tools are supported."],
    ["Only tools. Are supported.", "Only tools. Are supported."],
  ])("a template's own error %j comes with its message", async (reason, sentence) => {
    const loaded = await template(`{{ raise_exception('${reason}') }}`);
    const error = thrownBy(() => loaded.render("Q?", { hasImage: true }));
    expect(error).toBeInstanceOf(CheckpointError);
    expect(error).toMatchObject({
      message: `The chat template of chat_template.jinja failed: ${sentence}`,
      file: "chat_template.jinja",
      cause: { message: reason },
    });
  });

  test("a template that takes neither a list nor a text fails as it does for the list", async () => {
    const source = "{{ raise_exception('no text' if messages[0].content is string else 'no list') }}";
    const loaded = await template(source);
    expect(() => loaded.render("Q?", { hasImage: true })).toThrow(/ failed: no list\.$/);
  });

  test("a template that refuses a list gets a text", async () => {
    const source = "{% if messages[0].content is not string %}{{ raise_exception('no list') }}{% endif %}";
    const loaded = await template(`${source}{{ messages[0].content }}`);
    expect(loaded.render("Q?", { hasImage: true })).toBe("<image>\nQ?");
  });

  test("a template may demand that an answer begins", async () => {
    const source = `{% if not add_generation_prompt %}{{ raise_exception('no training') }}{% endif %}${PARTS}`;
    expect((await template(source)).render("Q?", { hasImage: true })).toBe("<image>Q?");
  });

  const text = "{{ messages[0].content if messages[0].content is string else messages[0].content[1].text }}";
  test.each([
    ["no place for either", "{{ messages[0].role }}"],
    ["no place for the picture", text.replace("messages[0].content if", "'QPROBEQ' if")],
    ["two places for the picture", `<image>${text.replace("messages[0].content if", "'<image>' if")}<image>`],
    ["no place for the question", "<image>"],
    ["two places for the question", `<image>${text.repeat(2)}`],
  ])("a template with %s is refused", async (_, source) => {
    const loaded = await template(source);
    const message = "The chat template of chat_template.jinja has no place for <image> and the question.";
    const error = thrownBy(() => loaded.render("Q?", { hasImage: true }));
    expect(error).toEqual(new CheckpointError(message, { file: "chat_template.jinja" }));
  });

  test("refuses a template that writes a picture which the question does not have", async () => {
    const loaded = await template("<image>{% for p in messages[0].content %}{{ p.text }}{% endfor %}");
    const message = "The chat template of chat_template.jinja writes <image> into a conversation without pictures.";
    expect(loaded.render("Q?", { hasImage: true })).toBe("<image>Q?");
    const error = thrownBy(() => loaded.render("Q?", { hasImage: false }));
    expect(error).toEqual(new CheckpointError(message, { file: "chat_template.jinja" }));
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

  test("a part has no other fields than a template expects", async () => {
    const source = `{% for p in messages[0].content %}[{{ p.type }} {{ p.text }} {{ p.url }}]{% endfor %}`;
    const loaded = await template(
      `${source}{% for p in messages[0].content if p.type == 'image' %}<image>{% endfor %}`,
    );
    const part = { type: "text", text: "What?", url: "a.png" } as const;
    const picture = { type: "image", text: "A cup", url: "b.png" } as const;
    expect(loaded.renderMessages([{ role: "user", content: [part, picture] }])).toBe("[text What? ][image  ]<image>");
  });

  test("videos are written as the model's video token", async () => {
    const reordering = `{% for m in messages %}{% for kind in ['image', 'video'] %}{% for p in m.content
      | selectattr('type', 'equalto', kind) %}<{{ kind }}>{% endfor %}{% endfor %}{% for p in m.content
      | selectattr('type', 'equalto', 'text') %}{{ p.text }}{% endfor %}{% endfor %}`;
    const load = (source: string) =>
      loadChatTemplate(files({ "chat_template.jinja": source }, {}), undefined, { videoToken: "<video>" });
    const parts = [{ type: "video" }, { type: "text", text: "Why?" }, { type: "image" }] as const;
    const loaded = await load(reordering);
    expect(loaded?.renderMessages([{ role: "user", content: parts }])).toBe("<image><video>Why?");
    expect(loaded?.render("Why?", { numImages: 1, numVideos: 2 })).toBe("<image><video><video>Why?");
    const text = await load("{% for m in messages %}{{ m.content }}{% endfor %}");
    expect(text?.renderMessages([{ role: "user", content: parts }])).toBe("<video>\nWhy?\n<image>");
    for (const loadedOne of [loaded, text]) {
      expect(() => loadedOne?.render("<video>", { numVideos: 1 })).toThrow(
        "The user's text holds <video>, which the chat template puts there itself: leave it out.",
      );
    }
    const pictures = await load(PARTS.replace("else p.text", "else p.text if p.type == 'text'"));
    expect(() => pictures?.render("Why?", { numVideos: 1 })).toThrow(
      "The chat template of chat_template.jinja writes <video> 0 times for one video: it cannot take them where they are.",
    );
  });

  test("white space around a text may get lost", async () => {
    const loaded = await template(PARTS.replace("p.text", "p.text | trim"));
    expect(loaded.renderMessages([{ role: "user", content: " What? " }])).toBe("What?");
  });

  const user = (content: ChatMessage["content"]): ChatMessage => ({ role: "user", content });
  const ours = "The chat template of chat_template.jinja";
  const wanted = 'must be a text or a list of { type: "text", text }, { type: "image" } and { type: "video" }.';
  const itself = "which the chat template puts there itself: leave it out.";
  test.each<readonly [string, string, readonly unknown[], string]>([
    ["no messages", parts, [], "messages: expected at least one message, got none."],
    ["null", parts, [null], "messages[0] must be an object with role and content, got null."],
    ["a text", parts, [user("a"), "b"], "messages[1] must be an object with role and content, got a string."],
    [
      "another role",
      parts,
      [{ role: "tool", content: "x" }],
      'messages[0].role must be system, user or assistant, got "tool".',
    ],
    ["a sound", parts, [user("a"), { role: "user", content: [{ type: "audio" }] }], `messages[1].content ${wanted}`],
    [
      "a video where the model has no token for it",
      parts,
      [user([{ type: "video" }, { type: "text", text: "a" }])],
      "The model has no video token, so videos have no place: give single frames as pictures.",
    ],
    ["a picture among others", parts, [user([{ type: "image" }, null as never])], `messages[0].content ${wanted}`],
    ["a text without text", parts, [{ role: "user", content: [{ type: "text" }] }], `messages[0].content ${wanted}`],
    ["a text without type", parts, [{ role: "user", content: [{ text: "a" }] }], `messages[0].content ${wanted}`],
    ["content that is none", parts, [{ role: "user" }], `messages[0].content ${wanted}`],
    ["an image token in a text", string, [user("see <image>")], `The user's text holds <image>, ${itself}`],
    [
      "an image token in a later part",
      string,
      [user([{ type: "image" }, { type: "text", text: "<image>" }])],
      `The user's text holds <image>, ${itself}`,
    ],
    [
      "an image token in an answer",
      string,
      [user("a"), { role: "assistant", content: "<image>" }],
      `The assistant's text holds <image>, ${itself}`,
    ],
    [
      "a picture that the template does not write",
      PARTS.replace("'<image>' if", "'<image>' if m.role == 'user' and").replace("else p.text", "else (p.text or '')"),
      [user("a"), { role: "system", content: [{ type: "image" }] }],
      `${ours} writes <image> 0 times for one picture: it cannot take them where they are.`,
    ],
    [
      "a second picture that the template does not write",
      "{% for p in messages[0].content %}{% if p.type == 'text' %}<image>{{ p.text }}{% endif %}{% endfor %}",
      [user([{ type: "image" }, { type: "image" }, { type: "text", text: "b" }])],
      `${ours} writes <image> 1 times for 2 pictures: it cannot take them where they are.`,
    ],
    [
      "an answer that the template drops",
      PARTS.replace("in messages", "in messages if m.role == 'user'"),
      [user("a"), { role: "assistant", content: "zzz" }],
      `${ours} leaves out what the assistant says: give messages that it takes.`,
    ],
    [
      "one text of two that the template drops",
      "<image>{{ messages[0].content[-1].text }}",
      [
        user([
          { type: "text", text: "zzz" },
          { type: "text", text: "b" },
        ]),
      ],
      `${ours} leaves out what the user says: give messages that it takes.`,
    ],
  ])("refuses %s", async (_, source, messages, message) => {
    const loaded = await template(source);
    const render = () => loaded.renderMessages(messages as readonly ChatMessage[]); // what a caller without types gives
    expect(render).toThrow(new InputError(message));
  });

  test.each(["Roles must alternate", "Roles. Must alternate."])("refuses roles for the reason %j", async (reason) => {
    const loaded = await template(
      `{% if messages | length > 1 %}{{ raise_exception('${reason}') }}{% endif %}${parts}`,
    );
    const error = thrownBy(() => loaded.renderMessages([user("a"), user("b")]));
    expect(error).toBeInstanceOf(InputError);
    const sentence = reason.endsWith(".") ? reason : `${reason}.`;
    expect(error).toMatchObject({
      message: `${ours} refuses messages of user, user: ${sentence}`,
      cause: { message: reason },
    });
  });
});
