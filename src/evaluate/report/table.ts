// A table of a report, once for the page, Markdown and CSV: what a cell shows, and the plain numbers behind it.
import { at } from "../../errors.ts";
import type { BootstrapInterval } from "../metrics/bootstrap.ts";
import { METRIC_RULES } from "../run-metrics.ts";
import type { Share } from "../scores.ts";
import type { RuleName } from "../verdicts.ts";
import type { ReportMethod } from "./report-run.ts";

/** A table. */
export interface ReportTable {
  /** Of its CSV file, in which the tables of all runs with this name are put together. */
  readonly name: string;
  readonly title: string;
  /** What a reader has to know beside the column titles. */
  readonly caption: string;
  /** The first column names the row. */
  readonly columns: readonly Column[];
  readonly rows: readonly (readonly Cell[])[];
  /** Whether the page folds it, as it repeats or details another one. */
  readonly isDetail?: boolean;
  /** Whether the first column names groups of rows, which follow each other; the page then gives each group a line. */
  readonly isGrouped?: boolean;
}

/** A column. */
export interface Column {
  readonly title: string;
  /** Key of the definition that the title links to. */
  readonly term?: string;
  /** Names of its CSV columns, one per value of a cell. */
  readonly csv: readonly string[];
  /** Whether its cells are numbers, which are right-aligned. */
  readonly isNumeric?: boolean;
}

/** A cell. */
export interface Cell {
  readonly text: string;
  /** Smaller, below the text. */
  readonly detail?: string;
  /** One per CSV column; null for an empty field. */
  readonly values: readonly (string | number | null)[];
}

/** Tables of one run, or of all runs together. */
export interface TableGroup {
  /** The run's values of the columns data_set, model and so on; undefined for tables that have them as columns of their own. */
  readonly run: Readonly<Record<string, string>> | undefined;
  readonly heading: string;
  readonly tables: readonly ReportTable[];
}

/** A cell of text. */
export function textCell(text: string, detail?: string): Cell {
  return { text, values: [text], ...(detail !== undefined && { detail }) };
}

/** A cell without a value. */
export function emptyCell({ csv }: Column): Cell {
  return { text: "–", values: csv.map(() => null) };
}

/** A share in percent with its interval or counts below; for CSV columns of percent, lower, upper and n, or percent, count and n. */
export function shareCell(share: Share | undefined, interval?: BootstrapInterval | null): Cell {
  if (share === undefined || share.percent === null) return { text: "–", values: [null, null, null, null] };
  const text = percent(share.percent);
  if (interval === undefined)
    return { text, detail: `${share.count} of ${share.of}`, values: [share.percent, share.count, share.of] };
  if (interval === null) return { text, values: [share.percent, null, null, share.of] };
  const [lower, upper] = [100 * interval.lower, 100 * interval.upper];
  return { text, detail: `${lower.toFixed(1)}–${upper.toFixed(1)}`, values: [share.percent, lower, upper, share.of] };
}

/** CSV columns of {@link accuracyCell}. */
export const INTERVAL_CSV = ["percent", "lower", "upper", "n"];

/** Right answers of a method under a rule, with the interval where the rule has one. */
export function accuracyCell({ scored }: ReportMethod, rule: RuleName): Cell {
  const scores = scored.rules[rule];
  if (scores === null) return { text: "–", values: [null, null, null, null] };
  const metricRule = METRIC_RULES.find((name) => name === rule);
  const interval = metricRule === undefined ? null : (scored.metrics.rules[metricRule]?.individual ?? null);
  return shareCell(scores.individual, interval);
}

/** A difference in percentage points with its interval. */
export function pointsCell({ mean, lower, upper }: BootstrapInterval): Cell {
  return {
    text: signed(100 * mean),
    detail: `${signed(100 * lower)} to ${signed(100 * upper)}`,
    values: [100 * mean, 100 * lower, 100 * upper],
  };
}

/** A number with fixed digits. */
export function numberCell(value: number | null, digits: number): Cell {
  return { text: value === null ? "–" : value.toFixed(digits), values: [value] };
}

