// Tab-separated tables against pandas' reading of the same bytes.
import { describe, expect, test } from "vitest";
import { MISSING_VALUES, readTsv } from "../../src/evaluate/datasets/tsv.ts";
import { messageOf, readEvaluateGolden, versionsOf } from "./metrics-golden.ts";

interface Golden {
  readonly tables: readonly {
    readonly name: string;
    readonly text: string;
    readonly columns: readonly string[];
    readonly rows: readonly Readonly<Record<string, string>>[];
  }[];
  readonly refused: Readonly<Record<string, string>>;
}

const golden = readEvaluateGolden<Golden>("tables.json");

async function read(chunks: readonly string[]) {
  const { columns, rows } = await readTsv(chunks, "table.tsv");
  const list = [];
  for await (const { fields } of rows) list.push(Object.fromEntries(fields));
  return { columns, rows: list };
}

async function linesOf(text: string) {
  const lines = [];
  for await (const { line } of (await readTsv([text], "table.tsv")).rows) lines.push(line);
  return lines;
}

describe(`as pandas.read_csv (${versionsOf(golden, "pandas")})`, () => {
  test.each(golden.tables)("$name", async ({ text, columns, rows }) => {
    expect(await read([text])).toEqual({ columns, rows });
    for (let cut = 1; cut < text.length; cut++) {
      expect(await read([text.slice(0, cut), "", text.slice(cut)]), `cut at ${cut}`).toEqual({ columns, rows });
    }
    expect(await read([...text].flatMap((character) => character.split("")))).toEqual({ columns, rows });
  });

  test("tables that pandas refuses are refused", async () => {
    for (const [name, text] of Object.entries(golden.refused)) {
      expect(await messageOf(() => read([text])), name).toMatch(/^InputError: table.tsv:?\d?: expected/);
    }
  });
});

test("messages name the line", async () => {
  expect(await messageOf(() => read(['a\tb\n"x\ny"\t1\n\n1\t2\t3\n']))).toBe(
    "InputError: table.tsv:5: expected at most 2 fields, as in the header, got 3; a field that contains a tab must be in double quotes.",
  );
  expect(await messageOf(() => read(['a\tb\n1\t"2\n3\t4\n']))).toBe(
    "InputError: table.tsv:2: expected the quoted field 2 of this row to end in a double quote, got the end of the file; the file may be incomplete.",
  );
  expect(await messageOf(() => read(["\n\na\tb\ta\n"]))).toBe(
    'InputError: table.tsv:3: expected distinct column names separated by tabs, got "a" in column 3.',
  );
  expect(await messageOf(() => read([]))).toBe(
    "InputError: table.tsv: expected a header line with column names, got an empty file.",
  );
});

test("only the first character of the text is a byte order mark", async () => {
  expect(await read(["\uFEFFa\tb\n", "\uFEFF1\t2\n"])).toEqual({
    columns: ["a", "b"],
    rows: [{ a: "\uFEFF1", b: "2" }],
  });
});

test("rows carry the number of their first line", async () => {
  expect(await linesOf('a\r\n"x\r\ny"\r\n\r\nz\r\n')).toEqual([2, 5]);
  expect(await linesOf("a\rx\ry\r")).toEqual([2, 3]);
  expect(await linesOf('a\n"\nx"\ny\n')).toEqual([2, 4]);
});

test("rows come before the rest of the text is read", async () => {
  let numRead = 0;
  async function* chunks() {
    for (const chunk of ["a\tb\n1\t", "2\n3\t4\n", '5\t"never closed']) {
      numRead += 1;
      yield chunk;
    }
  }
  const { rows } = await readTsv(chunks(), "table.tsv");
  for await (const { fields } of rows) {
    expect(fields.get("b")).toBe("2");
    break;
  }
  expect(numRead).toBe(2);
});

test("a missing value is one of pandas' nineteen texts", () => {
  expect(MISSING_VALUES.size).toBe(19);
  expect(MISSING_VALUES.has("None")).toBe(true);
  expect(MISSING_VALUES.has("none")).toBe(false);
});
