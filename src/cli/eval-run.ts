// adaptvis eval: puts a data set's questions to a model under several methods, and keeps every answer.
import { basename, dirname, join } from "node:path";
import { type Command, Option } from "commander";
import { readFileText } from "../checkpoint/read-file.node.ts";
import { writeFileWhole } from "../checkpoint/write-file.node.ts";
import { at, InputError, isObject, throwIfAborted } from "../errors.ts";
import type { DataSet } from "../evaluate/datasets/dataset.ts";
import { readQuestions } from "../evaluate/datasets/question-files.ts";
import { DATA_SETS, dataSetNamed } from "../evaluate/datasets/registry.ts";
import { idsOfSplit, type RescoreReport, rescore, SPLITS, type SplitName } from "../evaluate/rescore.ts";
import { writeAnswerFiles } from "../evaluate/run/answer-files.node.ts";
import { type DataFolder, isMissing, readDataFolder } from "../evaluate/run/data-folder.node.ts";
import { checkpointFingerprint, textHash } from "../evaluate/run/fingerprint.node.ts";
import type { FailedQuestion } from "../evaluate/run/queue.node.ts";
import { type Manifest, QUESTIONS, RunFolder, readManifest } from "../evaluate/run/run-folder.node.ts";
import { answerTask, PROMPT_FORMS, type PromptForm, type RunSettings } from "../evaluate/run/samples.ts";
import { clusterShard, parseShard, type Shard, shardOf } from "../evaluate/run/shards.ts";
import { DEFAULT_ADAPTVIS } from "../interventions/adaptvis.ts";
import { INTERVENTIONS } from "../interventions/registry.ts";
import type { Llava } from "../llava.ts";
import { armTexts, parseArms } from "./arms.ts";
import { addBoxOptions, type BoxFlags, boxesOfFlags, type FoundBoxes } from "./box-flags.ts";
import { asUsage, factorList, indexList, repeated, someText, wholeFrom } from "./checks.ts";
import { answerByQueue, redisUrl } from "./eval-queue.ts";
import {
  aboutRun,
  factsOf,
  identityOf,
  type ModelFacts,
  noteAnswered,
  questionBar,
  type RunRequest,
  readModelFacts,
  readTask,
  settingsOfRun,
} from "./eval-setup.ts";
import { type FoundModel, findModel } from "./find-model.ts";
import { addModelOptions, MODEL_HELP, type ModelFlags } from "./flags.ts";
import { openModel } from "./open-model.ts";
import { examples } from "./package-files.ts";
import { rescoreText } from "./rescore-text.ts";
import { defineCommand, type Session, UsageError } from "./session.ts";

/** Parsed options of `eval`. */
interface EvalFlags extends ModelFlags, BoxFlags {
  readonly dataset?: string;
  readonly dataDir?: string;
  readonly questions?: string;
  readonly annotations?: string;
  readonly method?: readonly string[];
  readonly factors?: readonly number[];
  readonly out?: string;
  readonly split?: SplitName;
  readonly prompts?: PromptForm;
  readonly maxNewTokens?: number;
  readonly batch: number;
  readonly limit?: number;
  readonly only?: readonly number[];
  readonly onlyFile?: string;
  readonly shard?: string;
  readonly skipMissing?: boolean;
  readonly referenceQuirks?: boolean;
  readonly queue?: string;
}

/** `adaptvis eval`, also spelled `adaptvis eval run`. */
export const evalRunCommand = defineCommand("run", describeEval, runEval);

