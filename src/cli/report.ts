// adaptvis report: evaluation runs as one HTML file, with their tables as CSV and Markdown.
import { existsSync } from "node:fs";
import { stat } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import type { Command } from "commander";
import { readFileText } from "../checkpoint/read-file.node.ts";
import { writeFileWhole } from "../checkpoint/write-file.node.ts";
import { at, InputError } from "../errors.ts";
import { analyzeRun, type RunAnalysis } from "../evaluate/analysis.ts";
import { dataSetNamed } from "../evaluate/datasets/registry.ts";
import { definitionsOf } from "../evaluate/report/definitions.ts";
import { makeGallery } from "../evaluate/report/gallery.node.ts";
import { findingsOf } from "../evaluate/report/prose.ts";
import { evaluationHtml } from "../evaluate/report/report-html.node.ts";
import { type ReportRun, type RunFiles, readReportRuns } from "../evaluate/report/report-run.ts";
import { csvFiles, markdownText } from "../evaluate/report/table.ts";
import { tableGroups } from "../evaluate/report/tables.ts";
import { type Manifest, readManifest } from "../evaluate/run/run-folder.node.ts";
import { makeFolder } from "../gpu/hosts/user-folders.node.ts";
import { checkOutput, repeated, someText, wholeFrom } from "./checks.ts";
import { questionsOf } from "./eval-merge.ts";
import { examples, packageVersion } from "./package-files.ts";
import { defineCommand, type Session, UsageError } from "./session.ts";

/** Parsed options of `report`. */
interface ReportFlags {
  readonly out: string;
  readonly csv?: string;
  readonly markdown?: string;
  readonly dataDir?: readonly string[];
  readonly questions?: readonly string[];
  readonly gallery: number;
}

/** `adaptvis report`. */
export const reportCommand = defineCommand("report", describeReport, report);

/** Describes `report` to commander. */
function describeReport(command: Command): Command {
  return command
    .description("Write evaluation runs as one HTML page with tables, plots and pictures; needs no model and no GPU.")
    .argument("<runs...>", 'folders that "adaptvis eval" wrote: several data sets, or several models')
    .option("--out <file>", "the page, which works without network", someText, "report.html")
    .option("--csv <folder>", "write the tables as CSV files, too", someText)
    .option("--markdown <file>", "write the tables as Markdown, too", someText)
    .option(
      "--questions <file>",
      "a run's question file, where it is no longer where the run had it; may be given several times",
      repeated,
    )
    .option(
      "--data-dir <folder>",
      "folder with the pictures, where they are no longer beside the question file; may be given several times",
      repeated,
    )
    .option(
      "--gallery <number>",
      "most questions that are shown with their pictures; the changed ones come first",
      wholeFrom(0),
      60,
    )
    .addHelpText(
      "after",
      examples(() => ["report run", "report run-a run-b --out report.html --csv tables --markdown report.md"]),
    );
}

