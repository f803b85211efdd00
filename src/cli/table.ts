// Rows of text in columns that are as wide as their widest cell.
import { styled } from "./session.ts";

/** Lines of a table: the titles, then one line a row. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): readonly string[] {
  const widths = head.map((title, column) => Math.max(title.length, ...rows.map((row) => row[column]?.length ?? 0)));
  const line = (row: readonly string[]) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join("  ")
      .trimEnd();
  return [styled("dim", line(head)), ...rows.map(line)];
}
