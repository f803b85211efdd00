// The report on evaluation runs as a single HTML file: readable on a screen, on a phone and in print, light and dark, without network.

import { escaped, pageHtml, svgOf } from "../../bench/html-page.node.ts";
import { at } from "../../errors.ts";
import { ANSWER_CHANGES, type AnswerChange } from "../answer-changes.ts";
import { PUBLISHED_SOURCE } from "../published-accuracies.ts";
import { CHANGE_TITLES, definitionsOf } from "./definitions.ts";
import type { DrawnMap, Gallery, GalleryEntry } from "./gallery.node.ts";
import type { OverlapAnalysis } from "./layers.ts";
import { FILTER_SCRIPT, REPORT_STYLE } from "./page-style.ts";
import { plotColors, plotsOf } from "./plots.ts";
import { evalCommand, findingsOf, runFacts } from "./prose.ts";
import type { ReportRun } from "./report-run.ts";
import { type Cell, capital, type ReportTable, type TableGroup } from "./table.ts";

/** What a report is made of. */
export interface ReportParts {
  readonly runs: readonly ReportRun[];
  /** As tableGroups gives them: those of all runs first, then one group per run. */
  readonly groups: readonly TableGroup[];
  readonly gallery: Gallery;
  /** Overlap with object boxes, of the runs that were analysed. */
  readonly analyses: ReadonlyMap<ReportRun, OverlapAnalysis>;
  readonly version: string;
  /** Day of the report, as 2026-01-31. */
  readonly date: string;
}

/** The whole page. */
export async function evaluationHtml(parts: ReportParts): Promise<string> {
  const { runs, groups, gallery, version, date } = parts;
  const terms = new Set(definitionsOf(runs).map(({ key }) => key));
  const show = (table: ReportTable) => tableHtml(table, terms);
  const [all, ...own] = groups;
  const sections: string[] = [];
  for (const [index, run] of runs.entries()) {
    sections.push(
      await runSection(run, { tables: at(own, index).tables.map(show), analysis: parts.analyses.get(run) }),
    );
  }
  const models = [...new Set(runs.map(({ modelName }) => modelName))];
  const title = `${models.join(", ")}: evaluation on ${[...new Set(runs.map(({ dataSet }) => dataSet.name))].join(", ")}`;
  return pageHtml({
    title,
    heading: title,
    style: REPORT_STYLE,
    script: FILTER_SCRIPT,
    parts: [
      introduction(runs),
      contents(runs),
      `<section id="results"><h2>Results</h2>${findings(runs)}${(all?.tables ?? []).map(show).join("\n")}<p class="note">${escaped(PUBLISHED_SOURCE)}</p></section>`,
      ...sections,
      galleryHtml(gallery, runs),
      definitionsHtml(runs),
      reproduction(runs, { version, date }),
    ],
  });
}

function introduction(runs: readonly ReportRun[]): string {
  const numQuestions = runs.reduce((sum, { file }) => sum + file.n, 0);
  const methods = [...new Set(runs.flatMap((run) => run.methods.map(({ label }) => label)))];
  const facts: readonly (readonly [string, string])[] = [
    ["Model", [...new Set(runs.map(({ modelName }) => modelName))].join(", ")],
    ["Data sets", [...new Set(runs.map(({ dataSet }) => `${dataSet.name} (${dataSet.summary})`))].join("; ")],
    ["Questions", runs.length === 1 ? String(numQuestions) : `${numQuestions} in ${runs.length} runs`],
    ["Methods", methods.join("; ")],
  ];
  const what =
    "A vision-language model was shown pictures and asked where things are in them. Each question was answered in the usual way (greedy) and under methods that change how much attention the model pays to the picture. This page shows how often each was right, which answers changed, and where the model looked. Every underlined term links to its definition.";
  return `<p class="lead">${escaped(what)}</p>${factList(facts)}`;
}

function factList(facts: readonly (readonly [string, string])[]): string {
  return `<dl class="facts">${facts.map(([name, value]) => `<div><dt>${escaped(name)}</dt><dd>${escaped(value)}</dd></div>`).join("")}</dl>`;
}

