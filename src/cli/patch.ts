// adaptvis patch: causal experiments. What carries an answer is found by putting parts of one run into another, by cutting attention,
// and by ablating heads.
import { basename } from "node:path";
import { type Command, Option } from "commander";
import { ABLATION_MODES, type AblationMode } from "../causal/ablation.ts";
import type { EffectGrid, PositionSelection } from "../causal/grid.ts";
import { PATCHED_PARTS, type PatchedPart } from "../causal/patching.ts";
import type { ModelInputs } from "../models/inputs.ts";
import { gridJson, tokenTexts } from "./causal-grid.ts";
import { repeated, someText, wholeFrom } from "./checks.ts";
import { questionOf } from "./flags.ts";
import type { OpenModel } from "./open-model.ts";
import { examples } from "./package-files.ts";
import {
  addExperimentOptions,
  type ExperimentFlags,
  headsOption,
  jointOption,
  measureWords,
  positionOption,
  runExperiment,
  runJson,
  runText,
  type ShownExperiment,
} from "./patch-flags.ts";
import { type CliCommand, defineCommand, type Session, UsageError } from "./session.ts";
import { addSubcommands, type Subcommand } from "./subcommands.ts";

/** Parsed options of `patch`. */
interface PatchFlags extends ExperimentFlags {
  readonly corruptImage?: readonly string[];
  readonly corruptQuestion?: string;
  readonly corruptPrompt?: string;
  readonly at: PatchedPart;
  readonly positions: PositionSelection;
  readonly joint?: boolean;
}

/** Parsed options of `patch knock-out`. */
interface KnockOutFlags extends ExperimentFlags {
  readonly rows: PositionSelection;
  readonly columns: PositionSelection;
  readonly window: number;
}

/** Parsed options of `patch ablate`. */
interface AblateFlags extends ExperimentFlags {
  readonly mode: AblationMode;
  readonly positions: PositionSelection;
  readonly joint?: boolean;
  readonly meanImage?: readonly string[];
}

const patchRunCommand = defineCommand("run", describePatch, patch);
const knockOutCommand = defineCommand("knock-out", describeKnockOut, knockOut);
const ablateCommand = defineCommand("ablate", describeAblate, ablate);

/** As in `eval`, what the command does without a subcommand is the default one. */
const SUBCOMMANDS: readonly Subcommand[] = [
  { ...patchRunCommand, isDefault: true, takesWords: true },
  knockOutCommand,
  ablateCommand,
];

/** `adaptvis patch`. */
export const patchCommand: CliCommand = {
  name: "patch",
  add: (command, open) => {
    command
      .description(
        "Find what carries an answer: put parts of one run into another (run, the default), cut attention, or ablate heads.",
      )
      .helpCommand(false)
      .addHelpText(
        "after",
        examples(({ picture }) => [patchExample(picture), "patch run --help"]),
      );
    addSubcommands(command, SUBCOMMANDS, open);
  },
};

const ANSWERS = "Answer with left, right, front or behind.";
const QUESTION = `"Where is the ball in relation to the robot? ${ANSWERS}"`;
const OTHER_QUESTION = `"Where is the robot in relation to the ball? ${ANSWERS}"`;
const TOKENS = "--token Left --against Right";

/** Examples run as they are on the package's picture. */
function patchExample(picture: string): string {
  return `patch --image ${picture} ${QUESTION} --corrupt-question ${OTHER_QUESTION} ${TOKENS}`;
}

/** Describes `patch run` to commander. */
function describePatch(command: Command): Command {
  command.description(
    "Put hidden states, attention outputs, MLP outputs or heads of a clean run into a corrupted one, and measure how much of the answer comes back.",
  );
  return addExperimentOptions(command, "row")
    .option("--corrupt-image <file>", "picture of the corrupted run; as often as --image", repeated)
    .option("--corrupt-question <text>", "question of the corrupted run, with as many tokens", someText)
    .option("--corrupt-prompt <text>", "whole prompt of the corrupted run, with as many tokens", someText)
    .addOption(
      new Option(
        "--at <part>",
        "what is put: a layer's hidden state, what its attention or MLP adds, or a head's output",
      )
        .choices(PATCHED_PARTS)
        .default("hidden"),
    )
    .addOption(headsOption("heads of --at head"))
    .addOption(positionOption("positions", "positions that are patched", "last"))
    .addOption(jointOption("patch"))
    .addHelpText(
      "after",
      `
Recovered is (patched − corrupted) / (clean − corrupted): 0 where nothing comes back, 1 where the clean answer does.
Patches of the last position run as one batch over the shared prompt.`,
    )
    .addHelpText(
      "after",
      examples(({ picture }) => [
        patchExample(picture),
        `${patchExample(picture)} --at head --html heads.html`,
        `${patchExample(picture)} --positions all`,
      ]),
    );
}

