// The part of the page about interventions that is made from their registry.

import { loadSource } from "./load-source.mjs";

/** What the line of a page is replaced by that asks for it. */
export const INTERVENTIONS_MARK = "<!-- made by tools/docs/interventions.mjs -->";

/** A setting with the same meaning in this many methods is explained once. */
const SHARED_BY = 4;

/** Markdown with the settings that methods share, then every method with its source and its other settings. */
export async function interventionSections() {
  const { INTERVENTIONS } = await loadSource("src/interventions/registry.ts");
  const all = INTERVENTIONS.flatMap(({ parameters }) => Object.entries(parameters));
  const shared = new Map();
  for (const [key, parameter] of all) {
    const same = all.filter(([other, { meaning }]) => other === key && meaning === parameter.meaning);
    if (same.length >= SHARED_BY && !shared.has(key)) shared.set(key, parameter);
  }
  const intro = `### Shared settings\n\nAll methods that edit scores have most of these; which ones, and where a default is another one, is stated below.\n\n`;
  return [intro + tableOf([...shared]), ...INTERVENTIONS.map((intervention) => section(intervention, shared))].join(
    "\n\n",
  );
}

function section({ name, title, summary, source, parameters }, shared) {
  const entries = Object.entries(parameters);
  const isShared = ([key, { meaning }]) => shared.get(key)?.meaning === meaning;
  const own = entries.filter((entry) => !isShared(entry));
  const others = entries.filter(isShared).map(([key, parameter]) => {
    const isOther = defaultOf(parameter) !== defaultOf(shared.get(key));
    return `\`${key}\`${isOther ? ` (default ${defaultOf(parameter)})` : ""}`;
  });
  const heading = title.toLowerCase().replaceAll(" ", "-") === name ? title : `${title} {#${name}}`;
  return [
    `### ${heading}`,
    `\`${name}\` ${summary}.${source === "" ? "" : ` Source: ${linked(source)}.`}`,
    ...(own.length === 0 ? [] : [tableOf(own)]),
    ...(others.length === 0 ? [] : [`${own.length === 0 ? "Its" : "Its shared"} settings: ${others.join(", ")}.`]),
    ...(entries.length === 0 ? ["It has no settings."] : []),
  ].join("\n\n");
}

function tableOf(parameters) {
  const rows = parameters.map(
    ([key, parameter]) =>
      `| \`${key}\` | ${cell(kindOf(parameter.type))} | ${cell(defaultOf(parameter))} | ${cell(parameter.meaning)} |`,
  );
  return ["| setting | value | default | meaning |", "|---|---|---|---|", ...rows].join("\n");
}

/** Addresses and arXiv's numbers become links. */
function linked(source) {
  return source
    .replaceAll(/(?<!\]\()https?:\/\/[^\s,;)]+/g, (address) => `<${address}>`)
    .replaceAll(/\barXiv[: ](\d{4}\.\d{4,5})/g, (text, id) => `[${text}](https://arxiv.org/abs/${id})`);
}

function kindOf(type) {
  switch (type.kind) {
    case "number":
      return `${type.isWhole === true ? "whole number" : "number"} from ${count(type.minimum)} to ${count(type.maximum)}`;
    case "choice":
      return `one of ${type.choices.map((choice) => `\`${choice}\``).join(", ")}`;
    case "indices":
      return `list of ${type.of}`;
    case "box":
      return "left, top, right, bottom";
    case "strengths":
      return "lists of numbers";
    case "columns":
      return "`image`, or a list of positions";
    case "rows":
      return "`last`, `generated`, `after-image`, or a number of rows";
    default:
      throw new Error(`no phrase for settings of the kind ${type.kind}`);
  }
}

function count(value) {
  return Number.isSafeInteger(value) ? value.toLocaleString("en-US") : String(value);
}

function defaultOf({ default: value }) {
  if (value === undefined) return "–";
  return `\`${typeof value === "string" ? value : JSON.stringify(value)}\``;
}

function cell(text) {
  return text.replaceAll("|", "\\|").replaceAll("<", "&lt;");
}
