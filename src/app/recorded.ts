// The recorded example: the opening scene's answers as the engine gave them on another machine, for browsers that cannot run it.
// tools/app/record-example.mjs writes the file.

import { computed, effect, signal } from "@preact/signals";
import { askedScene, readySprites } from "./asking.ts";
import type { AnswersView, AnswerView, AttentionView, FailureKind } from "./protocol.ts";
import { scenePicture } from "./scene/paint.ts";
import type { Scene } from "./scene/scene.ts";
import { type Asked, asked, model, notices, running } from "./state.ts";

/** Failures after which no model runs in this browser. */
const WITHOUT_GPU: readonly FailureKind[] = ["no-webgpu", "no-adapter", "limit", "out-of-memory", "device-lost"];

/** Attention with plain arrays, as JSON has it. */
interface RecordedAttention extends Omit<AttentionView, "values" | "shares"> {
  readonly values: readonly number[];
  readonly shares: readonly number[];
}

/** An answer as recorded; its time would be another machine's. */
export interface RecordedAnswer extends Omit<AnswerView, "attention" | "elapsedMs"> {
  readonly attention: RecordedAttention;
}

/** The file's content. */
export interface RecordedExample {
  /** What computed it. */
  readonly model: string;
  readonly adapter: string;
  readonly scene: Scene;
  readonly question: string;
  readonly answers: Omit<AnswersView, "greedy" | "adaptvis" | "picture"> & {
    readonly greedy: RecordedAnswer;
    readonly adaptvis: RecordedAnswer;
  };
}

/** The example and the question with its answers that shows it; undefined until it is needed. */
const opened = signal<{ readonly example: RecordedExample; readonly asked: Asked } | undefined>(undefined);

/** The example while it is what the page shows. */
export const recorded = computed<RecordedExample | undefined>(() =>
  opened.value !== undefined && asked.value === opened.value.asked ? opened.value.example : undefined,
);

/** Shows the example once the first load has failed for want of a GPU. */
export function showRecordedWithoutGpu(): void {
  const end = effect(() => {
    const isIdle = model.value === undefined && running.value === undefined;
    if (!isIdle || !notices.value.some(({ failure }) => WITHOUT_GPU.includes(failure.kind))) return;
    queueMicrotask(() => end());
    // Without the file, the page says what is wrong and what to do all the same.
    void showRecorded().catch(() => undefined);
  });
}

async function showRecorded(): Promise<void> {
  const response = await fetch(new URL("recorded-example.json", document.baseURI));
  if (!response.ok) return;
  const example: RecordedExample = await response.json();
  const { scene, question, answers } = example;
  const picture = scenePicture(scene, await readySprites());
  const { greedy, adaptvis } = answers;
  const shown = { question, answers: { ...answers, greedy: played(greedy), adaptvis: played(adaptvis), picture } };
  if (model.value !== undefined || asked.value !== undefined) return; // a model was loaded meanwhile
  opened.value = { example, asked: shown };
  askedScene.value = { asked: shown, scene };
  asked.value = shown;
}

function played(answer: RecordedAnswer): AnswerView {
  const { values, shares, ...grid } = answer.attention;
  const attention = { ...grid, values: Float32Array.from(values), shares: Float32Array.from(shares) };
  return { ...answer, attention, elapsedMs: Number.NaN };
}