/** Describes `patch knock-out` to commander. */
function describeKnockOut(command: Command): Command {
  command.description("Cut attention from some rows to some columns in a window of layers, around each layer.");
  return addExperimentOptions(command, "picture")
    .addOption(headsOption("heads that are cut"))
    .addOption(positionOption("rows", "rows whose attention is cut", "last"))
    .addOption(positionOption("columns", "columns that they cannot attend to", "image"))
    .option("--window <number>", "layers of a window", wholeFrom(1), 1)
    .addHelpText(
      "after",
      examples(({ picture }) => [
        `patch knock-out --image ${picture} ${QUESTION} --token Left --window 2`,
        `patch knock-out --image ${picture} ${QUESTION} ${TOKENS} --rows after-image --html knock-out.html`,
      ]),
    );
}

/** Describes `patch ablate` to commander. */
function describeAblate(command: Command): Command {
  command.description("Replace each head's output before o_proj by zeros or by its mean.");
  return addExperimentOptions(command, "together")
    .addOption(headsOption("heads that are ablated"))
    .addOption(positionOption("positions", "positions at which heads are ablated", "last"))
    .addOption(jointOption("ablate"))
    .addOption(
      new Option("--mode <mode>", "zero, or mean: over all positions of the run")
        .choices(ABLATION_MODES)
        .default("zero"),
    )
    .option(
      "--mean-image <file>",
      "take the mean over the runs with these pictures instead, one picture each; repeatable",
      repeated,
    )
    .addHelpText(
      "after",
      examples(({ picture }) => [
        `patch ablate --image ${picture} ${QUESTION} ${TOKENS}`,
        `patch ablate --image ${picture} ${QUESTION} --token Left --mode mean --positions all --html heads.html`,
      ]),
    );
}

/** Runs `patch run`. */
async function patch(session: Session, question: string | undefined, flags: PatchFlags): Promise<void> {
  const { corruptImage, corruptQuestion, corruptPrompt, at: part, layers, heads, positions, group } = flags;
  if (corruptImage === undefined && corruptQuestion === undefined && corruptPrompt === undefined) {
    throw new UsageError("The corrupted run is missing: give --corrupt-image, --corrupt-question or --corrupt-prompt.");
  }
  if (corruptQuestion !== undefined && corruptPrompt !== undefined) {
    throw new UsageError("Both --corrupt-question and --corrupt-prompt are given: omit one of them.");
  }
  const numPictures = flags.image?.length ?? 0;
  if (corruptImage !== undefined && corruptImage.length !== numPictures) {
    throw new UsageError(
      `--corrupt-image must be given as often as --image, ${numPictures} ${numPictures === 1 ? "time" : "times"}, got ${corruptImage.length}.`,
    );
  }
  const asked = { question, flags, otherPictures: corruptImage, command: "patch" };
  await runExperiment(session, asked, async ({ model, images, otherImages, prepare, onProgress }) => {
    const clean = await prepare(questionOf(question, flags, images));
    const pictures = corruptImage === undefined ? images : otherImages;
    const hasSameWords = corruptQuestion === undefined && corruptPrompt === undefined;
    const corrupted = await prepare(
      hasSameWords
        ? questionOf(question, flags, pictures)
        : questionOf(corruptQuestion, { ...flags, prompt: corruptPrompt }, pictures),
    );
    const { token, against } = flags;
    const result = await model.patch(clean, corrupted, {
      part,
      token,
      against,
      layers,
      heads,
      positions,
      grouping: group,
      joint: flags.joint,
      onProgress,
      signal: session.signal,
    });
    const measured = measureWords(model, result);
    const text = tokenTexts(model);
    if (result.clean.answerId === result.corrupted.answerId) {
      const answer = text(result.clean.answerId);
      session.note(
        `adaptvis: both runs answer ${answer}, so that what is recovered says little: give runs whose answers differ.`,
      );
    }
    const corruptedBy = [
      corruptImage?.map((file) => basename(file)).join(", "),
      corruptQuestion ?? corruptPrompt,
    ].filter((each) => each !== undefined);
    return {
      grid: result,
      prompts: [clean, corrupted],
      shown: result.recovered,
      meaning: `recovered part of the ${result.measure === "probability" ? "probability" : "logit difference"}`,
      title: `adaptvis patch: ${PART_TITLES[part]}`,
      facts: [
        ["measure", measured.words],
        ["clean", runText(result.clean, text)],
        ["corrupted", `${runText(result.corrupted, text)} (${corruptedBy.join("; ")})`],
      ],
      isFraction: true,
      json: (shown) => ({
        corrupt: { image: corruptImage ?? null, question: corruptQuestion ?? null, prompt: corruptPrompt ?? null },
        at: part,
        measure: result.measure,
        token: measured.token,
        against: measured.against,
        clean: runJson(result.clean, text),
        corrupted: runJson(result.corrupted, text),
        ...gridJson(shown, { values: result.values, recovered: result.recovered }, text),
      }),
    };
  });
}

