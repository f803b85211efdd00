// Templates as Python's Jinja renders them where the package differs, and the limits of a template. Expected texts are Jinja2 3.1's.

import { Template } from "@huggingface/jinja";
import { describe, expect, test } from "vitest";
import { parseJinja } from "../../src/preprocess/jinja/jinja.ts";
import { readGolden, type Versioned, versionsOf } from "./golden.ts";

interface JinjaGolden extends Versioned {
  readonly variables: Readonly<Record<string, unknown>>;
  /** A template and its text; null where Jinja2 fails. */
  readonly cases: readonly (readonly [string, string | null])[];
}

const golden = readGolden<JinjaGolden>("jinja.json");

async function rendered(source: string, variables: Readonly<Record<string, unknown>> = {}): Promise<string> {
  return parseJinja(source).render(variables);
}

test(`every template has the text of ${versionsOf(golden, "jinja2", "transformers")}, or is refused`, () => {
  const others: unknown[] = [];
  const refused: string[] = [];
  for (const [source, expected] of golden.cases) {
    let text: string | null;
    try {
      text = parseJinja(source).render(golden.variables);
    } catch (error) {
      expect(error).toBeInstanceOf(Error);
      text = null;
    }
    if (text === null && expected !== null) refused.push(source);
    else if (text !== expected) others.push({ source, text, expected });
  }
  expect(others).toEqual([]);
  expect(refused.length).toBeLessThan(100); // of 2,897
});

test.each([
  ["{{ s | nosuch }}", "uses the filter nosuch, which is not supported"],
  ["{{ s is nosuch }}", "uses the test nosuch, which is not supported"],
  ["{{ s.casefold() }}", "uses casefold of a str, which is not supported"],
  ["{{ d.pop('a') }}", "uses pop of a dict, which is not supported"],
  ["{{ 2 ** 64 }}", "uses whole numbers above 2^53, which is not supported"],
  ["{{ 1 < 2 < 3 }}", "uses comparisons of comparisons, which is not supported"],
  ["{{ s | indent(width=2, nosuch=1) }}", "uses the argument nosuch of indent, which is not supported"],
  ["{{ '%q' % 1 }}", "uses the format %q, which is not supported"],
  ["{{ range(3) }}", "uses the text of a range, which is not supported"],
  ["{{ undef.a }}", 'a value is undefined where its "a" is needed'],
  ["a\ufeff", "uses the character U+feff, which is not supported"],
  ["100 %}\n", "uses an unequal number of {% and %}, which is not supported"],
  ["  {-", "uses {- or -} outside of a tag, which is not supported"],
  ...["{% if t -%}{% generation %} x", "x {% generation %}{{- 1 }}", "{% generation %} {%- endgeneration %}"].map(
    (source): [string, string] => [
      source,
      "uses white space control beside a generation tag with white space on its other side, which is not supported",
    ],
  ),
  ["{{ '{% generation %}' }}", "uses the generation tag within an expression, which is not supported"],
])("refuses %s by name", async (source, message) => {
  await expect(rendered(source, golden.variables)).rejects.toThrow(new Error(message));
});

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
  expect(bare("{{ ['a'] }}{{ -7 % 3 }}{{ '1' == 1 }}")).toBe('["a"]-1true'); // Jinja2: ['a']2False
  expect(bare("{{ 'x' ~ 1.0 ~ [1, 2] }}{{ 'ABC' | capitalize }}")).toBe("x11,2ABC"); // Jinja2: x1.0[1, 2]Abc
  expect(
    bare("{{ ' a '.strip('a') }}{% macro f() %}{{ i }}{% endmacro %}{% for i in [1] %}{{ f() }}{% endfor %}"),
  ).toBe("a1"); // Jinja2: " a "
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
      /more than 250000 steps/,
    ],
    ["empty nested loops", `${"{% for i in range(99999) %}".repeat(3)}${"{% endfor %}".repeat(3)}`, /steps/],
    [
      "a text that doubles",
      `{% set x = namespace(s='a') %}{% for i in range(60) %}{% set x.s = x.s ~ x.s %}{% endfor %}`,
      /steps/,
    ],
    ["large values many times", "{% for i in range(99999) %}{% set x = range(99999) | list %}{% endfor %}", /steps/],
    ["slices of a list", "{% set x = range(99999) %}{% for i in x %}{% set y = x[1:] %}{% endfor %}", /steps/],
    [
      "strips of a long text",
      "{% set s = ' ' * 1000000 %}{% for i in range(9999) %}{% set x = s.strip() %}{% endfor %}",
      /steps/,
    ],
    [
      "a loop that ends at once",
      "{% set r = range(99999) %}{% for i in r %}{% for j in r %}{% break %}{% endfor %}{% endfor %}",
      /steps/,
    ],
    ["a huge product", "{{ 'a' * 1000000000 }}", /more than 16777216 characters/],
    ["a huge width", "{{ '%999999999d' % 1 }}", /the format %999999999d/],
    [
      "lists that hold each other",
      "{% set n = namespace(x=[1]) %}{% for i in range(60) %}{% set n.x = [n.x, n.x] %}{% endfor %}{{ n.x }}",
      /steps|characters/,
    ],
    ["a macro without an end", "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", /call stack/],
    ["a huge source", " x".repeat(200_000), /more than 262144 characters/],
    ["white space", " ".repeat(1000), /256 white space characters in a row/],
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
