// adaptvis eval analyze: the paper's analysis of a run's attention.
import { join } from "node:path";
import { type Command, Option } from "commander";
import { readFileText } from "../checkpoint/read-file.node.ts";
import { writeFileWhole } from "../checkpoint/write-file.node.ts";
import { InputError } from "../errors.ts";
import {
  analyzeRun,
  type FamiliarityAnalysis,
  type LayerAnalysis,
  type MethodAnalysis,
  type OverlapMeasure,
  type RunAnalysis,
} from "../evaluate/analysis.ts";
import { dataSetNamed } from "../evaluate/datasets/registry.ts";
import { type CorpusCounts, parseCorpusCounts } from "../evaluate/metrics/familiarity.ts";
import type { BoxIdentity } from "../evaluate/metrics/question-boxes.ts";
import { readManifest } from "../evaluate/run/run-folder.node.ts";
import { RULES, type RuleName } from "../evaluate/verdicts.ts";
import { checkOutput, numberFrom, someText } from "./checks.ts";
import { questionsOf } from "./eval-merge.ts";
import { examples } from "./package-files.ts";
import { defineCommand, type Session, styled, table, UsageError } from "./session.ts";

/** Parsed options of `eval analyze`. */
interface AnalyzeFlags {
  readonly rule: RuleName;
  readonly corpusCounts?: string;
  readonly minCount?: number;
  readonly questions?: string;
}

/** Heads that are printed per method and definition; --json and the file have all. */
const MAX_PRINTED_HEADS = 5;

/** `adaptvis eval analyze`. */
export const evalAnalyzeCommand = defineCommand("analyze", describeAnalyze, analyze);

/** Describes `eval analyze` to commander. */
function describeAnalyze(command: Command): Command {
  const rules = RULES.map(({ name }) => name);
  return command
    .description(
      "Analyse the attention of runs: the picture's share per layer, the overlap with object boxes per layer and head, and how well it " +
        "tells right answers from wrong ones; needs no model and no GPU. Boxes are given to adaptvis eval run, since a run keeps the " +
        "overlaps, not the maps of all heads.",
    )
    .argument("<runs...>", 'folders that "adaptvis eval" wrote; each gets an analysis.json')
    .addOption(new Option("--rule <name>", "rule that decides what is right").choices(rules).default("paper"))
    .option(
      "--corpus-counts <file>",
      'how often each relation occurs in a training corpus, as JSON such as {"left": 120431}; decides which relations are familiar (default: those with left or right)',
      someText,
    )
    .option(
      "--min-count <number>",
      "least count of a familiar relation (default: that of the more frequent half)",
      numberFrom({ least: 0 }),
    )
    .option("--questions <file>", "the question file, where it is no longer where the runs had it", someText)
    .addHelpText(
      "after",
      examples(() => ["eval analyze run", "eval analyze run-a run-b --rule exactlyOne --json"]),
    );
}

/** Runs `eval analyze`. */
async function analyze(session: Session, folders: readonly string[], flags: AnalyzeFlags): Promise<void> {
  const corpus = await corpusOf(flags);
  const runs: RunAnalysis[] = [];
  for (const folder of folders) {
    const file = join(folder, "analysis.json");
    const analysis = await analysisOf(folder, flags, corpus);
    await checkOutput("The analysis", file, []);
    await writeFileWhole(file, `${JSON.stringify(analysis, undefined, 1)}\n`);
    runs.push(analysis);
  }
  session.result({ runs });
  session.print(runs.map(analysisText).join("\n"));
}

/** Counts of a corpus. @throws InputError for a file that cannot be read; UsageError for --min-count without one. */
async function corpusOf({ corpusCounts: file, minCount }: AnalyzeFlags): Promise<CorpusCounts | undefined> {
  if (file === undefined) {
    if (minCount === undefined) return undefined;
    throw new UsageError("--min-count needs the counts: give --corpus-counts.");
  }
  const text = await textOf(file, "--corpus-counts");
  return parseCorpusCounts(text, { file, ...(minCount === undefined ? {} : { minCount }) });
}

async function analysisOf(
  folder: string,
  { rule, questions }: AnalyzeFlags,
  corpus: CorpusCounts | undefined,
): Promise<RunAnalysis> {
  const manifest = readManifest(folder);
  if (manifest === undefined) throw new InputError(`${folder} has no manifest.json: expected the folder of a run.`);
  const { dataset, boxes } = manifest.identity;
  const { questionFile, questionText } = await questionsOf(manifest, questions);
  const name = join(folder, "results.jsonl");
  return analyzeRun({
    dataSet: dataSetNamed(dataset),
    results: { name, text: await textOf(name, "the run") },
    questions: { name: questionFile, text: questionText },
    rule,
    boxes,
    corpus,
  });
}

async function textOf(path: string, of: string): Promise<string> {
  return readFileText(path).catch((cause: unknown) => {
    throw new InputError(`${path} of ${of} cannot be read (${cause instanceof Error ? cause.message : cause}).`);
  });
}