function contents(runs: readonly ReportRun[]): string {
  const links: readonly (readonly [string, string])[] = [
    ["results", "Results"],
    ...runs.map(({ id, label }) => [id, label] as const),
    ["gallery", "Gallery"],
    ["definitions", "Definitions"],
    ["reproduce", "How to reproduce"],
  ];
  return `<nav aria-label="Contents"><ul>${links.map(([id, text]) => `<li><a href="#${id}">${escaped(text)}</a></li>`).join("")}</ul></nav>`;
}

function findings(runs: readonly ReportRun[]): string {
  const sentences = runs.flatMap(findingsOf);
  return sentences.length === 0
    ? ""
    : `<ul class="findings">${sentences.map((sentence) => `<li>${escaped(sentence)}</li>`).join("")}</ul>`;
}

async function runSection(
  run: ReportRun,
  { tables, analysis }: { readonly tables: readonly string[]; readonly analysis: OverlapAnalysis | undefined },
): Promise<string> {
  const figures: string[] = [];
  for (const { title, caption, label, spec } of plotsOf(run, analysis)) {
    const svg = await svgOf(spec, { label });
    figures.push(`<figure><h3>${escaped(title)}</h3>${svg}<figcaption>${escaped(caption)}</figcaption></figure>`);
  }
  const legend = plotColors(run).map(
    ({ label, color }) =>
      `<li><svg width="12" height="12" aria-hidden="true"><circle cx="6" cy="6" r="6" fill="${color}"/></svg> ${escaped(label)}</li>`,
  );
  const questionFile = String(run.manifest.about.questionFile);
  const notes = [
    ...run.file.refused.map(({ run: name, reason }) => `${name} is not scored: ${reason}.`),
    ...run.file.notes,
    ...run.scores.notes.map((note) => note.replaceAll(questionFile, fileName(questionFile))),
  ];
  return `<section id="${run.id}"><h2>${escaped(run.label)}</h2>
${factList(runFacts(run))}
${notes.length === 0 ? "" : `<ul class="note">${notes.map((note) => `<li>${escaped(note)}</li>`).join("")}</ul>`}
<ul class="legend" aria-label="Colours of the methods in the plots">${legend.join("")}</ul>
<div class="plots">${figures.join("\n")}</div>
${tables.join("\n")}</section>`;
}

/** A table; what is wider than the window scrolls within its frame, also by keyboard. */
function tableHtml(table: ReportTable, terms: ReadonlySet<string>): string {
  const { title, caption, isDetail } = table;
  const content = `<p class="note">${escaped(caption)}</p>
<div class="frame" tabindex="0" role="region" aria-label="${escaped(title)}"><table>${tableParts(table, terms)}</table></div>`;
  return isDetail === true
    ? `<details><summary>${escaped(title)}</summary>${content}</details>`
    : `<h3>${escaped(title)}</h3>${content}`;
}

function tableParts({ columns, rows, isGrouped }: ReportTable, terms: ReadonlySet<string>): string {
  const first = isGrouped === true ? 1 : 0;
  const classOf = (column: number) => (at(columns, column).isNumeric === true ? ' class="number"' : "");
  const head = columns.map(({ title, term }, column) => {
    const text = escaped(title);
    return `<th scope="col"${classOf(column)}>${term === undefined || !terms.has(term) ? text : `<a href="#def-${term}">${text}</a>`}</th>`;
  });
  const line = (row: readonly Cell[]) =>
    `<tr>${row
      .map((cell, column) =>
        column === first
          ? `<th scope="row"${classOf(column)}>${cellHtml(cell)}</th>`
          : `<td${classOf(column)}>${cellHtml(cell)}</td>`,
      )
      .slice(first)
      .join("")}</tr>`;
  const groups = new Map<string, (readonly Cell[])[]>();
  for (const row of rows) {
    const name = isGrouped === true ? at(row, 0).text : "";
    groups.set(name, [...(groups.get(name) ?? []), row]);
  }
  const bodies = [...groups].map(([name, own]) => {
    const heading = `<tr class="group"><th scope="rowgroup" colspan="${columns.length - first}"><span>${escaped(name)}</span></th></tr>`;
    return `<tbody>${isGrouped === true ? heading : ""}${own.map(line).join("\n")}</tbody>`;
  });
  return `<thead><tr>${head.slice(first).join("")}</tr></thead>${bodies.join("\n")}`;
}