/** Describes `eval` to commander. */
function describeEval(command: Command): Command {
  const names = DATA_SETS.map(({ name }) => name).join(", ");
  const methods = INTERVENTIONS.map(({ name }) => name).join(", ");
  command
    .description("Put a data set's questions to a model under several methods, and judge the answers.")
    .option("--dataset <name>", `data set: ${names}`, someText)
    .option(
      "--data-dir <folder>",
      "folder with the data set's files and pictures (default: the folder of --questions)",
      someText,
    )
    .option("--questions <file>", "question file, where it is not in the folder under its usual name", someText)
    .option("--annotations <file>", "annotation file, likewise", someText)
    .option(
      "--method <method>",
      `method, with settings after colons (adaptvis:alpha1=0.5:beta=0.4); may be given several times: ${methods}, or a module with an intervention of your own (./mine.ts:power=2) (default: greedy, scaling and adaptvis)`,
      repeated,
    )
    .option(
      "--factors <list>",
      "ScalingVis with each of these factors, such as 0.5,0.8,1.2,1.5,2; with --method greedy, a sweep for eval tune",
      factorList,
    )
    .option("--out <folder>", "folder of the run; one that was interrupted goes on", someText);
  addModelOptions(command, MODEL_HELP)
    .addOption(
      new Option(
        "--split <name>",
        "rows to ask: the paper's halves, or all (default: test for the paper's data sets, else all)",
      ).choices(SPLITS),
    )
    .addOption(
      new Option(
        "--prompts <form>",
        "prompts as the data set's authors fed them, or by the checkpoint's chat template (default: authors for the paper's data sets; the others have template only)",
      ).choices(PROMPT_FORMS),
    )
    .option(
      "--max-new-tokens <number>",
      "maximum length of an answer (default: the data set's; 100, llava 128, captions 512)",
      wholeFrom(1),
    )
    .addOption(
      new Option(
        "--batch <number>",
        "most methods that answer in one batch, 1 to 32; fewer take less memory for keys and values",
      )
        .argParser(wholeFrom(1, 32))
        .default(8),
    )
    .option("--limit <number>", "only the first questions", wholeFrom(1))
    .option("--only <list>", "only the questions with these ids, such as 3,17,20-29", indexList)
    .option(
      "--only-file <file>",
      "only the questions whose ids this file lists: a JSON list, or one id per line",
      someText,
    )
    .option(
      "--shard <i/n>",
      "only part i of n, from 0, for several machines; in a Slurm array or a Kubernetes indexed job, the task's part is taken by itself",
      someText,
    )
    .option(
      "--reference-quirks",
      "reproduce oddities of the AdaptVis authors' code: rms_norm_eps 1e-6 under every method but greedy, and greedy with it as a further arm; factors in layers 0 to 31 only; on VSR, the largest logit against beta, and pictures resized to 2300×4096 first",
    )
    .option("--skip-missing", "leave out questions whose picture is missing, instead of stopping")
    .option(
      "--queue <url>",
      'Redis or Valkey, such as redis://host:6379: put the questions there, and wait for "adaptvis worker" on any number of machines to answer them',
      redisUrl,
    );
  return addBoxOptions(command).addHelpText(
    "after",
    examples(({ model }) => [
      `eval --dataset Controlled_A --data-dir ${model}/benchmark/test --split all --prompts template --out run`,
      `eval --dataset Controlled_A --data-dir ${model}/benchmark/test --split all --prompts template --method greedy --method scaling:factor=0.5 --limit 8 --out run-of-8`,
      "eval --dataset POPE --questions POPE.tsv --method greedy --method adaptvis --out run-pope",
      "eval --dataset llava --questions coco_pope_random.json --data-dir val2014 --method greedy --out run-pope-random",
      "eval --dataset captions --data-dir val2014 --limit 500 --method greedy --method pai --out run-captions",
    ]),
  );
}

