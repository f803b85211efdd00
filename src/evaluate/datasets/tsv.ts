// Tab-separated tables as pandas reads them (`read_csv(sep="\t")`, C parser), in pieces, so that a table of gigabytes need
// not be in memory.
//
// A field that begins with a quote ends at the next single quote; two quotes in it are one, and tabs and line ends in it are
// text. What follows the closing quote up to the tab belongs to the field. A quote inside an unquoted field is text. Lines end
// in \n, \r\n or \r; lines that are empty or have only spaces are skipped. Missing fields at the end of a line are missing
// values, as are the texts in MISSING_VALUES. A column without a name is "Unnamed: N", N from 0. Deviations: two columns of one
// name, and more fields than the header has, are errors (pandas renames the column, or makes an index of the first field).
// Source: pandas 3.1.1, pandas/_libs/src/parser/tokenizer.c (tokenize_bytes) and _libs/parsers.pyx (STR_NA_VALUES).
import { at, InputError } from "../../errors.ts";

/** Texts that pandas reads as a missing value, quoted or not: "None", "NA" and "null" among them. */
export const MISSING_VALUES: ReadonlySet<string> = new Set([
  ...["", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A", "NA"],
  ...["NULL", "NaN", "None", "n/a", "nan", "null"],
]);

/** One line of a table, which may span several lines of the file. */
export interface TsvRow {
  /** Number of its first line in the file, from 1. */
  readonly line: number;
  /** Text by column; columns whose value is missing are absent. */
  readonly fields: ReadonlyMap<string, string>;
  /** Characters [start, end) of the text that are this line, for reading it again. */
  readonly start: number;
  readonly end: number;
}

/** Changes a field's text as it is read. @param where file and line for messages */
export type FieldDecoder = (text: string, where: string) => string;

/** A table's header and rows. */
export interface TsvTable {
  readonly columns: readonly string[];
  readonly rows: AsyncIterable<TsvRow>;
}

/**
 * Reads a table piece by piece.
 * @param chunks the text in pieces of any length, such as those of a decoded stream, or a list with the whole text
 * @param file name for messages
 * @param options `decode` is applied to every field, such as when the text has one character per byte of a UTF-8 file
 * @throws InputError when there is no header or a column name appears twice; while rows are read, when a row has
 *   more fields than columns or the text ends inside quotes.
 */
export async function readTsv(
  chunks: AsyncIterable<string> | Iterable<string>,
  file: string,
  options: { readonly decode?: FieldDecoder | undefined } = {},
): Promise<TsvTable> {
  const { decode = (text) => text } = options;
  const records = readRecords(chunks, file);
  const header = await records.next();
  if (header.done === true) {
    throw new InputError(`${file}: expected a header line with column names, got an empty file.`);
  }
  const headerPlace = `${file}:${header.value.line}`;
  const columns = header.value.fields.map((name, index) =>
    name === "" ? `Unnamed: ${index}` : decode(name, headerPlace),
  );
  const bad = columns.findIndex((name, index) => columns.indexOf(name) !== index);
  if (bad >= 0) {
    throw new InputError(
      `${headerPlace}: expected distinct column names separated by tabs, got "${at(columns, bad)}" in column ${bad + 1}.`,
    );
  }
  return { columns, rows: readRows(records, columns, { file, decode }) };
}

async function* readRows(
  records: AsyncIterable<TsvRecord>,
  columns: readonly string[],
  { file, decode }: { readonly file: string; readonly decode: FieldDecoder },
): AsyncGenerator<TsvRow> {
  for await (const { line, fields, ...place } of records) {
    if (fields.length > columns.length) {
      throw new InputError(
        `${file}:${line}: expected at most ${columns.length} fields, as in the header, got ${fields.length}; a field that contains a tab must be in double quotes.`,
      );
    }
    const entries = fields.map((text, index) => [at(columns, index), decode(text, `${file}:${line}`)] as const);
    yield { line, fields: new Map(entries.filter(([, text]) => !MISSING_VALUES.has(text))), ...place };
  }
}

interface TsvRecord {
  readonly line: number;
  readonly fields: readonly string[];
  readonly start: number;
  readonly end: number;
}

async function* readRecords(chunks: AsyncIterable<string> | Iterable<string>, file: string): AsyncGenerator<TsvRecord> {
  const parser = new RecordParser();
  let isFirst = true;
  for await (const chunk of chunks) {
    if (chunk === "") continue;
    const hasMark = isFirst && chunk.startsWith("\uFEFF");
    if (hasMark) parser.skip(1);
    yield* parser.push(hasMark ? chunk.slice(1) : chunk);
    isFirst = false;
  }
  yield* parser.end(file);
}

type ParserState =
  /** Nothing of a field was read yet. */
  | "field-start"
  | "unquoted"
  | "quoted"
  /** After a quote in a quoted field, which closes it unless another quote follows. */
  | "quote-in-quoted"
  /** After \r, which a \n may follow. */
  | "carriage-return";

/** Splits pieces of text into records. Runs of plain text are found by search, so that long base64 fields cost little. */
class RecordParser {
  private state: ParserState = "field-start";
  private field = "";
  private fields: string[] = [];
  private hasQuote = false;
  private line = 1;
  private recordLine = 1;
  /** Characters of the pieces before the current one, and where the current record begins among all. */
  private consumed = 0;
  private recordStart = 0;
  private readonly special = /[\t\n\r]/g;

  /** Leaves out characters before the first record. */
  skip(numCharacters: number): void {
    this.consumed += numCharacters;
    this.recordStart += numCharacters;
  }

  *push(chunk: string): Generator<TsvRecord> {
    let offset = 0;
    while (offset < chunk.length) {
      if (this.state === "quoted") {
        const quote = chunk.indexOf('"', offset);
        const end = quote < 0 ? chunk.length : quote;
        this.addQuoted(chunk.slice(offset, end));
        if (quote >= 0) this.state = "quote-in-quoted";
        offset = end + 1;
        continue;
      }
      const character = chunk.charAt(offset);
      if (this.state === "carriage-return") {
        this.state = "field-start";
        if (character === "\n") {
          offset += 1;
          continue;
        }
      }
      if (character === '"' && this.state === "field-start") {
        this.state = "quoted";
        this.hasQuote = true;
        offset += 1;
      } else if (character === '"' && this.state === "quote-in-quoted") {
        this.field += '"';
        this.state = "quoted";
        offset += 1;
      } else if (character === "\t") {
        this.endField();
        offset += 1;
      } else if (character === "\n" || character === "\r") {
        yield* this.endRecord(this.consumed + offset);
        this.recordStart = this.consumed + offset + 1;
        this.line += 1;
        this.recordLine = this.line;
        if (character === "\r") this.state = "carriage-return";
        offset += 1;
      } else {
        this.special.lastIndex = offset;
        const end = this.special.exec(chunk)?.index ?? chunk.length;
        this.field += chunk.slice(offset, end);
        this.state = "unquoted";
        offset = end;
      }
    }
    this.consumed += chunk.length;
  }

  /** @throws InputError when the text ended inside quotes. */
  *end(file: string): Generator<TsvRecord> {
    if (this.state === "quoted") {
      throw new InputError(
        `${file}:${this.recordLine}: expected the quoted field ${this.fields.length + 1} of this row to end in a double quote, got the end of the file; the file may be incomplete.`,
      );
    }
    yield* this.endRecord(this.consumed);
  }

  private addQuoted(text: string): void {
    this.field += text;
    for (let at = text.indexOf("\n"); at >= 0; at = text.indexOf("\n", at + 1)) this.line += 1;
  }

  private endField(): void {
    this.fields.push(this.field);
    this.field = "";
    this.state = "field-start";
  }

  private *endRecord(end: number): Generator<TsvRecord> {
    const isBlank = this.fields.length === 0 && !this.hasQuote && /^ *$/.test(this.field);
    this.endField();
    const { fields, recordLine: line, recordStart: start } = this;
    this.fields = [];
    this.hasQuote = false;
    if (!isBlank) yield { line, fields, start, end };
  }
}
