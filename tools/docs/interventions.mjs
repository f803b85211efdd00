// The part of the page about interventions that is made from their registry.

import { loadSource } from "./load-source.mjs";

/** What the line of a page is replaced by that asks for it. */
export const INTERVENTIONS_MARK = "<!-- made by tools/docs/interventions.mjs -->";

/** Markdown with every method's name, source and settings. */
export async function interventionSections() {
  const { INTERVENTIONS } = await loadSource("src/interventions/registry.ts");
  return INTERVENTIONS.map(section).join("\n");
}

function section({ name, title, summary, source, parameters }) {
  const rows = Object.entries(parameters).map(
    ([key, parameter]) =>
      `| \`${key}\` | \`${flagOf(key)}\` | ${cell(kindOf(parameter.type))} | ${cell(defaultOf(parameter))} | ${cell(parameter.meaning)} |`,
  );
  const table =
    rows.length === 0
      ? "It has no settings."
      : ["| setting | flag | value | default | meaning |", "|---|---|---|---|---|", ...rows].join("\n");
  const heading = title.toLowerCase().replaceAll(" ", "-") === name ? title : `${title} {#${name}}`;
  return `### ${heading}\n\n\`${name}\` ${summary}.${source === "" ? "" : ` Source: ${linked(source)}.`}\n\n${table}\n`;
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

function flagOf(key) {
  return `--${key.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
}

function cell(text) {
  return text.replaceAll("|", "\\|").replaceAll("<", "&lt;");
}
