// Reads a TSV of VLMEvalKit: its questions as JSON lines, and its pictures when they are needed, so that a file of gigabytes
// with the pictures in it is never in memory.
//
// The file is decoded as Latin-1, one character per byte, so that a row's place in the text is its place in the file; each field
// is then decoded as UTF-8. Tabs, quotes and line ends are the same bytes in both.
import { createHash } from "node:crypto";
import { openRegularFile } from "../../checkpoint/read-file.node.ts";
import { at, InputError } from "../../errors.ts";
import type { FieldDecoder } from "../datasets/tsv.ts";
import type { VlmEvalKitLine } from "../datasets/vlmevalkit.ts";
import { readVlmEvalKitRows, type VlmEvalKitRow } from "../datasets/vlmevalkit-tsv.ts";

/** A TSV as it was read. */
export interface TsvFile {
  /** One {@link VlmEvalKitLine} per row. */
  readonly text: string;
  /** By row: reads the pictures that the row shows; undefined where they are not in the file. */
  readonly pictures: readonly ((() => Promise<readonly Uint8Array[]>) | undefined)[];
  /** SHA-256 of the file, in hexadecimal. */
  readonly hash: string;
}

/** What is kept of a row. */
interface KeptRow {
  readonly line: number;
  readonly index: string;
  readonly pictureIndex: string | undefined;
  readonly paths: readonly string[];
  readonly holdsPicture: boolean;
  readonly fields: Readonly<Record<string, string>>;
  /** Bytes [start, end) of the file. */
  readonly start: number;
  readonly end: number;
}

/**
 * Reads a TSV.
 * @throws InputError naming file and line for a malformed table, base64 that is damaged, a reference to a row without a picture,
 *   or a row with several pictures that are not in the file.
 */
export async function readTsvFile(path: string): Promise<TsvFile> {
  const hash = createHash("sha256");
  const mark = await markLength(path);
  const rows: KeptRow[] = [];
  for await (const row of readVlmEvalKitRows(bytesOf(path, { mark, hash }), { file: path, decode: utf8 })) {
    rows.push(kept(row, { file: path, mark }));
  }
  const holders = new Map(rows.map((row, id) => [row.index, id]));
  const shown = rows.map((row, id) => (row.holdsPicture ? id : holderOf(row, { file: path, holders, rows })));
  const lines = rows.map(({ line, fields, paths }, id): VlmEvalKitLine => {
    const holder = shown[id];
    const named =
      paths[0] ?? (holder === undefined ? undefined : (at(rows, holder).paths[0] ?? at(rows, holder).index));
    return { id, line, picture: named ?? null, picture_row: holder ?? null, fields };
  });
  const header = { start: mark, end: rows[0]?.start ?? mark };
  return {
    text: lines.map((line) => `${JSON.stringify(line)}\n`).join(""),
    pictures: shown.map((holder) =>
      holder === undefined ? undefined : () => readPicturesOf(path, [header, at(rows, holder)]),
    ),
    hash: hash.digest("hex"),
  };
}

function kept(row: VlmEvalKitRow, { file, mark }: { readonly file: string; readonly mark: number }): KeptRow {
  const { line, index, pictures, pictureIndex, imagePaths, start, end } = row;
  const where = `${file}:${line}`;
  const embedded = pictures.flatMap((picture) => (picture.kind === "base64" ? [picture.data] : []));
  if (embedded.length === 0 && imagePaths.length > 1) {
    throw new InputError(
      `${where}: expected one picture per question, got ${imagePaths.length} paths; several pictures have to be in the column image, as a list of base64: put them there, or remove the row.`,
    );
  }
  for (const data of embedded) checkBase64(data, where);
  const fields = Object.fromEntries([...row.fields].filter(([column]) => column !== "image"));
  const holdsPicture = embedded.length > 0;
  return { line, index, pictureIndex, paths: imagePaths, holdsPicture, fields, start: mark + start, end: mark + end };
}

/** The row whose picture a row shows; undefined for a row without a reference. @throws InputError for one that leads nowhere. */
function holderOf(
  { pictureIndex, line }: KeptRow,
  of: { readonly file: string; readonly holders: ReadonlyMap<string, number>; readonly rows: readonly KeptRow[] },
): number | undefined {
  if (pictureIndex === undefined) return undefined;
  const holder = of.holders.get(pictureIndex);
  if (holder !== undefined && at(of.rows, holder).holdsPicture) return holder;
  const what = holder === undefined ? "which no row has" : "which has no picture of its own";
  throw new InputError(
    `${of.file}:${line}: expected image to be base64 or the index of a row with a picture, got ${JSON.stringify(pictureIndex)}, ${what}.`,
  );
}

function checkBase64(data: string, where: string): void {
  const text = data.replace(/\s+/g, "");
  const stranger = /[^A-Za-z0-9+/=]/.exec(text)?.[0];
  if (stranger === undefined && text.length % 4 === 0 && /^[^=]*={0,2}$/.test(text)) return;
  const got = stranger === undefined ? `${text.length} characters, cut or wrongly padded` : JSON.stringify(stranger);
  throw new InputError(`${where}: expected image to be base64 without a prefix, got ${got}; the file may be damaged.`);
}

async function readPicturesOf(
  path: string,
  parts: readonly { readonly start: number; readonly end: number }[],
): Promise<readonly Uint8Array[]> {
  const file = await openRegularFile(path);
  try {
    const texts: string[] = [];
    for (const { start, end } of parts) {
      const { buffer, bytesRead } = await file.read(Buffer.alloc(end - start), 0, end - start, start);
      texts.push(buffer.subarray(0, bytesRead).toString("latin1"));
    }
    for await (const { pictures } of readVlmEvalKitRows(texts, { file: path, decode: utf8 })) {
      const embedded = pictures.flatMap((each) => (each.kind === "base64" ? [Buffer.from(each.data, "base64")] : []));
      if (embedded.length > 0) return embedded;
    }
    throw new InputError(`${path} has changed since its questions were read: run the command again.`);
  } finally {
    await file.close();
  }
}

async function* bytesOf(
  path: string,
  { mark, hash }: { readonly mark: number; readonly hash: ReturnType<typeof createHash> },
): AsyncGenerator<string> {
  let left = mark;
  const file = await openRegularFile(path);
  for await (const chunk of file.createReadStream({ highWaterMark: 2 ** 20 })) {
    hash.update(chunk);
    yield chunk.subarray(left).toString("latin1");
    left = 0;
  }
}

/** Bytes of the byte order mark. */
async function markLength(path: string): Promise<number> {
  const file = await openRegularFile(path);
  try {
    const { buffer } = await file.read(Buffer.alloc(3), 0, 3, 0);
    return buffer.toString("hex") === "efbbbf" ? 3 : 0;
  } finally {
    await file.close();
  }
}

const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

const utf8: FieldDecoder = (text, where) => {
  if (!/[\x80-\xff]/.test(text)) return text;
  try {
    return decoder.decode(Buffer.from(text, "latin1"));
  } catch (cause) {
    throw new InputError(`${where}: expected UTF-8, got other bytes; save the file as UTF-8.`, { cause });
  }
};
