// The Markdown of the kernels' pages.

import { ENTRIES, GROUPS } from "./groups.mjs";
import { appended, formulaOwner, readText, twinFile } from "./sources.mjs";

const GPUS = {
  navi31: "navi31: RDNA 3, such as the RX 7900 XTX",
  navi21: "navi21: RDNA 2, such as the RX 6800",
  gfx1150: "gfx1150: RDNA 3.5, such as the Radeon 890M",
  vega10: "vega10: GCN 5, such as the RX Vega 64",
};

/** Parts of an answer by how the labels of their programs begin; decode steps have several labels. */
const STAGES = {
  vision: "the vision tower",
  projector: "the projector",
  embed: "the embedding of tokens",
  prefill: "the prefill",
  choose: "the choice of every token",
  step: "decode steps",
};
/** Kinds of adapters that describe-kernels.ts records. */
const NUM_ADAPTERS = 5;

/** The page of one kernel. */
export function kernelPage(name, sources) {
  const { kernels, formulas } = sources;
  const kernel = kernels.get(name);
  const entry = ENTRIES.get(name);
  const owner = formulaOwner(name);
  const { header } = kernel;
  const siblings = [...ENTRIES.keys()].filter((other) => other !== name && formulaOwner(other) === owner);
  const family =
    siblings.length === 0 ? "" : `\n\nThe same formula, divided otherwise: ${siblings.map(link).join(", ")}.`;
  return `---
title: ${name}
description: ${JSON.stringify(header.summary)}
outline: [2, 3]
---

# ${name}

${escaped(sentence(header.summary))} ${escaped(whereSentence(kernel, entry))}${family}

## Formula

$$
${formulas[owner].tex}
$$

${formulas[owner].where}

In the shader's notation: ${escaped(ended(header.formula))}

## Run it on your GPU {#run}

${liveRun(name, entry)}

## Shapes

${list(header.shapes)}

## Work division

${escaped(sentence(header.workDivision))}

Grid: ${escaped(sentence(header.grid))}

## Passes

${passesSection(kernel, entry)}

## Error bound

${escaped(sentence(header.errorBound))}

${boundTable(entry, sources)}

## WGSL

${wgslSection(kernel, sources)}

## The twin in f64 {#twin}

${twinSection(name, owner)}

## What a GPU's compiler makes of it {#compiled}

${isaSection(name, sources)}

## Source

${escaped(sentence(header.source.replace(/\s*Appended: .*$/, "")))}
`;
}

/** The page with the texts that several kernels append. */
export function sharedPage({ kernels, shared }) {
  const users = new Map([...shared.keys()].map((name) => [name, new Set()]));
  for (const { name, variants } of kernels.values()) {
    for (const { code } of variants) for (const part of appended(code, shared)) users.get(part).add(name);
  }
  const sections = [...shared].map(([name, text]) => {
    const comment = /^(?:enable \w+;\n|\n)*((?:\/\/.*\n)*)/.exec(text)[1];
    const words = comment
      .split("\n//\n")[0]
      .replace(/^\/\/ */gm, "")
      .trim();
    const kernelsOf = [...users.get(name)];
    return `## ${name} {#${name}}

${escaped(sentence(words.replace(/\s+/g, " ")))}

Appended to ${kernelsOf.map(link).join(", ")}.

${fence("wgsl", text)}`;
  });
  return `---
title: Shared functions
description: Functions that several kernels append
outline: 2
---

# Shared functions

WGSL has no imports: the engine appends these texts of \`shaders/shared\` to the kernels that call them.

${sections.join("\n\n")}
`;
}

/** The page that lists all kernels. */
export function indexPage({ kernels }) {
  const groups = GROUPS.map(({ title, text, again = [], kernels: entries }) => {
    const rows = Object.keys(entries).map(
      (name) => `| ${link(name)} | ${cell(sentence(kernels.get(name).header.summary))} |`,
    );
    const also = again.length === 0 ? "" : `\n\nAlso here: ${again.map(link).join(", ")}.`;
    return `## ${title}\n\n${text}\n\n| kernel | what it does |\n|---|---|\n${rows.join("\n")}${also}`;
  });
  return `---
title: Kernels
description: Every WebGPU kernel of the engine, in the order in which a forward pass runs them
outline: 2
---

# Kernels, one by one

The engine computes with ${kernels.size} WGSL kernels. Each page has a kernel's formula, its shader, the twin in f64 that it is tested against, and a button that runs its tests on your GPU. They stand here in the order in which a question about a picture runs them; where several compute the same formula, the engine takes the one for the adapter at hand. The functions that several kernels call are on [a page of their own](./shared.md).

${groups.join("\n\n")}
`;
}

function liveRun(name, { needs, liveCase }) {
  const attributes = [`kernel="${name}"`];
  if (liveCase !== undefined) attributes.push(`case="${attribute(liveCase)}"`);
  if (needs !== undefined) attributes.push(`needs="${attribute(needs)}"`);
  const need = needs === undefined ? "" : ` It needs ${needs}.`;
  return `<kernel-live-run v-pre ${attributes.join(" ")}></kernel-live-run>

The button runs one of the cases of \`test/kernels/${name}.test.ts\` as the test suite does: the same seeded random inputs, shader, twin and bound, with your browser's WebGPU.${need}`;
}