const PART_TITLES: Readonly<Record<PatchedPart, string>> = {
  hidden: "hidden states",
  attention: "attention outputs",
  mlp: "MLP outputs",
  head: "heads",
};

/** Runs `patch knock-out`. */
async function knockOut(session: Session, question: string | undefined, flags: KnockOutFlags): Promise<void> {
  const { rows, columns, window, layers, heads, group, token, against } = flags;
  await runExperiment(session, { question, flags, command: "patch knock-out" }, async (run) => {
    const { model, images, prepare, onProgress } = run;
    const inputs = await prepare(questionOf(question, flags, images));
    const result = await model.knockOut(inputs, {
      rows,
      columns,
      window,
      layers,
      heads,
      grouping: group,
      token,
      against,
      onProgress,
      signal: session.signal,
    });
    const json = { rows: result.rows, window, windows: result.windows };
    const where = `attention to a position is cut in ${window === 1 ? "a layer" : `${window} layers around a layer`}`;
    const fact = ["rows cut", rowsText(result.rows)] as const;
    return shownEffect(model, result, { inputs, title: "attention knocked out", how: where, json, facts: [fact] });
  });
}

/** Runs `patch ablate`. */
async function ablate(session: Session, question: string | undefined, flags: AblateFlags): Promise<void> {
  const { mode, positions, layers, heads, group, token, against, meanImage } = flags;
  if (meanImage !== undefined && mode !== "mean") throw new UsageError("--mean-image needs --mode mean: give both.");
  const asked = { question, flags, otherPictures: meanImage, command: "patch ablate" };
  await runExperiment(session, asked, async ({ model, images, otherImages, prepare, onProgress }) => {
    const inputs = await prepare(questionOf(question, flags, images));
    const over: ModelInputs[] = [];
    for (const image of otherImages) over.push(await prepare(questionOf(question, flags, [image])));
    const result = await model.ablate(inputs, {
      mode,
      positions,
      layers,
      heads,
      grouping: group,
      joint: flags.joint,
      token,
      against,
      ...(over.length > 0 && { over }),
      onProgress,
      signal: session.signal,
    });
    const how = mode === "zero" ? "a head's output is 0" : "a head's output is its mean";
    const json = { mode, meanImages: meanImage ?? null };
    return shownEffect(model, result, { inputs, title: "heads ablated", how, json, facts: [] });
  });
}

/** An effect on one run. */
function shownEffect(
  model: OpenModel["model"],
  result: EffectGrid,
  of: {
    readonly inputs: ModelInputs;
    readonly title: string;
    readonly how: string;
    readonly json: object;
    readonly facts: ShownExperiment["facts"];
  },
): ShownExperiment {
  const measured = measureWords(model, result);
  const text = tokenTexts(model);
  const name = result.measure === "probability" ? "probability" : "logit difference";
  return {
    grid: result,
    prompts: [of.inputs],
    shown: result.changes,
    meaning: `change of the ${name} when ${of.how}`,
    title: `adaptvis patch: ${of.title}`,
    facts: [["measure", measured.words], ["unchanged", runText(result.unchanged, text)], ...of.facts],
    isFraction: false,
    json: (shown) => ({
      ...of.json,
      measure: result.measure,
      token: measured.token,
      against: measured.against,
      unchanged: runJson(result.unchanged, text),
      ...gridJson(shown, { values: result.values, changes: result.changes }, text),
    }),
  };
}

function rowsText(rows: readonly number[]): string {
  return rows.length === 1 ? String(rows[0]) : `${rows.length} from ${rows[0]} to ${rows.at(-1)}`;
}