function cellHtml({ text, detail }: Cell): string {
  return `${escaped(text)}${detail === undefined ? "" : `<small>${escaped(detail)}</small>`}`;
}

function galleryHtml({ entries, numbers, missing }: Gallery, runs: readonly ReportRun[]): string {
  const total = ANSWER_CHANGES.reduce((sum, change) => sum + numbers[change], 0);
  const intro =
    "What a method changes beside greedy, question by question. Each card shows the picture, and the same picture under the attention of the prompt’s last token: before, in the unmodified pass, and after, in the pass that gave the method’s answer. Bright is much attention; each map is scaled to its own brightest patch, whose part of all attention is given as its peak, beside the layer’s image share and entropy.";
  const shown = ANSWER_CHANGES.map((change) => {
    const count = entries.filter((entry) => entry.change === change).length;
    return `${count} of ${numbers[change]} ${CHANGE_TITLES[change]}`;
  });
  const notes = [
    total === 0
      ? "No run has both greedy and another method, so there is nothing to compare."
      : `Cards shown: ${shown.join(", ")}${entries.length < total ? "; the others are left out (--gallery sets how many are shown)" : ""}.`,
    ...(missing.length === 0
      ? []
      : [
          `Pictures that were not found, so that only the text is shown: ${missing.length}, such as ${missing.slice(0, 3).join(", ")}; give their folder with --data-dir.`,
        ]),
    ...(entries.length > 0 && entries.every(({ maps }) => maps.before === null && maps.after === null)
      ? [
          "The results hold no attention maps, as of runs before maps were kept, and of earlier runs on pictures in tiles.",
        ]
      : []),
    ...(entries.some(({ maps }) => (maps.after ?? maps.before)?.isOverlay === false)
      ? [
          "Some maps are shown without the picture below them: the run does not say which part of the picture the model saw, or the picture is missing. A patch is a square; the map covers what the model saw, which may be cropped.",
        ]
      : []),
  ];
  return `<section id="gallery"><h2>Gallery</h2><p>${escaped(intro)}</p>${notes.map((note) => `<p class="note">${escaped(note)}</p>`).join("")}
${entries.length === 0 ? "" : filters(entries, runs)}
<ul class="cards">${entries.map(card).join("\n")}</ul></section>`;
}

/** Controls, hidden until the script runs: without it every card is shown. */
function filters(entries: readonly GalleryEntry[], runs: readonly ReportRun[]): string {
  const boxes = ANSWER_CHANGES.flatMap((change) => {
    const count = entries.filter((entry) => entry.change === change).length;
    return count === 0
      ? []
      : [
          `<label><input type="checkbox" name="change" value="${change}" checked> ${CHANGE_TITLES[change]} (${count})</label>`,
        ];
  });
  const choice = (name: string, title: string, options: readonly (readonly [string, string])[]) =>
    options.length < 2
      ? ""
      : `<label>${title} <select name="${name}"><option value="">all</option>${options.map(([value, text]) => `<option value="${escaped(value)}">${escaped(text)}</option>`).join("")}</select></label>`;
  const methods = [...new Set(entries.map(({ method }) => method.label))];
  const shownRuns = runs.filter((run) => entries.some((entry) => entry.run === run));
  return `<section id="filters" hidden aria-label="Filter the cards"><div role="group" aria-label="Changes">${boxes.join("")}</div>
<div>${choice(
    "method",
    "Method",
    methods.map((label) => [label, label]),
  )}${choice(
    "run",
    "Run",
    shownRuns.map(({ id, label }) => [id, label]),
  )}</div>
<output id="shown"></output></section>`;
}