/** When it runs, in one sentence. */
function whereSentence({ passes }, { where }) {
  if (where !== undefined) return where;
  const all = new Set(passes.flatMap((each) => each.passes.map(stageOf)));
  const stages = Object.keys(STAGES).filter((stage) => all.has(stage));
  const adapters = passes.map(({ adapter }) => adapter);
  const on = adapters.length >= NUM_ADAPTERS ? "" : ` on ${inWords(mergedAdapters(adapters))}`;
  return `It runs in ${inWords(stages.map((stage) => STAGES[stage]))}${on}.`;
}

function stageOf(pass) {
  if (pass.startsWith("vision multi_modal_projector")) return "projector";
  return /^(vision|embed|prefill|choose)/.exec(pass)?.[1] ?? "step";
}

function mergedAdapters(adapters) {
  const gpus = adapters.filter((name) => name.startsWith("GPU"));
  const cpus = adapters.filter((name) => name.startsWith("CPU"));
  const quads = cpus.filter((name) => !name.includes("without"));
  const cpu =
    cpus.length === 3
      ? ["CPU adapters"]
      : quads.length === 2
        ? ["CPU adapters with subgroups", ...cpus.filter((name) => !quads.includes(name))]
        : cpus;
  return [...(gpus.length === 2 ? ["GPUs"] : gpus), ...cpu];
}

function passesSection({ passes }, { where }) {
  if (passes.length === 0) {
    return `${escaped(where)} A plain question about a picture does not run it, so it appears in \`adaptvis explain\` only with such options.`;
  }
  const byList = new Map();
  for (const { adapter, passes: list } of passes) {
    const key = list.join("\n");
    byList.set(key, [...(byList.get(key) ?? []), adapter]);
  }
  const parts = [...byList].map(([key, adapters]) => {
    const title = adapters.length >= NUM_ADAPTERS ? "On every adapter" : `On ${inWords(mergedAdapters(adapters))}`;
    return `${title}:\n\n${passList(key.split("\n"))}`;
  });
  return `The passes of a question about a picture, AdaptVis and a sweep of six factors, at LLaVA-1.5-7B's shapes and named as in \`adaptvis explain\`; layers are not told apart.

${parts.join("\n\n")}`;
}

/** Passes such as "prefill layers.mlp.down_proj", those of a stage in one line. */
function passList(passes) {
  const byStage = new Map();
  for (const pass of passes) {
    const [stage, place] = [pass.slice(0, pass.lastIndexOf(" ")), pass.slice(pass.lastIndexOf(" ") + 1)];
    byStage.set(stage, [...(byStage.get(stage) ?? []), `\`${place}\``]);
  }
  return [...byStage].map(([stage, places]) => `- ${stage}: ${places.join(", ")}`).join("\n");
}

function boundTable({ bounds }, { boundNamed }) {
  if (bounds.length === 0) return "The test expects exactly the twin's values, bit for bit.";
  const rows = bounds.map((name) => {
    const bound = boundNamed(name);
    const title = name === "linear" ? "linear, K = 4096" : name;
    return `| ${title} | ${figure(bound.relative)} | ${figure(bound.absolute)} | ${figure(bound.nmse)} | ${cell(bound.reason)} |`;
  });
  return `The test allows each value an error of *absolute + relative · magnitude*, and all of them together the normalised mean squared error (NMSE):

| bound | relative | absolute | NMSE | reason |
|---|---|---|---|---|
${rows.join("\n")}`;
}

function wgslSection({ name, variants, bindings, params }, { shared }) {
  const byPart = new Map();
  for (const { label, code } of variants) {
    for (const part of appended(code, shared)) byPart.set(part, [...(byPart.get(part) ?? []), label]);
  }
  const parts = [...byPart].map(([part, labels]) => {
    const isCommon = labels.length === variants.length;
    const some = [...new Set(labels.filter((label) => label !== ""))];
    return `- [shared/${part}](./shared.md#${part})${isCommon || some.length === 0 ? "" : `: ${formsOf(some)}`}`;
  });
  const labels = [...new Set(variants.map(({ label }) => label).filter((label) => label !== ""))];
  const forms = labels.length < 2 ? "" : `\n\nIt is compiled for ${formsOf(labels)}.`;
  const tail = parts.length === 0 ? "" : `\n\n### Appended functions {#appended}\n\n${parts.join("\n")}`;
  const rows = bindings.map(({ name: binding, access }) => `| \`${binding}\` | ${access} |`);
  const uniform =
    params.length === 0
      ? ""
      : `\n\nParameters of a call (\`params\`): ${params.map((param) => `\`${param}\``).join(", ")}.`;
  return `${fence("wgsl", readText(`shaders/${name}.wgsl`))}${forms}${tail}

### Bindings

