// Text with one JSON object per line, read line by line so that a broken line can be named.

import { InputError, isObject, kindOf } from "../errors.ts";

/** An object as JSON has them. */
export type JsonObject = Readonly<Record<string, unknown>>;

/** A line that is not blank: its object, or what is wrong with it. */
export type JsonLine =
  | { readonly lineNumber: number; readonly object: JsonObject; readonly problem: null }
  | { readonly lineNumber: number; readonly object: null; readonly problem: string };

/** Every line of `text` that is not blank, numbered from 1. */
export function readJsonLines(text: string): readonly JsonLine[] {
  return withoutMark(text)
    .split("\n")
    .flatMap((line, index) => (line.trim() === "" ? [] : [readLine(line, index + 1)]));
}

/**
 * The objects of all lines.
 * @param file name for messages
 * @throws InputError for the first line that is not a JSON object.
 */
export function readAllJsonLines(text: string, file: string): readonly (JsonLine & { readonly object: JsonObject })[] {
  return readJsonLines(text).map((line) => {
    if (line.problem === null) return line;
    throw new InputError(
      `${file}, line ${line.lineNumber}: expected a JSON object, got ${line.problem}; correct or remove the line.`,
    );
  });
}

/**
 * Parses a whole file as JSON.
 * @param file name for messages
 * @throws InputError when it is not JSON, such as a file that was cut while it was written.
 */
export function parseJsonFile(text: string, file: string): unknown {
  try {
    return parseJson(withoutMark(text));
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new InputError(`${file} is not JSON (${reason}): give the whole file as it was written.`);
  }
}

function readLine(line: string, lineNumber: number): JsonLine {
  try {
    const value = parseJson(line);
    if (isObject(value)) return { lineNumber, object: value, problem: null };
    return { lineNumber, object: null, problem: kindOf(value) };
  } catch {
    return { lineNumber, object: null, problem: "text that is not JSON" };
  }
}

/** Parses JSON, with null for the NaN and Infinity that Python's json module writes although JSON has none. @throws SyntaxError. */
function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    // Strings are matched first, so that what stands in them stays.
    const finite = text.replaceAll(/"(?:[^"\\]|\\.)*"|-?\bInfinity\b|\bNaN\b/g, (found) =>
      found.startsWith('"') ? found : "null",
    );
    if (finite === text) throw error;
    return JSON.parse(finite);
  }
}

/** Removes the byte order mark that some editors write. */
function withoutMark(text: string): string {
  return text.replace(/^\uFEFF/, "");
}