/** The analysis of a run as tables. */
function analysisText({ file, dataSet, rule, boxes, methods, definitions }: RunAnalysis): string {
  const title = RULES.find(({ name }) => name === rule)?.title ?? rule;
  const lines = [
    styled("bold", `${dataSet}, ${title}: ${file}`),
    boxes === null
      ? "no boxes: the run was made without them"
      : `boxes (${boxSettingsText(boxes.settings)}): ${boxes.numWithBoxes} of ${boxes.numQuestions} questions; without: ${boxes.numWithoutBoxes}`,
    ...methods.flatMap(methodLines),
    "",
    ...Object.entries(definitions).map(([name, definition]) => `${name}: ${definition}`),
  ];
  return `${lines.join("\n")}\n`;
}

function boxSettingsText({ scale, maxBoxes, objects }: BoxIdentity): string {
  const which = objects === "named" ? "of the named objects" : "of all objects";
  return `${which}, scale ${scale}, ${maxBoxes === null ? "any number" : `at most ${maxBoxes}`} per question`;
}

function methodLines(analysis: MethodAnalysis): readonly string[] {
  const { method, numRight, numWrong, numUnjudged, numWithoutAttention, coverage, layers, familiarity } = analysis;
  const left = [
    ...(numUnjudged === 0 ? [] : [`${numUnjudged} not judged`]),
    ...(numWithoutAttention === 0 ? [] : [`${numWithoutAttention} without attention on the picture`]),
  ].map((text) => `, ${text}`);
  return [
    "",
    styled("bold", `${method}: ${numRight} right, ${numWrong} wrong${left.join("")}`),
    ...(layers.length === 0 ? [] : layerLines(layers)),
    ...coverageLines(coverage),
    ...bestHeads(layers, "mass"),
    ...bestHeads(layers, "cosine"),
    ...familiarityLines(familiarity),
  ];
}

function layerLines(layers: readonly LayerAnalysis[]): readonly string[] {
  const hasOverlap = layers.some(({ overlap }) => overlap !== null);
  const columns = (measure: OverlapMeasure | undefined) =>
    hasOverlap ? [shown(measure?.mean), shown(measure?.right), shown(measure?.wrong), shown(measure?.auroc)] : [];
  const names = ["share", "right", "wrong", "entropy", "right", "wrong"];
  const overlapNames = ["mass", "right", "wrong", "AUROC", "cosine", "right", "wrong", "AUROC"];
  return table(
    ["layer", ...names, ...(hasOverlap ? overlapNames : [])],
    layers.map(({ layer, imageShare, imageEntropy, overlap }) => [
      String(layer),
      ...[imageShare.mean, imageShare.right, imageShare.wrong].map(shown),
      ...[imageEntropy.mean, imageEntropy.right, imageEntropy.wrong].map(shown),
      ...columns(overlap?.mass),
      ...columns(overlap?.cosine),
    ]),
  );
}

function coverageLines(coverage: OverlapMeasure | null): readonly string[] {
  if (coverage === null) return [];
  const { mean, right, wrong, auroc } = coverage;
  return [
    `coverage: ${shown(mean)}, right ${shown(right)}, wrong ${shown(wrong)}, AUROC ${shown(auroc)} (the size of the objects alone)`,
  ];
}

/** The heads with the largest AUROC. */
function bestHeads(layers: readonly LayerAnalysis[], kind: "mass" | "cosine"): readonly string[] {
  const all = layers.flatMap(({ layer, overlap }) =>
    (overlap?.heads[kind] ?? []).flatMap((value, head) => (value === null ? [] : [{ layer, head, value }])),
  );
  if (all.length === 0) return [];
  const best = [...all].sort((a, b) => b.value - a.value).slice(0, MAX_PRINTED_HEADS);
  const named = best.map(({ layer, head, value }) => `layer ${layer} head ${head} ${shown(value)}`);
  return [`best heads by AUROC of ${kind}: ${named.join(", ")}`];
}

function familiarityLines(classes: readonly FamiliarityAnalysis[]): readonly string[] {
  if (classes.length === 0) return [];
  const rows = classes.map(({ familiarity, relations, count, numRight, meanConfidence }) => [
    familiarity,
    relations.join(", ") || "none",
    `${numRight} of ${count}`,
    shown(meanConfidence),
  ]);
  const layers = classes[0]?.layers ?? [];
  const hasOverlap = classes.some((each) => each.layers.some(({ overlap }) => overlap !== null));
  const columns = classes.flatMap(({ familiarity }) => [
    `share, ${familiarity}`,
    ...(hasOverlap ? ["mass", "AUROC", "cosine", "AUROC"] : []),
  ]);
  return [
    "",
    ...table(["relations", "", "right", "confidence"], rows),
    ...(layers.length === 0
      ? []
      : [
          "",
          ...table(
            ["layer", ...columns],
            layers.map(({ layer }, index) => [
              String(layer),
              ...classes.flatMap((each) => {
                const { imageShare, overlap } = each.layers[index] ?? {};
                const { mass, cosine } = overlap ?? {};
                const overlaps = [mass?.mean, mass?.auroc, cosine?.mean, cosine?.auroc];
                return [imageShare?.mean, ...(hasOverlap ? overlaps : [])].map(shown);
              }),
            ]),
          ),
        ]),
  ];
}

function shown(value: number | null | undefined): string {
  return value === null || value === undefined ? "–" : value.toFixed(3);
}
