// The page's actions: each runs in the worker, one at a time, and updates signals or shows a notice.

import type { AdaptVisSettings } from "../interventions/adaptvis.ts";
import type { RgbImage } from "../preprocess/image.ts";
import type { FilesSource } from "./checkpoint-files.ts";
import { decimal, percent } from "./draw/words.ts";
import { EMBEDDED_NAME, EMBEDDED_URL } from "./embedded.ts";
import { failureOf } from "./engine/failure.ts";
import { startEngine } from "./engine-client.ts";
import type { AskEvent, CheckpointSource, EngineNotice } from "./protocol.ts";
import {
  announcement,
  areSame,
  asked,
  explanation,
  factor,
  factorAnswer,
  factorAnswers,
  hadPicture,
  isEmbedded,
  isPassLinked,
  isRecovering,
  isStopped,
  mapAnswer,
  maxNewTokens,
  model,
  modelSettings,
  notices,
  notify,
  ownSettings,
  type Running,
  running,
  settings,
  streaming,
} from "./state.ts";
import { forgetTalk } from "./talk-state.ts";
import { type Turn, Turns } from "./turns.ts";

/** The engine in its worker. */
export const engine = startEngine();
// A crashed worker counts as stopped.
const turns = new Turns(() => engine.stop().catch(() => undefined));
/** The next factor to try; a newer one replaces it. */
let wantedFactor: number | undefined;

/** Loads the checkpoint that comes with the page. */
export async function loadEmbedded(): Promise<void> {
  await loadCheckpoint({ kind: "url", url: EMBEDDED_URL }, EMBEDDED_NAME);
}

/** Loads a local folder; does nothing when the choice was cancelled. */
export async function loadLocal(choose: () => Promise<FilesSource | undefined>): Promise<void> {
  try {
    const source = await choose();
    if (source !== undefined) await loadCheckpoint(source, source.name);
  } catch (error) {
    notify("The folder could not be opened", failureOf(error));
  }
}

/** Starts listening for lost devices. */
export async function watchDevice(): Promise<void> {
  await engine.watch((notice: EngineNotice) => {
    isRecovering.value = notice.kind === "device-lost" || notice.kind === "recovering";
    if (notice.kind === "recovered" && model.value !== undefined)
      announcement.value = "The GPU is available again; you can continue.";
    if (notice.kind !== "gave-up") return;
    model.value = undefined;
    const isCrash = notice.failure.kind === "internal";
    notify(isCrash ? "The model’s worker crashed" : "The GPU could not be recovered", notice.failure);
  });
}

/** Loads a checkpoint; if that fails, the previous model stays. */
export async function loadCheckpoint(source: CheckpointSource, name: string): Promise<void> {
  await inTurn({ kind: "load", name, step: undefined }, `${name} could not be loaded`, async () => {
    const loaded = await engine.load(source, (step) => {
      running.value = { kind: "load", name, step };
    });
    // Settings from the address apply to the first model only.
    if (model.value !== undefined) ownSettings.value = undefined;
    model.value = loaded;
    isEmbedded.value = source.kind === "url";
    forgetAnswers();
    announcement.value = `${loaded.name} is loaded on ${loaded.adapter}.`;
  });
}

/**
 * Asks a question greedily and with AdaptVis. Work for the previous answer is stopped; another running question only if this
 * one replaces it.
 */
export async function askAbout(
  picture: () => Promise<RgbImage | undefined>,
  question: string,
  options: { readonly isReplacing?: boolean } = {},
): Promise<void> {
  const now = running.value?.kind;
  if ((now === "ask" && options.isReplacing !== true) || now === "load") {
    const message =
      now === "ask" ? "Another question is running; wait for its answer or press Stop." : "The model is still loading.";
    notify("One at a time", { kind: "busy", message });
    return;
  }
  streaming.value = { greedy: "", adaptvis: "", factor: "" };
  await inTurn({ kind: "ask", question, stage: "Starting" }, "The question could not be answered", async (turn) => {
    const image = await picture();
    turn.throwIfStopped();
    const request = { image, question, settings: settings.value, maxNewTokens: maxNewTokens.value };
    const answers = await engine.ask(request, (event) => {
      if (event.kind === "stage") running.value = { kind: "ask", question, stage: event.text };
      else follow(event);
    });
    forgetAnswers();
    asked.value = { question, answers };
    const { greedy, adaptvis } = answers;
    announcement.value = hadPicture.value
      ? `Greedy: ${greedy.text}. AdaptVis, factor ${decimal(adaptvis.factor)}: ${adaptvis.text}.`
      : `Answer: ${greedy.text}.`;
  });
  if (!isPassLinked.value || asked.value === undefined || running.value !== undefined) return;
  isPassLinked.value = false;
  await explainAnswer();
}