function card(entry: GalleryEntry): string {
  const { run, method, question, change, picture, maps, before, after, confidence, factor } = entry;
  const name = `question ${question.id} of ${run.label}`;
  const pictures = [
    picture === null ? `<div class="none">Picture not found</div>` : image(picture, "Picture", `Picture of ${name}`),
    mapHtml(maps.before, "Before", `Attention before, ${name}`),
    mapHtml(maps.after, "After", `Attention after, ${name}`),
  ].filter((part) => part !== "");
  const layer = (maps.after ?? maps.before)?.layer;
  const facts = [
    layer === undefined ? "" : `maps of layer ${layer}`,
    confidence === null ? "" : `confidence ${confidence.toFixed(2)}`,
    factor === null ? "" : `factor ${Number(factor.toPrecision(4))}`,
  ].filter((text) => text !== "");
  return `<li class="card" data-change="${change}" data-method="${escaped(method.label)}" data-run="${run.id}">
<p class="head"><span class="badge ${change}">${badge(change)}</span> <span>${escaped(`${run.dataSet.name} ${question.id}`)}</span></p>
<p class="question">${escaped(shortQuestion(question.text))}</p>
<dl><div><dt>Right answer</dt><dd>${escaped(question.gold)}</dd></div><div><dt>Greedy</dt><dd>${answer(before)}</dd></div><div><dt>${escaped(method.label)}</dt><dd>${answer(after)}</dd></div></dl>
<div class="pictures">${pictures.join("")}</div>
${facts.length === 0 ? "" : `<p class="note">${escaped(capital(facts.join(", ")))}</p>`}</li>`;
}

function badge(change: AnswerChange): string {
  const signs: Readonly<Record<AnswerChange, string>> = { fixed: "✓", broken: "✗", formatOnly: "≈", unchanged: "=" };
  return `<span aria-hidden="true">${signs[change]}</span> ${CHANGE_TITLES[change]}`;
}

/** Long answers are cut after some lines' worth of text. */
function answer(text: string): string {
  const trimmed = text.trim();
  if (trimmed === "") return "<em>empty</em>";
  return escaped(trimmed.length > 160 ? `${trimmed.slice(0, 160)}…` : trimmed);
}

/** The question without the prompt around it. */
function shortQuestion(text: string): string {
  const bare = text
    .replace("<image>", "")
    .replace(/^\s*USER:\s*/i, "")
    .replace(/\s*ASSISTANT:\s*$/i, "")
    .trim();
  return bare.replace(/\s*Answer with [^.?]*\.?$/i, "");
}

function image(uri: string, title: string, alternative: string, details: readonly string[] = []): string {
  return `<figure><img src="${uri}" alt="${escaped(alternative)}"><figcaption>${escaped(title)}${details.map((detail) => `<small>${escaped(detail)}</small>`).join("")}</figcaption></figure>`;
}

function mapHtml(map: DrawnMap | null, title: string, alternative: string): string {
  if (map === null) return "";
  const { share, entropy, peak } = map;
  const numbers = [
    ...(share === null ? [] : [`share ${(100 * share).toFixed(0)} %`]),
    ...(entropy === null ? [] : [`${entropy.toFixed(1)} bits`]),
    `peak ${(100 * peak).toFixed(1)} %`,
  ];
  return image(map.image, title, `${alternative}: ${numbers.join(", ")}`, numbers);
}

function definitionsHtml(runs: readonly ReportRun[]): string {
  const items = definitionsOf(runs).map(
    ({ key, term, texts }) =>
      `<div id="def-${key}"><dt>${escaped(term)}</dt>${texts.map((text) => `<dd>${escaped(text)}</dd>`).join("")}</div>`,
  );
  return `<section id="definitions"><h2>Definitions</h2><dl class="definitions">${items.join("\n")}</dl></section>`;
}

function reproduction(
  runs: readonly ReportRun[],
  { version, date }: { readonly version: string; readonly date: string },
): string {
  const commands = runs.map((run) => {
    const { command, remarks } = evalCommand(run);
    return `<h3>${escaped(run.label)}</h3><pre tabindex="0">${escaped(command)}</pre>${remarks.map((remark) => `<p class="note">${escaped(remark)}</p>`).join("")}`;
  });
  return `<section id="reproduce"><h2>How to reproduce</h2>
<p>Capitals stand for folders on your machine. <code>adaptvis report</code> on the folders of <code>--out</code> then writes this page, from the same numbers as each folder’s <code>summary.json</code>.</p>
${commands.join("\n")}
<p class="note">Written on ${escaped(date)} by adaptvis ${escaped(version)}.</p></section>`;
}

/** The last part of a path. */
function fileName(path: string): string {
  return path.split(/[/\\]/).at(-1) ?? path;
}
