// A run's folder: results.jsonl, to which every answered question is appended, and manifest.json, which says what the answers
// belong to. Killed at any moment, a run goes on from its last whole question.
import { closeSync, fdatasyncSync, ftruncateSync, openSync, rmSync, writeSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { readFileTextSync } from "../../checkpoint/read-file.node.ts";
import { writeFileWhole } from "../../checkpoint/write-file.node.ts";
import { InputError, isObject } from "../../errors.ts";
import { makeFolder } from "../../gpu/hosts/user-folders.node.ts";
import type { BoxIdentity } from "../metrics/question-boxes.ts";
import type { SampleLine } from "./samples.ts";
import type { Shard } from "./shards.ts";

/** What decides on a run's answers; a run goes on only where all of it is the same. */
export interface RunIdentity {
  readonly dataset: string;
  readonly split: string;
  /** SHA-256 of the ids, where they are fewer than the split's. */
  readonly ids: string | null;
  readonly methods: Readonly<Record<string, Readonly<Record<string, unknown>>>>;
  readonly prompts: string;
  /** SHA-256 of a chat template in place of the checkpoint's, where the prompts are by template. */
  readonly chatTemplate?: string;
  /** Absent unless the run reproduces the oddities of the authors' code. */
  readonly referenceQuirks?: true;
  readonly maxNewTokens: number;
  /** The checkpoint's fingerprint. */
  readonly model: string;
  readonly dtype: string;
  readonly kvDtype: string;
  readonly activationDtype: string;
  /** Settings of pictures in place of the checkpoint's; absent where there are none. */
  readonly imageSplitting?: boolean | undefined;
  readonly maxPicturePixels?: number | undefined;
  /** SHA-256 of the question file and of the annotation file. */
  readonly questions: string;
  readonly annotations: string | null;
  /** Layer of the maps that the lines keep; runs of earlier versions have none. */
  readonly mapLayer?: number;
  /** How object boxes are used, and the SHA-256 of their source; runs without boxes have none. */
  readonly boxes?: BoxIdentity;
}

/** manifest.json. */
export interface Manifest {
  readonly format: 1;
  readonly identity: RunIdentity;
  readonly shard: Shard | null;
  /** For people: where things were, on which adapter the run began, and with which version. */
  readonly about: Readonly<Record<string, unknown>>;
}

/** The questions as JSON lines, which a run keeps where the question file has another form. */
export const QUESTIONS = "questions.jsonl";
const RESULTS = "results.jsonl";
const MANIFEST = "manifest.json";
const LOCK = "lock";

/** An open run. */
export class RunFolder {
  readonly path: string;
  private readonly file: number;
  private readonly answered: Set<number>;

  private constructor(path: string, file: number, answered: Set<number>) {
    this.path = path;
    this.file = file;
    this.answered = answered;
  }

  /**
   * Opens a folder to append to, new or of an interrupted run, and removes what was written of a question that was cut.
   * @throws InputError for a run of another model, data or settings, damaged results, or a run that goes on in another process.
   */
  static async open(path: string, manifest: Manifest): Promise<RunFolder> {
    try {
      await makeFolder(path);
    } catch (cause) {
      throw failure(`${path} of --out cannot be made`, cause);
    }
    takeLock(join(path, LOCK));
    try {
      const earlier = readManifest(path);
      if (earlier === undefined) {
        await writeFileWhole(join(path, MANIFEST), `${JSON.stringify(manifest, undefined, 1)}\n`);
      } else {
        checkSame(path, earlier, manifest);
      }
      const results = join(path, RESULTS);
      const { answered, keptBytes } = wholeQuestions(
        readOrEmpty(results),
        results,
        Object.keys(manifest.identity.methods),
      );
      const file = openSync(results, "a");
      ftruncateSync(file, keptBytes);
      return new RunFolder(path, file, answered);
    } catch (error) {
      rmSync(join(path, LOCK), { force: true });
      throw error;
    }
  }

  /** The results file. */
  get results(): string {
    return join(this.path, RESULTS);
  }

  /** Whether a question has been answered. */
  has(id: number): boolean {
    return this.answered.has(id);
  }

  /** Appends the lines of a question, all or, where the process or the disk fails, none that the next run keeps. @throws InputError. */
  append(lines: readonly SampleLine[]): void {
    const bytes = Buffer.from(lines.map((line) => `${JSON.stringify(line)}\n`).join(""));
    try {
      for (let at = 0; at < bytes.length; ) at += writeSync(this.file, bytes, at);
      fdatasyncSync(this.file);
    } catch (cause) {
      throw failure(
        `${this.results} cannot be written`,
        cause,
        "; the questions before are kept: free some space and run the same command again",
      );
    }
    for (const { doc_id: id } of lines) this.answered.add(id);
  }

  /** Closes the results and gives the folder back. */
  close(): void {
    closeSync(this.file);
    rmSync(join(this.path, LOCK), { force: true });
  }
}

/** The manifest in a folder; undefined without. @throws InputError for something else in its place. */
export function readManifest(folder: string): Manifest | undefined {
  const path = join(folder, MANIFEST);
  const text = readOrEmpty(path);
  if (text === "") return undefined;
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    value = undefined;
  }
  if (isObject(value) && value.format === 1 && isObject(value.identity) && isObject(value.identity.methods)) {
    return value as unknown as Manifest; // as RunFolder.open wrote it
  }
  throw new InputError(
    `${path} is not the manifest of a run: give a folder that "adaptvis eval --out" wrote, or a new one.`,
  );
}

