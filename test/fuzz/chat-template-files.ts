// Fuzzing of chat templates: Jinja that is changed, grows without end or never ends, and conversations that go through it.

import { type ChatMessage, loadChatTemplate } from "../../src/preprocess/chat-template.ts";
import { CHAT_TEMPLATES } from "../../src/preprocess/chat-templates.ts";
import { defineKind } from "./kind.ts";
import { chance, mutateText, pick } from "./mutate.ts";

/** A template in chat_template.jinja. */
interface TemplateInput {
  readonly template: string;
}

const PARTS =
  "{% for message in messages %}{% if message['role'] != 'system' %}{{ message['role'].upper() + ': '}}{% endif %}{% for content in message['content'] | selectattr('type', 'equalto', 'image') %}{{ '<image>\\n' }}{% endfor %}{% for content in message['content'] | selectattr('type', 'equalto', 'text') %}{{ content['text'] + ' '}}{% endfor %}{% endfor %}{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}";
const MACRO =
  "{% macro turn(m) %}{{ bos_token if loop is undefined else '' }}[{{ m.role | upper }}]{% set ns = namespace(n=0) %}{% for p in m.content %}{% if p.type == 'image' %}<image>{% set ns.n = ns.n + 1 %}{% else %}{{ p.text | trim }}{% endif %}{% endfor %}{% endmacro %}{% for m in messages %}{{ turn(m) }}{% endfor %}{{ eos_token }}";
const TEMPLATES = [PARTS, MACRO, ...Object.values(CHAT_TEMPLATES).map(({ source }) => source)];

/** Pieces of Jinja, and expressions that are large, slow or of a wrong type. */
const PIECES = [
  ..."{{ }} {% %} {%- -%} {# #} ( ) [ ] . , | ' \" ~ + - * / // % ** == and or not in is if else for endfor set endset".split(
    " ",
  ),
  ..."macro endmacro call endcall filter endfilter loop loop.index namespace range raise_exception strftime_now True None".split(
    " ",
  ),
  ..."continue break include import extends block messages bos_token tools documents add_generation_prompt self caller".split(
    " ",
  ),
  "{% for a in range(100000) %}{% for b in range(100000) %}x{% endfor %}{% endfor %}",
  "{% for a in range(1000000000) %}{% endfor %}",
  "{% set x = 'a' * 1000000000 %}",
  "{% set x = [0] * 100000000 %}",
  "{% set ns = namespace(s='a') %}{% for i in range(99) %}{% set ns.s = ns.s + ns.s %}{% endfor %}",
  "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
  "{{ messages | tojson(indent=1000000000) }}",
  "{{ 'x' | indent(1000000000) }}",
  "{{ 'a' | replace('', 'b' * 100000) | replace('', 'b' * 100000) }}",
  "{{ ('a' * 50000).split('a') | join('b' * 50000) }}",
  "{{ 10 ** 10000 }}",
  "{{ '%1000000000d' % 1 }}",
  "{{ '%s %d' % ('a', 1) }}",
  "{{ 'x'.__class__.__mro__ }}",
  "{{ messages.constructor.constructor('return process')() }}",
  "{{ messages['__proto__'] }}",
  "{{ raise_exception('\\u001b]0;title\\u0007' ~ 'x' * 5000) }}",
  "{{ raise_exception(messages) }}",
  "{{ strftime_now('%Y' * 100000) }}",
  "{% generation %}{% endgeneration %}",
  "{{ 1 / 0 }}",
  "{{ messages | map(attribute='content') | list }}",
  "{{ [1, 2, 3][::-1] }}",
  "{{ {}.items() | sort }}",
];

const QUESTION: readonly ChatMessage[] = [
  { role: "user", content: [{ type: "image" }, { type: "text", text: "Where is it?" }] },
];
const CONVERSATION: readonly ChatMessage[] = [
  { role: "system", content: "Be brief." },
  ...QUESTION,
  { role: "assistant", content: "Left." },
  { role: "user", content: "And now {{ x }} </s>?" },
];

export const chatTemplateFiles = defineKind<TemplateInput>({
  name: "templates",
  make(random) {
    const index = random.integer(TEMPLATES.length);
    const template = TEMPLATES[index] ?? "";
    if (chance(random, 1, 12)) {
      const comment = pick(random, [
        "{# a comment #}",
        "{# {{ x }} #}",
        "{% if false %}x{% endif %}",
        "{% set unused = 1 %}",
      ]);
      return { input: { template: comment + template }, sameAs: WHOLE[index] };
    }
    if (chance(random, 1, 6)) {
      const start = template.lastIndexOf("{%", random.integer(template.length + 1));
      const piece = pick(random, PIECES.slice(-20));
      return {
        input: { template: template.slice(0, Math.max(0, start)) + piece + template.slice(Math.max(0, start)) },
      };
    }
    return { input: { template: mutateText(template, random, PIECES) } };
  },
  async run({ template }) {
    const files: Readonly<Record<string, string>> = { "chat_template.jinja": template };
    const loaded = await loadChatTemplate({
      readText: async (path) => files[path],
      readJson: async (path) => (path === "tokenizer_config.json" ? CONFIG : undefined),
    });
    if (loaded === undefined) return "none";
    const answers = [loaded.renderMessages(QUESTION), loaded.render("Where is it?", { numImages: 2 })];
    try {
      answers.push(loaded.renderMessages(CONVERSATION, { addGenerationPrompt: false }));
    } catch (error) {
      // Many templates take no system message, or no second turn.
      if (!(error instanceof Error) || !/^(CheckpointError|InputError)$/.test(error.name)) throw error;
      answers.push(error.message);
    }
    if (!answers.every((answer) => typeof answer === "string")) throw new Error("a prompt that is no text");
    return answers.join("\n---\n");
  },
});

const WHOLE: readonly TemplateInput[] = TEMPLATES.map((template) => ({ template }));
const CONFIG = { bos_token: "<s>", eos_token: "</s>" };