/** Runs `eval`. */
async function runEval(session: Session, flags: EvalFlags): Promise<void> {
  const { dataset, questions, out, queue } = flags;
  const dataDir = flags.dataDir ?? (questions === undefined ? undefined : dirname(questions));
  if (dataset === undefined)
    throw new UsageError("--dataset is missing: adaptvis eval run --help lists the data sets.");
  if (dataDir === undefined) throw new UsageError("--data-dir is missing: give the folder with the data set's files.");
  if (out === undefined) throw new UsageError("--out is missing: give a folder for the run.");
  const dataSet = await asUsage(() => dataSetNamed(dataset));
  const split = flags.split ?? dataSet.defaultSplit ?? "test";
  const promptForm = promptFormOf(flags, dataSet);
  const methods = armTexts(flags);
  await parseArms(methods); // before anything is read
  const shard = await shardOfFlags(flags, session);
  const data = await readDataFolder(dataSet, { folder: dataDir, questions, annotations: flags.annotations });
  const wanted = await wantedIds(flags, dataSet, { data, split });
  const ids = shard === undefined ? wanted : shardOf(wanted, shard);
  const skipped = missingPictures(ids, data, flags.skipMissing === true);
  for (const { name } of skipped) session.note(`adaptvis: ${name} is missing: its question is left out.`);
  const asked = ids.filter((id) => !isSkipped(id, data));
  // For the questions of the whole run, so that all of its parts use the same boxes.
  const boxes = await boxesOfFlags(session, flags, {
    folder: dataDir,
    pictures: wanted.map((id) => at(data.pictures, id).name),
  });
  if (boxes !== undefined && flags.referenceQuirks === true && dataSet.referenceQuirks?.pictureSize !== undefined) {
    throw new UsageError(
      `--reference-quirks resizes the pictures of ${dataSet.name}, so that boxes no longer fit them: give --no-boxes.`,
    );
  }

  const request: RunRequest = {
    dataSet,
    methods,
    promptForm,
    maxNewTokens: flags.maxNewTokens ?? dataSet.maxNewTokens,
    maxRows: flags.batch,
    hasQuirks: flags.referenceQuirks === true,
    mapLayer: flags.mapLayer,
    boxes,
  };
  const manifestFor = (found: FoundModel, facts: ModelFacts, settings: RunSettings, about: object) =>
    manifestOf(session, { found, out, split, data, boxes, facts, settings, shard, wanted, about });
  let failed: readonly FailedQuestion[] = [];
  if (queue !== undefined) {
    const found = await findModel(session, flags);
    const facts = await readModelFacts(found.folder, flags, session.signal);
    const settings = await settingsOfRun(request, facts, session.signal);
    const manifest = await manifestFor(found, facts, settings, { model: found.name });
    failed = await answerByQueue(session, { url: queue, out, manifest, request, ids: asked, data, dataDir, flags });
  } else {
    const open = await openModel(session, flags);
    try {
      const { model } = open;
      const facts = factsOf(open);
      const settings = await settingsOfRun(request, facts, session.signal);
      const run = await RunFolder.open(out, await manifestFor(open, facts, settings, open.facts()));
      try {
        if (data.isConverted) await writeFileWhole(join(out, QUESTIONS), data.questionText);
        await answerAll(session, { run, model, data, boxes, settings, ids: asked });
      } finally {
        run.close();
      }
    } finally {
      open.close();
    }
  }
  if (asked.length === failed.length) {
    if (failed.length === 0) {
      session.note("adaptvis: no question is in this part, or has its picture: there is no summary.");
    }
    session.result({ out, numSkipped: skipped.length });
  } else {
    const report = await summarise(out, { dataSet, split, data });
    session.result({ out, numSkipped: skipped.length, ...report });
    session.print(rescoreText(report));
  }
  if (failed.length > 0) throw failure(failed, asked.length);
}

/** What an evaluation ends with when workers could not answer some questions. */
function failure(failed: readonly FailedQuestion[], numAsked: number): InputError {
  const named = failed.slice(0, 5).map(({ id, reason }) => `${id} (${reason.replace(/\.$/, "")})`);
  return new InputError(
    `${failed.length} of ${numAsked} questions could not be answered: ${named.join(", ")}${failed.length > named.length ? ", …" : ""}; ` +
      "the others are kept, and the same command asks these again.",
  );
}

/** The form of the prompts. @throws UsageError for a form that the data set does not have. */
function promptFormOf({ prompts }: EvalFlags, { name, promptForm }: DataSet): PromptForm {
  if (promptForm === undefined || prompts === undefined || prompts === promptForm)
    return prompts ?? promptForm ?? "authors";
  throw new UsageError(
    `--prompts ${prompts}: ${name} has no prompts of its authors, only the checkpoint's chat template: omit --prompts.`,
  );
}

/** Judges the results of a run, and writes summary.json and the files that the data set's own scorer reads. */
export async function summarise(
  folder: string,
  {
    dataSet,
    split,
    data,
  }: {
    readonly dataSet: DataSet;
    readonly split: SplitName;
    readonly data: Pick<DataFolder, "questionFile" | "questionText">;
  },
): Promise<RescoreReport> {
  const results = join(folder, "results.jsonl");
  const report = rescore({
    dataSet,
    split,
    questions: { name: data.questionFile, text: data.questionText },
    answers: [
      {
        name: results,
        text: await readFileText(results),
        named: null,
        gate: dataSet.published?.adaptvis ?? DEFAULT_ADAPTVIS,
      },
    ],
  });
  await writeFileWhole(join(folder, "summary.json"), `${JSON.stringify(report, undefined, 1)}\n`);
  const questions = readQuestions(data.questionText, data.questionFile, dataSet);
  const modelName = String(readManifest(folder)?.about.modelName);
  await writeAnswerFiles(folder, { dataSet, questions, modelName });
  return report;
}

/** The part of the questions of `--shard`, or of a task of a cluster. @throws UsageError for a part that cannot be. */
async function shardOfFlags({ shard, queue }: EvalFlags, session: Session): Promise<Shard | undefined> {
  if (shard !== undefined) return await asUsage(() => parseShard(shard));
  if (queue !== undefined) return undefined; // it divides the questions, whatever array this process is a task of
  const found = await asUsage(() => clusterShard(process.env));
  if (found === undefined) return undefined;
  session.note(`adaptvis: part ${found.index} of ${found.count}, as this task of a ${found.of}.`);
  return { index: found.index, count: found.count };
}