/** Members in which two identities differ, with both values. */
export function differences(a: RunIdentity, b: RunIdentity): readonly string[] {
  const keys = new Set([...Object.keys(a), ...Object.keys(b)]);
  return [...keys].flatMap((key) => {
    const [before, now] = [a, b].map((identity) => JSON.stringify(Reflect.get(identity, key)));
    return before === now ? [] : [`${key} ${shortened(before)} instead of ${shortened(now)}`];
  });
}

function checkSame(path: string, earlier: Manifest, manifest: Manifest): void {
  const found = [...differences(earlier.identity, manifest.identity)];
  if (JSON.stringify(earlier.shard) !== JSON.stringify(manifest.shard)) {
    found.push(`shard ${JSON.stringify(earlier.shard)} instead of ${JSON.stringify(manifest.shard)}`);
  }
  if (found.length === 0) return;
  throw new InputError(
    `${path} holds a run with ${found.join(", ")}: give it another --out, or the options that it was begun with.`,
  );
}

/**
 * The questions whose lines are all there, and the bytes up to their end.
 * @param methods every question has a line of each
 * @throws InputError for a damaged line that is not at the end.
 */
export function wholeQuestions(
  text: string,
  file: string,
  methods: readonly string[],
): { readonly answered: Set<number>; readonly keptBytes: number } {
  const answered = new Set<number>();
  let keptBytes = 0;
  let bytes = 0;
  let open: { readonly id: number; readonly methods: Set<string> } | undefined;
  const lines = text.split("\n");
  for (const [index, line] of lines.slice(0, -1).entries()) {
    bytes += Buffer.byteLength(line) + 1;
    const { doc_id: id, method } = parsed(line);
    if (typeof id !== "number" || typeof method !== "string" || !methods.includes(method)) {
      if (index === lines.length - 2) break; // cut while it was written
      throw new InputError(
        `${file}, line ${index + 1}: expected an answer with "doc_id" and a "method" of ${methods.join(", ")}, got ${shortened(line)}: ` +
          "remove the line and all lines of its question, and run again.",
      );
    }
    if (open === undefined) open = { id, methods: new Set() };
    if (open.id !== id || open.methods.has(method) || answered.has(id)) {
      throw new InputError(
        `${file}, line ${index + 1}: question ${id} follows an unfinished question ${open.id} or occurs twice: remove one of them, and run again.`,
      );
    }
    open.methods.add(method);
    if (open.methods.size < methods.length) continue;
    answered.add(id);
    keptBytes = bytes;
    open = undefined;
  }
  return { answered, keptBytes };
}

function parsed(line: string): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(line);
    return isObject(value) ? value : {};
  } catch {
    return {};
  }
}

/** Takes the lock, also over from a process of this machine that is gone. @throws InputError while another process has it. */
function takeLock(path: string): void {
  const own = JSON.stringify({ pid: process.pid, host: hostname() });
  for (let attempt = 0; attempt < 2; attempt++) {
    try {
      const file = openSync(path, "wx");
      writeSync(file, own);
      closeSync(file);
      return;
    } catch (cause) {
      if (codeOf(cause) !== "EEXIST") throw failure(`${path} cannot be written`, cause);
    }
    const text = textOfLock(path);
    const { pid, host } = parsed(text);
    const isOurs = host === hostname() && typeof pid === "number";
    if (text !== "" && (!isOurs || isAlive(pid))) {
      const who = host === undefined ? "another process" : `process ${pid} on ${host}`;
      throw new InputError(
        `${path}: ${who} is writing to this run; wait for it, or remove the file where it no longer runs.`,
      );
    }
    rmSync(path, { force: true });
  }
  throw new InputError(`${path}: another process took this run at the same moment; run again.`);
}

/** How long a lock may be empty: between a process that takes it and its first write there are microseconds. */
const EMPTY_LOCK_MS = 1000;

/** What a lock says; empty for one that stays so, because its process was killed as it took it. */
function textOfLock(path: string): string {
  for (let waitedMs = 0; waitedMs < EMPTY_LOCK_MS; waitedMs += 50) {
    const text = readOrEmpty(path);
    if (text !== "") return text;
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 50);
  }
  return "";
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return codeOf(error) === "EPERM";
  }
}

/** The text of a file, empty where there is no such file. @throws InputError when it cannot be read. */
export function readOrEmpty(path: string): string {
  try {
    return readFileTextSync(path);
  } catch (cause) {
    if (codeOf(cause) === "ENOENT") return "";
    throw failure(`${path} cannot be read`, cause);
  }
}

function failure(what: string, cause: unknown, advice = ""): InputError {
  const reasons: Readonly<Record<string, string>> = {
    ENOSPC: "the disk is full",
    EACCES: "permission is denied",
    EROFS: "the file system is read-only",
    ENOTDIR: "a part of the path is a file",
    EEXIST: "it is a file",
  };
  const reason = reasons[codeOf(cause)] ?? (cause instanceof Error ? cause.message : String(cause));
  return new InputError(`${what}: ${reason}${advice}.`, { cause });
}

function codeOf(error: unknown): string {
  return String(error instanceof Error && "code" in error ? error.code : "");
}

function shortened(text: string | undefined): string {
  return text === undefined || text.length <= 80 ? String(text) : `${text.slice(0, 80)}…`;
}