/** Runs `report`. */
async function report(session: Session, folders: readonly string[], flags: ReportFlags): Promise<void> {
  const { out, markdown, csv } = flags;
  const twice = folders.find(
    (folder, index) => folders.findIndex((other) => resolve(other) === resolve(folder)) !== index,
  );
  if (twice !== undefined) throw new UsageError(`${twice} is given twice: give each run once.`);
  if (markdown !== undefined && resolve(markdown) === resolve(out)) {
    throw new UsageError(`--out and --markdown are both ${out}: give each a file of its own.`);
  }
  const inputs = folders.flatMap((folder) =>
    ["results.jsonl", "summary.json", "manifest.json"].map((name) => join(folder, name)),
  );
  await checkOutput("--out", out, inputs);
  await checkOutput("--markdown", markdown, inputs);
  for (const folder of flags.dataDir ?? []) {
    if (!(await stat(folder).catch(() => undefined))?.isDirectory()) {
      throw new InputError(`${folder} of --data-dir is not a folder: give the folder with the data set's pictures.`);
    }
  }

  const files: RunFiles[] = [];
  for (const folder of folders) files.push(await runFiles(folder, flags.questions ?? []));
  const runs = readReportRuns(files);
  const analyses = new Map(runs.map((run, index) => [run, analysisOf(at(files, index))]));
  const groups = tableGroups(runs, analyses);
  const gallery = await makeGallery(runs, {
    limit: flags.gallery,
    folders: (run) => pictureFolders(run, flags.dataDir ?? []),
    signal: session.signal,
  });
  const date = new Date().toISOString().slice(0, 10);
  const version = packageVersion();
  await writeFileWhole(out, await evaluationHtml({ runs, groups, gallery, analyses, version, date }));
  const written = [out];
  if (csv !== undefined) written.push(...(await writeCsv(csv, csvFiles(groups))));
  if (markdown !== undefined) {
    const definitions = definitionsOf(runs).map(({ term, texts }) => [term, texts.join(" ")] as const);
    const lead = [...runs.flatMap(findingsOf), `Written on ${date} by adaptvis ${version}.`];
    await writeFileWhole(markdown, markdownText(groups, { title: "Evaluation", lead, definitions }));
    written.push(markdown);
  }
  const { entries, numbers, missing } = gallery;
  if (missing.length > 0) {
    session.note(
      `adaptvis: ${missing.length} pictures of the gallery were not found, such as ${missing.slice(0, 3).join(", ")}: give their folder with --data-dir.`,
    );
  }
  session.result({
    files: written,
    runs: runs.map(({ label, folder, dataSet, modelName, file }) => ({
      label,
      folder,
      dataSet: dataSet.name,
      model: modelName,
      n: file.n,
    })),
    gallery: { numShown: entries.length, numbers, missing },
  });
  for (const sentence of runs.flatMap(findingsOf)) session.print(`${sentence}\n`);
  session.print(`${written.join("\n")}\n`);
}

/** The overlap of a run's attention with object boxes, under the first rule. */
function analysisOf({ manifest, dataSet, results, questions }: RunFiles): RunAnalysis {
  return analyzeRun({ dataSet, results, questions, rule: "paper", boxes: manifest.identity.boxes });
}

/**
 * Reads the files of a run.
 * @param given question files, of which the run's own is taken
 * @throws InputError when a file is missing or does not belong to the run.
 */
async function runFiles(folder: string, given: readonly string[]): Promise<RunFiles> {
  const manifest = readManifest(folder);
  if (manifest === undefined) throw new InputError(`${folder} has no manifest.json: expected the folder of a run.`);
  const { questionFile, questionText } = await questionsAmong(manifest, given);
  const results = join(folder, "results.jsonl");
  const text = await readFileText(results).catch((cause: unknown) => {
    throw new InputError(`${results} cannot be read (${cause instanceof Error ? cause.message : cause}).`);
  });
  return {
    folder,
    manifest,
    dataSet: dataSetNamed(manifest.identity.dataset),
    questions: { name: questionFile, text: questionText },
    results: { name: results, text },
  };
}

/** The question file of a run: the first given one that is it, else the one that the manifest names. @throws InputError. */
async function questionsAmong(manifest: Manifest, given: readonly string[]) {
  for (const file of given) {
    const found = await questionsOf(manifest, file).catch(() => undefined);
    if (found !== undefined) return found;
  }
  // With a single file, the message is about that.
  return questionsOf(
    manifest,
    given.length === 1 && !existsSync(String(manifest.about.questionFile)) ? given[0] : undefined,
  );
}

/** Where a run's pictures may be: the given folders, and those of its files or above them, as of `prompts/` and `data/`. */
function pictureFolders({ manifest }: ReportRun, given: readonly string[]): readonly string[] {
  const { questionFile, annotationFile } = manifest.about;
  const ofFiles = [questionFile, annotationFile].flatMap((file) =>
    typeof file === "string" ? [dirname(file), dirname(dirname(file))] : [],
  );
  return [...new Set([...given, ...ofFiles])];
}

async function writeCsv(folder: string, files: ReadonlyMap<string, string>): Promise<readonly string[]> {
  await makeFolder(folder).catch((cause: unknown) => {
    throw new InputError(`${folder} of --csv cannot be made (${cause instanceof Error ? cause.message : cause}).`);
  });
  const written: string[] = [];
  for (const [name, text] of files) {
    const path = join(folder, `${name}.csv`);
    await writeFileWhole(path, text);
    written.push(path);
  }
  return written;
}