| binding | access |
|---|---|
${rows.join("\n")}${uniform}`;
}

/** "weights in f32", "weights in f16", "weights in q8, inputs in q8" → "weights in f32 and f16; weights in q8 with inputs in q8". */
function formsOf(labels) {
  const groups = new Map();
  for (const label of labels) {
    const [, what, dtype, rest = ""] = /^(\w+) in (\w+)(?:, (.*))?$/.exec(label);
    const key = `${what} ${rest}`;
    groups.set(key, { what, rest, dtypes: [...(groups.get(key)?.dtypes ?? []), dtype] });
  }
  return [...groups.values()]
    .sort((a, b) => a.rest.length - b.rest.length)
    .map(({ what, rest, dtypes }) => `${what} in ${inWords(dtypes)}${rest === "" ? "" : ` with ${rest}`}`)
    .join("; ");
}

function twinSection(name, owner) {
  const file = twinFile(name);
  const whose = file.endsWith(`/${name}.ts`) ? "" : `It shares ${link(owner)}'s twin. `;
  return `${whose}The test compares the kernel with \`${file}\`, which computes the same formula in double precision and in no clever way.

${fence("ts", readText(file))}`;
}

function isaSection(name, { baseline }) {
  const tables = Object.entries(baseline.targets).flatMap(([target, pipelines]) => {
    const rows = Object.entries(pipelines)
      .filter(([pipeline]) => pipeline.split(" ")[0] === name)
      .map(([pipeline, { waves, vectorRegisters, multiplyAddShare, clamps }]) => {
        const share = multiplyAddShare === null ? "–" : `${Math.round(100 * multiplyAddShare)} %`;
        const form = pipeline.slice(name.length).trim() || "only form";
        return `| ${cell(form)} | ${waves} | ${vectorRegisters} | ${share} | ${clamps ?? "–"} |`;
      });
    return rows.length === 0
      ? []
      : [
          {
            target,
            text: `| form | waves | registers | multiply-adds | clamps |\n|---|--:|--:|--:|--:|\n${rows.join("\n")}`,
          },
        ];
  });
  if (tables.length === 0) {
    return "The compile lab has no figures for it: it compiles the pipelines that a question about a picture runs on a GPU, and this kernel is not among them.";
  }
  const [first, ...others] = tables.sort((a, b) => rank(a.target) - rank(b.target));
  const details = others.map(({ target, text }) => `::: details ${GPUS[target] ?? target}\n\n${text}\n\n:::`);
  return `Mesa's RADV compiler (${baseline.driver}) has translated each form for Radeons. *Waves* are how many groups of 64 lanes a SIMD holds at once, where more hide more of the waits for memory; *registers* are vector registers of a lane, which limit the waves; *multiply-adds* are their share of the vector instructions in the hot loop; *clamps* are bounds checks of indices in loops, of which 0 is best.

**${GPUS[first.target] ?? first.target}**

${first.text}

${details.join("\n\n")}`;
}

function rank(target) {
  const order = Object.keys(GPUS).indexOf(target);
  return order < 0 ? Object.keys(GPUS).length : order;
}

function link(name) {
  return `[${name}](./${name}.md)`;
}

/** "a · b" as a list, but not the products within parentheses and brackets. */
function list(text) {
  const parts = [""];
  let depth = 0;
  for (const piece of text.split(/( · |; )/)) {
    if ((piece === " · " || piece === "; ") && depth === 0) {
      parts.push("");
      continue;
    }
    for (const character of piece) depth += "([".includes(character) ? 1 : ")]".includes(character) ? -1 : 0;
    parts[parts.length - 1] += piece;
  }
  return parts.map((part) => `- ${escaped(part)}`).join("\n");
}

function sentence(text) {
  return ended(text.trim().replace(/^[a-zé](?=[a-z]* )/, (letter) => letter.toUpperCase()));
}

function ended(text) {
  return /[.!?:]$/.test(text) ? text : `${text}.`;
}

/** Text that is neither Markdown, but for `code`, nor a Vue template nor HTML. */
function escaped(text) {
  const parts = text.split(/(`[^`]+`)/);
  return parts.map((part, index) => (index % 2 === 1 ? part : withoutMarkup(part))).join("");
}

function withoutMarkup(text) {
  return text
    .replace(/\\/g, "\\\\")
    .replace(/&/g, "&amp;")
    .replace(/</g, "&lt;")
    .replace(/>/g, "&gt;")
    .replace(/([*_[\]`|~$#^])/g, "\\$1")
    .replace(/\{/g, "&#123;")
    .replace(/\}/g, "&#125;");
}

function cell(text) {
  return escaped(text);
}

function attribute(text) {
  return text.replace(/&/g, "&amp;").replace(/"/g, "&quot;").replace(/</g, "&lt;");
}

function figure(value) {
  return value === 0
    ? "0"
    : value
        .toExponential(1)
        .replace(/e([+-]\d+)/, (_, power) => `&nbsp;·&nbsp;10<sup>${power.replace("-", "−").replace("+", "")}</sup>`);
}

function fence(language, text) {
  return `\`\`\`${language}\n${text.trim()}\n\`\`\``;
}

function inWords(items) {
  return items.length < 2 ? items.join("") : `${items.slice(0, -1).join(", ")} and ${items.at(-1)}`;
}