/** A fraction in percent. */
export function fractionCell(fraction: number | null): Cell {
  return {
    text: fraction === null ? "–" : percent(100 * fraction),
    values: [fraction === null ? null : 100 * fraction],
  };
}

/** A whole number. */
export function countCell(count: number): Cell {
  return { text: String(count), values: [count] };
}

/** A p value: three significant digits, or an upper bound of tiny ones. */
export function pCell(p: number): Cell {
  return { text: p < 0.0001 ? "< 0.0001" : p.toPrecision(2), values: [p] };
}

/** "83.0 %", with a narrow space that does not break. */
export function percent(value: number): string {
  return `${value.toFixed(1)} %`;
}

/** With a sign, a true minus included; a number that rounds to 0 has none. */
export function signed(value: number): string {
  const text = Math.abs(value).toFixed(1);
  if (Number(text) === 0) return text;
  return `${value > 0 ? "+" : "−"}${text}`;
}

/** CSV files by name: every table with that name, its run's columns first, the union of all columns. RFC 4180, with a header line. */
export function csvFiles(groups: readonly TableGroup[]): ReadonlyMap<string, string> {
  const rowsByName = new Map<string, Readonly<Record<string, string | number | null>>[]>();
  for (const { run = {}, tables } of groups) {
    for (const { name, columns, rows } of tables) {
      const own = rowsByName.get(name) ?? [];
      rowsByName.set(name, own);
      for (const row of rows) {
        const values = row.flatMap((cell, column) =>
          at(columns, column).csv.map((title, index) => [title, cell.values[index] ?? null] as const),
        );
        own.push({ ...run, ...Object.fromEntries(values) });
      }
    }
  }
  return new Map([...rowsByName].map(([name, rows]) => [name, csvText(rows)]));
}

function csvText(rows: readonly Readonly<Record<string, string | number | null>>[]): string {
  const titles = [...new Set(rows.flatMap((row) => Object.keys(row)))];
  const lines = rows.map((row) => titles.map((title) => csvField(row[title] ?? null)).join(","));
  return `${[titles.map(csvField).join(","), ...lines].join("\r\n")}\r\n`;
}

/** Texts come from data sets and answers: a spreadsheet must not take one for a formula, so that it gets an apostrophe in front. */
function csvField(value: string | number | null): string {
  if (value === null) return "";
  const text = typeof value === "string" ? value.replace(/^[=+\-@\t\r]/, "'$&") : String(value);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/** Tables as Markdown, under a heading per run and table. */
export function markdownText(
  groups: readonly TableGroup[],
  of: {
    readonly title: string;
    readonly lead: readonly string[];
    readonly definitions: readonly (readonly [string, string])[];
  },
): string {
  const parts = [`# ${of.title}`, ...of.lead.map(markdownEscaped)];
  for (const { heading, tables } of groups) {
    parts.push(`## ${markdownEscaped(heading)}`);
    for (const { title, caption, columns, rows } of tables) {
      const line = (cells: readonly string[]) => `| ${cells.map(markdownEscaped).join(" | ")} |`;
      const aligned = columns.map(({ isNumeric }) => (isNumeric === true ? "--:" : "---"));
      const shown = rows.map((row) =>
        line(row.map(({ text, detail }) => (detail === undefined ? text : `${text} (${detail})`))),
      );
      parts.push(
        `### ${markdownEscaped(title)}`,
        markdownEscaped(caption),
        [line(columns.map((column) => column.title)), `| ${aligned.join(" | ")} |`, ...shown].join("\n"),
      );
    }
  }
  parts.push(
    "## Definitions",
    of.definitions.map(([term, text]) => `- **${markdownEscaped(term)}**: ${markdownEscaped(text)}`).join("\n"),
  );
  return `${parts.filter((part) => part !== "").join("\n\n")}\n`;
}

function markdownEscaped(text: string): string {
  return text.replaceAll(/[\\|*_`<>[\]]/g, "\\$&").replaceAll("\n", " ");
}

/** A text with a capital at the beginning. */
export function capital(text: string): string {
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}`;
}