/** Sets the slider's factor and answers under it; while an answer runs, only the newest factor waits. */
export function tryFactor(value: number): void {
  const wanted = Number(value.toFixed(3));
  factor.value = wanted;
  if (asked.value === undefined) return;
  const known = factorAnswers.value.get(wanted);
  wantedFactor = known === undefined ? wanted : undefined;
  if (known !== undefined) {
    factorAnswer.value = known;
    mapAnswer.value = "factor";
  } else if (running.value === undefined) void answerWantedFactors();
}

/** Answers under the untried factors from 0 to 3 in steps of 0.25, until one fails or is stopped. */
export async function tryAllFactors(): Promise<void> {
  const question = asked.value;
  for (let quarter = 0; quarter <= 12; quarter++) {
    const isInterrupted = asked.value !== question || running.value !== undefined;
    if (isInterrupted) return;
    if (factorAnswers.value.has(quarter / 4)) continue;
    if (!(await answerUnder(quarter / 4))) return;
    await answerWantedFactors();
  }
  factorAnswer.value = factorAnswers.value.get(factor.value) ?? factorAnswer.value;
}

async function answerWantedFactors(): Promise<void> {
  while (wantedFactor !== undefined && running.value === undefined) {
    const wanted = wantedFactor;
    wantedFactor = undefined;
    if (!(await answerUnder(wanted)) || factor.value !== wanted) continue;
    const answer = factorAnswers.value.get(wanted);
    if (answer === undefined) continue;
    factorAnswer.value = answer;
    mapAnswer.value = "factor";
    announcement.value = `Factor ${decimal(wanted)}: ${answer.text}, ${percent(answer.confidence)}.`;
  }
}

/** @returns whether an answer is available. */
async function answerUnder(wanted: number): Promise<boolean> {
  streaming.value = { ...streaming.value, factor: "" };
  let isAnswered = false;
  await inTurn({ kind: "factor", factor: wanted }, `No answer under factor ${decimal(wanted)}`, async () => {
    const answer = await engine.answerWithFactor(wanted, follow);
    factorAnswers.value = new Map(factorAnswers.value).set(wanted, answer);
    isAnswered = true;
  });
  return isAnswered;
}

/** Stops the running action. */
export async function stop(): Promise<void> {
  wantedFactor = undefined;
  await turns.stop();
}

/** Runs the last answer again, pass by pass. */
export async function explainAnswer(): Promise<void> {
  await inTurn({ kind: "explain", stage: "", numPasses: 0 }, "The passes could not be shown", async () => {
    const passes = await engine.explain(({ stage, index }) => {
      running.value = { kind: "explain", stage, numPasses: index + 1 };
    });
    explanation.value = passes;
    announcement.value = `${passes.passes.length} passes are shown.`;
  });
}

/** The last question's trace as a file; undefined when that failed. */
export async function traceFile(): Promise<Uint8Array<ArrayBuffer> | undefined> {
  let bytes: Uint8Array<ArrayBuffer> | undefined;
  await inTurn({ kind: "trace" }, "The trace could not be written", async () => {
    bytes = await engine.trace();
  });
  return bytes;
}

/** Changes AdaptVis' settings for later questions. */
export function changeSettings(wanted: AdaptVisSettings): void {
  ownSettings.value = areSame(wanted, modelSettings.value) ? undefined : wanted;
}

/**
 * Runs `work` exclusively: the running action is stopped and has ended before `work` begins. A failure becomes a notice;
 * being stopped is not a failure.
 */
export async function inTurn(what: Running, title: string, work: (turn: Turn) => Promise<void>): Promise<void> {
  running.value = what;
  isStopped.value = false;
  if (what.kind !== "factor") wantedFactor = undefined;
  if (what.kind === "ask" || what.kind === "load") notices.value = [];
  announcement.value = ""; // so that an identical answer is announced again
  const outcome = await turns.take(work);
  const failure = outcome && failureOf(outcome.error);
  if (failure !== undefined && failure.kind !== "stopped") notify(title, failure);
  if (!turns.isIdle) return; // another action has started
  running.value = undefined;
  if (failure?.kind === "stopped") {
    isStopped.value = true;
    announcement.value = "Stopped.";
  }
  if (what.kind !== "factor") void answerWantedFactors();
}

/** Follows a running answer. */
function follow(event: AskEvent): void {
  if (event.kind === "restart") streaming.value = { greedy: "", adaptvis: "", factor: "" };
  if (event.kind !== "token") return;
  streaming.value = { ...streaming.value, [event.answer]: streaming.value[event.answer] + event.text };
}

function forgetAnswers(): void {
  wantedFactor = undefined;
  asked.value = undefined;
  factorAnswers.value = new Map();
  factorAnswer.value = undefined;
  factor.value = 1;
  mapAnswer.value = "adaptvis";
  explanation.value = undefined;
  forgetTalk();
}
