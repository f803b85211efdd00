// Templates as Python's Jinja renders them where the package differs, and the limits of a template. Expected texts are Jinja2 3.1's.

import { Template } from "@huggingface/jinja";
import { describe, expect, test } from "vitest";
import { parseJinja } from "../../src/preprocess/jinja.ts";

async function rendered(source: string, variables: Readonly<Record<string, unknown>> = {}): Promise<string> {
  return parseJinja(source).render(variables);
}

describe("loops", () => {
  test.each([
    ["{% for i in range(4) %}<{{ i }}{% if i == 1 %}!{% continue %}{% endif %}>{% endfor %}", "<0><1!<2><3>"],
    ["{% for i in range(4) %}<{{ i }}{% if i == 1 %}!{% break %}{% endif %}>{% endfor %}.", "<0><1!."],
    ["{% for i in [1] %}a{% break %}b{% endfor %}{% for i in [1, 2] %}c{% endfor %}", "acc"],
    ["{% for i in [1, 2] %}{% for j in [3, 4] %}{{ i }}{{ j }} {% break %}{% endfor %};{% endfor %}", "13 ;23 ;"],
    ["{% for i in [1, 2] %}{% for j in [3, 4] %}{{ j }}{% continue %}x{% endfor %}{% break %}{% endfor %}", "34"],
    ["{% for i in [1] %}a{% continue %}{% else %}none{% endfor %}", "a"],
    ["{% for i in [] %}a{% else %}none{% endfor %}", "none"],
    ["{% for i in [1, 2] %}a{% set x %}lost{% continue %}{% endset %}b{% endfor %}", "aa"],
    [
      "{% for i in range(6) if i % 2 %}{{ loop.index }}:{{ i }}{% if i == 3 %}{% break %}{% endif %} {% endfor %}",
      "1:1 2:3",
    ],
  ])("%s", async (source, text) => {
    expect(await rendered(source)).toBe(text);
  });
});

test("the package itself still needs to be mended: when this fails, jinja.ts can lose its overrides", () => {
  const bare = (source: string) => new Template(source).render({});
  expect(bare("{% for i in [1, 2] %}a{% continue %}{% endfor %}")).toBe(""); // Jinja2: aa
  expect(bare("{% for i in [1] %}a{% continue %}{% else %}none{% endfor %}")).toBe("none"); // Jinja2: a
  expect(bare("{{ true }}{{ none }}")).toBe("true"); // Jinja2: TrueNone
});

test.each([
  ["{{ true }} {{ False }} {{ none }} {{ x }}|", "True False None |"],
  ["{% set y = none %}{{ y }}{% if none %}{% endif %}", "None"],
  ["{{ range(3) | list | length }} {{ range(2, 8, 3) | join(',') }} {{ range(3, 0, -1) | join }}", "3 2,5 321"],
  ["{% macro m(a) %}[{{ a }}]{% endmacro %}{{ m(1) }}", "[1]"],
  ["a\r\nb\rc", "a\nb\nc"],
])("values of %s", async (source, text) => {
  expect(await rendered(source)).toBe(text);
});

test("raise_exception ends it with the template's words", async () => {
  await expect(rendered("{{ raise_exception('no system message') }}")).rejects.toThrow(/^no system message$/);
  expect(await rendered("{{ strftime_now('%Y') }}")).toMatch(/^20\d\d$/);
});

test("a long conversation stays within the limits", async () => {
  const messages = Array.from({ length: 2000 }, (_, index) => ({
    role: index % 2 ? "assistant" : "user",
    content: `turn ${index}`,
  }));
  const source =
    "{% for m in messages %}{% if messages[loop.index0].role == 'user' and messages | length > 0 %}USER: {{ m.content }}" +
    "{% else %} ASSISTANT: {{ m['content'] ~ eos }}{% endif %}{% endfor %}";
  const text = await rendered(source, { messages, eos: "</s>" });
  expect(text.startsWith("USER: turn 0 ASSISTANT: turn 1</s>USER: turn 2")).toBe(true);
  expect(text.length).toBe(2000 * "USER: turn ".length + 1000 * (" ASSISTANT: ".length - "USER: ".length + 4) + 6890);
});

describe("a hostile template", () => {
  test.each([
    ["a huge range", "{% for i in range(1000000000) %}x{% endfor %}", /range of 1000000000 numbers/],
    [
      "nested loops",
      `${"{% for i in range(99999) %}".repeat(3)}x${"{% endfor %}".repeat(3)}`,
      /more than 500000 steps/,
    ],
    ["empty nested loops", `${"{% for i in range(99999) %}".repeat(3)}${"{% endfor %}".repeat(3)}`, /steps/],
    [
      "a text that doubles",
      `{% set x = namespace(s='a') %}{% for i in range(60) %}{% set x.s = x.s ~ x.s %}{% endfor %}`,
      /steps/,
    ],
    ["large values many times", "{% for i in range(99999) %}{% set x = range(99999) | list %}{% endfor %}", /steps/],
    ["slices of a list", "{% set x = range(99999) %}{% for i in x %}{% set y = x[1:] %}{% endfor %}", /steps/],
    ["no number", "{{ range('a') }}", /range takes one to three whole numbers/],
    ["a step of 0", "{{ range(1, 2, 0) }}", /a step other than 0/],
  ])(
    "%s is stopped",
    async (_, source, message) => {
      await expect(rendered(source)).rejects.toThrow(message);
    },
    20_000,
  );
});
