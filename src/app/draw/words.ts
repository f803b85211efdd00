// Formats numbers for the page; a no-break space keeps each unit on its number's line.

import type { KeptForm } from "../../store/model-store.ts";
import type { AnswerView } from "../protocol.ts";

/** A probability or share from 0 to 1 in per cent, with a precision that depends on its size. */
export function percent(share: number): string {
  const value = share * 100;
  if (value !== 0 && value < 0.05) return "<\u00a00.1\u00a0%";
  return `${value.toFixed(value >= 99.95 || value === 0 ? 0 : 1)}\u00a0%`;
}

/** A probability, factor or threshold with up to `digits` decimals and without trailing zeros. */
export function decimal(value: number, digits = 3): string {
  return Number(value.toFixed(digits)).toString();
}

/** Bytes in the largest unit with a value of at least 1. */
export function byteSize(bytes: number): string {
  if (bytes < 1024) return `${bytes}\u00a0B`;
  const units = ["KiB", "MiB", "GiB"];
  let value = bytes / 1024;
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${value.toFixed(value < 10 ? 1 : 0)}\u00a0${units[unit]}`;
}

/** A duration. */
export function duration(milliseconds: number): string {
  if (milliseconds < 1) return `${(milliseconds * 1000).toFixed(0)}\u00a0µs`;
  if (milliseconds < 100) return `${milliseconds.toFixed(1)}\u00a0ms`;
  if (milliseconds < 1000) return `${milliseconds.toFixed(0)}\u00a0ms`;
  return `${(milliseconds / 1000).toFixed(milliseconds < 10_000 ? 2 : 0)}\u00a0s`;
}

/**
 * The time of an answer as its card has it, and what that time includes; empty where it is not known.
 * Greedy reads the picture and the question, the others go on from there.
 */
export function timeInWords({ kind, elapsedMs }: Pick<AnswerView, "kind" | "elapsedMs">): string {
  if (!Number.isFinite(elapsedMs)) return "";
  return kind === "greedy"
    ? ` · ${duration(elapsedMs)} with reading`
    : ` · ${duration(elapsedMs)} more, after greedy’s reading`;
}

/** A token's text with invisible characters made visible: a leading space, line breaks, tabs, the empty text. */
export function visibleToken(text: string): string {
  if (text === "") return "(nothing)";
  return text.replace(/^ /, "␣").replaceAll("\n", "↵").replaceAll("\t", "⇥");
}

/** The form that a model is kept in: "in q4", "as in its files". */
export function formInWords(form: KeptForm): string {
  return form === "file" ? "as in its files" : `in ${form}`;
}
