// adaptvis eval merge: the parts of a run, answered on several machines, as one.
import { join, resolve } from "node:path";
import type { Command } from "commander";
import { writeFileWhole } from "../checkpoint/write-file.node.ts";
import { at, InputError } from "../errors.ts";
import { dataSetNamed } from "../evaluate/datasets/registry.ts";
import { readAllJsonLines } from "../evaluate/json-lines.ts";
import type { SplitName } from "../evaluate/rescore.ts";
import { textHash } from "../evaluate/run/fingerprint.node.ts";
import { readQuestionFile } from "../evaluate/run/question-file.node.ts";
import {
  differences,
  type Manifest,
  QUESTIONS,
  readManifest,
  readOrEmpty,
  wholeQuestions,
} from "../evaluate/run/run-folder.node.ts";
import { TIMES } from "../evaluate/run/samples.ts";
import { makeFolder } from "../gpu/hosts/user-folders.node.ts";
import { someText } from "./checks.ts";
import { summarise } from "./eval-run.ts";
import { examples } from "./package-files.ts";
import { rescoreText } from "./rescore-text.ts";
import { defineCommand, type Session, UsageError } from "./session.ts";

/** Parsed options of `eval merge`. */
interface MergeFlags {
  readonly out: string;
  readonly questions?: string;
}

/** `adaptvis eval merge`. */
export const evalMergeCommand = defineCommand("merge", describeMerge, merge);

/** Describes `eval merge` to commander. */
function describeMerge(command: Command): Command {
  return command
    .description("Put the parts of a run together, which --shard or several machines have answered.")
    .argument("<runs...>", "folders of the parts")
    .requiredOption("--out <folder>", "folder of the whole run", someText)
    .option("--questions <file>", "the question file, where it is no longer where the parts had it", someText)
    .addHelpText(
      "after",
      examples(() => ["eval merge part-0 part-1 part-2 --out run"]),
    );
}

/** Runs `eval merge`. */
async function merge(session: Session, folders: readonly string[], flags: MergeFlags): Promise<void> {
  const parts = folders.map((folder) => {
    const manifest = readManifest(folder);
    if (manifest === undefined) throw new InputError(`${folder} has no manifest.json: expected the folder of a run.`);
    return { folder, manifest };
  });
  const first = at(parts, 0);
  for (const { folder, manifest } of parts.slice(1)) {
    const found = differences(first.manifest.identity, manifest.identity);
    if (found.length === 0) continue;
    throw new InputError(`${first.folder} and ${folder} are not parts of one run: ${found.join(", ")}.`);
  }
  if (folders.some((folder) => resolve(folder) === resolve(flags.out)))
    throw new UsageError(`--out ${flags.out} is one of the parts: choose another folder.`);
  const earlier = readManifest(flags.out);
  if (earlier !== undefined && differences(earlier.identity, first.manifest.identity).length > 0) {
    throw new InputError(`${flags.out} of --out holds another run: choose another folder.`);
  }
  const questions = await questionsOf(first.manifest, flags.questions);
  const isKept = first.manifest.about.convertedFrom !== undefined;
  const lines = new Map<number, Map<string, { readonly text: string; readonly folder: string }>>();
  for (const { folder, manifest } of parts) addPart(lines, folder, manifest);
  const methods = Object.keys(first.manifest.identity.methods);
  const ordered = [...lines].sort(([a], [b]) => a - b);
  const texts = ordered.flatMap(([, ofQuestion]) => methods.map((method) => `${ofQuestion.get(method)?.text}\n`));
  await makeFolder(flags.out);
  const { about } = first.manifest;
  const kept = { ...about, questionFile: resolve(flags.out, QUESTIONS) };
  const manifest: Manifest = { ...first.manifest, shard: null, about: isKept ? kept : about };
  if (isKept) await writeFileWhole(join(flags.out, QUESTIONS), questions.questionText);
  await writeFileWhole(join(flags.out, "manifest.json"), `${JSON.stringify(manifest, undefined, 1)}\n`);
  await writeFileWhole(join(flags.out, "results.jsonl"), texts.join(""));
  const { dataset, split } = manifest.identity;
  const report = await summarise(flags.out, {
    dataSet: dataSetNamed(dataset),
    split: split as SplitName, // as `eval` wrote it
    data: questions,
  });
  const expected = Number(manifest.about.numQuestions);
  if (ordered.length < expected) {
    session.note(`adaptvis: ${ordered.length} of ${expected} questions are answered: parts are missing or unfinished.`);
  }
  session.result({ out: flags.out, numQuestions: ordered.length, numExpected: expected, ...report });
  session.print(rescoreText(report));
}

/** Adds the whole questions of a part. @throws InputError for two different answers to one question. */
function addPart(
  lines: Map<number, Map<string, { readonly text: string; readonly folder: string }>>,
  folder: string,
  manifest: Manifest,
): void {
  const file = join(folder, "results.jsonl");
  const text = readOrEmpty(file);
  const { answered } = wholeQuestions(text, file, Object.keys(manifest.identity.methods));
  const whole = text.slice(0, text.lastIndexOf("\n") + 1);
  for (const line of whole.split("\n")) {
    if (line === "") continue;
    const [read] = readAllJsonLines(line, file);
    const { doc_id: id, method } = read?.object ?? {};
    if (typeof id !== "number" || typeof method !== "string" || !answered.has(id)) continue;
    const own = lines.get(id) ?? new Map();
    lines.set(id, own);
    const earlier = own.get(method);
    if (earlier === undefined) own.set(method, { text: line, folder });
    else if (withoutTimes(earlier.text) !== withoutTimes(line)) {
      throw new InputError(
        `question ${id} has another answer under ${method} in ${folder} than in ${earlier.folder}: remove one of the two parts.`,
      );
    }
  }
}

function withoutTimes(line: string): string {
  const row: Record<string, unknown> = JSON.parse(line);
  for (const name of TIMES) delete row[name];
  return JSON.stringify(row);
}

/**
 * Reads the question file of a run.
 * @param given the file in place of the one that the manifest names
 * @throws InputError when it cannot be read, or is not the file that the run was answered with.
 */
export async function questionsOf(
  { identity, about }: Manifest,
  given: string | undefined,
): Promise<{ readonly questionFile: string; readonly questionText: string }> {
  const questionFile = given ?? String(about.questionFile);
  const { text: questionText } = await readQuestionFile(questionFile, dataSetNamed(identity.dataset)).catch((cause) => {
    throw new InputError(`${questionFile} cannot be read: give the run's question file with --questions.`, { cause });
  });
  if (textHash(questionText) === identity.questions) return { questionFile, questionText };
  throw new InputError(
    `${questionFile} is not the question file that the run was answered with: give that with --questions.`,
  );
}