/** Ids of the questions that are asked, ascending. @throws UsageError for ids that the split does not have. */
async function wantedIds(
  flags: EvalFlags,
  dataSet: DataSet,
  { data, split }: { readonly data: DataFolder; readonly split: SplitName },
): Promise<readonly number[]> {
  const all = idsOfSplit(split, data.questions.length);
  const filters = [flags.only, flags.onlyFile === undefined ? undefined : await idsOfFile(flags.onlyFile)];
  let ids = all;
  for (const filter of filters) {
    if (filter === undefined) continue;
    const stranger = filter.find((id) => !all.includes(id));
    if (stranger !== undefined) {
      throw new UsageError(
        `question ${stranger} is not in the ${split} part of ${dataSet.name}, which has ${all.length} questions: correct --only or --split.`,
      );
    }
    ids = ids.filter((id) => filter.includes(id));
  }
  ids = ids.slice(0, flags.limit);
  if (ids.length === 0) throw new UsageError("No question is left to ask: correct --only, --only-file or --split.");
  return ids;
}

/** Ids of a JSON list, of the list `ids` of an object, or one per line. @throws InputError. */
async function idsOfFile(path: string): Promise<readonly number[]> {
  const text = await readFileText(path).catch((cause: unknown) => {
    throw new InputError(`${path} of --only-file cannot be read (${cause instanceof Error ? cause.message : cause}).`);
  });
  let list: unknown = text.split("\n").flatMap((line) => (line.trim() === "" ? [] : [Number(line)]));
  if (/^\s*[[{]/.test(text)) {
    try {
      list = JSON.parse(text);
    } catch {
      list = undefined;
    }
  }
  if (isObject(list)) list = list.ids;
  const isId = (id: unknown): id is number => typeof id === "number" && Number.isSafeInteger(id) && id >= 0;
  if (Array.isArray(list) && list.length > 0 && list.every(isId)) return list;
  throw new InputError(`${path} of --only-file: expected ids, as a JSON list, as {"ids": [...]}, or one per line.`);
}

function isSkipped(id: number, { pictures }: DataFolder): boolean {
  return isMissing(at(pictures, id));
}

/** Questions without a picture. @throws InputError naming the first few, unless they may be left out. */
function missingPictures(ids: readonly number[], data: DataFolder, isAllowed: boolean) {
  const missing = ids.filter((id) => isSkipped(id, data)).map((id) => at(data.pictures, id));
  if (missing.length === 0 || isAllowed) return missing;
  const named = missing.slice(0, 5).map(({ name }) => name);
  throw new InputError(
    `${missing.length} of ${ids.length} pictures are missing: ${named.join(", ")}${missing.length > named.length ? ", …" : ""}; ` +
      "put them into --data-dir, or give --skip-missing to leave their questions out.",
  );
}

async function manifestOf(
  session: Session,
  of: {
    readonly found: FoundModel;
    readonly out: string;
    readonly split: SplitName;
    readonly data: DataFolder;
    readonly boxes: FoundBoxes | undefined;
    readonly facts: ModelFacts;
    readonly settings: RunSettings;
    readonly shard: Shard | undefined;
    readonly wanted: readonly number[];
    /** Facts for people. */
    readonly about: object;
  },
): Promise<Manifest> {
  const { found, out, split, data, boxes, facts, settings, shard, wanted, about } = of;
  session.note("adaptvis: comparing the checkpoint with the run's");
  const ids = wanted.length === idsOfSplit(split, data.questions.length).length ? null : textHash(wanted.join());
  return {
    format: 1,
    identity: await identityOf({
      model: await checkpointFingerprint(found.folder),
      facts,
      data,
      settings,
      boxes,
      split,
      ids,
    }),
    shard: shard ?? null,
    about: {
      ...aboutRun({ out, modelName: basename(found.name), facts, data, boxes, numQuestions: wanted.length }),
      ...about,
    },
  };
}

async function answerAll(
  session: Session,
  of: {
    readonly run: RunFolder;
    readonly model: Llava;
    readonly data: DataFolder;
    readonly boxes: FoundBoxes | undefined;
    readonly settings: RunSettings;
    readonly ids: readonly number[];
  },
): Promise<void> {
  const { run, model, data, boxes, settings, ids } = of;
  const open = ids.filter((id) => !run.has(id));
  noteAnswered(session, ids, run);
  const bar = await questionBar(ids.length, ids.length - open.length);
  try {
    for (const id of open) {
      throwIfAborted(session.signal, "The evaluation");
      run.append(await answerTask(model, await readTask(data, id, boxes), settings));
      bar.increment();
    }
  } finally {
    bar.stop();
  }
}
