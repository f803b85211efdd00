// What the page shows, as signals. Only session.ts and the panels' own controls change them.

import { computed, signal } from "@preact/signals";
import { type AdaptVisSettings, DEFAULT_ADAPTVIS } from "../adaptvis.ts";
import type { RgbImage } from "../preprocess/image.ts";
import type { OfflineState } from "./offline.ts";
import type { AnswerKind, AnswersView, AnswerView, ExplanationView, Failure, LoadStep, ModelView } from "./protocol.ts";
import type { Sprites } from "./scene/paint.ts";
import type { QuestionForm } from "./scene/questions.ts";
import { DEFAULT_SCENE, type ObjectName, type Scene } from "./scene/scene.ts";

/** What runs in the worker; one thing at a time. */
export type Running =
  | { readonly kind: "load"; readonly name: string; readonly step: LoadStep | undefined }
  | { readonly kind: "ask"; readonly question: string; readonly stage: string }
  | { readonly kind: "factor"; readonly factor: number }
  | { readonly kind: "explain"; readonly stage: string; readonly numPasses: number }
  | { readonly kind: "trace" };

/** A notice above the workbench. */
export interface Notice {
  readonly id: number;
  readonly failure: Failure;
  /** What was tried, as a heading. */
  readonly title: string;
}

/** A picture of the user's. */
export interface OwnPicture {
  readonly name: string;
  readonly image: RgbImage;
}

/** A question with its answers. */
export interface Asked {
  readonly question: string;
  readonly answers: AnswersView;
}

/** The loaded model; undefined until the first one stands. */
export const model = signal<ModelView | undefined>(undefined);
/** Whether the loaded model is the one that comes with the page. */
export const isEmbedded = signal(true);
/** True from a lost device until the worker has recovered. */
export const isRecovering = signal(false);
/** What runs now. */
export const running = signal<Running | undefined>(undefined);
/** Whether the last action was stopped; until the next one starts. */
export const isStopped = signal(false);
/** Open notices, oldest first. */
export const notices = signal<readonly Notice[]>([]);
/** Whether the page works without a network, and whether a newer version of it waits. */
export const offlineState = signal<OfflineState>("unknown");
/** What a screen reader is told politely. */
export const announcement = signal("");

/** Whether the scene or a picture of the user's is asked about. */
export const pictureMode = signal<"scene" | "own">("scene");
/** What the scene shows. */
export const scene = signal<Scene>(DEFAULT_SCENE);
/** Index of the object that keys and buttons act on. */
export const selected = signal(0);
/** The objects' pictures; undefined while they load. */
export const sprites = signal<Sprites | undefined>(undefined);
/** The user's picture. */
export const ownPicture = signal<OwnPicture | undefined>(undefined);

/** Whether the question is filled in or written. */
export const questionMode = signal<"form" | "free">("form");
/** The form's id. */
export const formId = signal<QuestionForm["id"]>("side");
/** The objects chosen in the form, in order; those that are not on the scene do not count. */
export const formObjects = signal<readonly ObjectName[]>(["mug", "dog"]);
/** Whether every change asks again. */
export const asksOnChange = signal(false);
/** The written question. */
export const freeText = signal("");
/** Longest answer, tokens. */
export const maxNewTokens = signal(24);

/** The loaded checkpoint's settings of AdaptVis. */
export const modelSettings = computed<AdaptVisSettings>(() => model.value?.settings ?? DEFAULT_ADAPTVIS);
/** The user's own settings of AdaptVis; undefined while they are the checkpoint's. */
export const ownSettings = signal<AdaptVisSettings | undefined>(undefined);
/** AdaptVis' settings of the next question. */
export const settings = computed<AdaptVisSettings>(() => ownSettings.value ?? modelSettings.value);

/** Whether two settings say the same. */
export function areSame(one: AdaptVisSettings, other: AdaptVisSettings): boolean {
  return one.alpha1 === other.alpha1 && one.alpha2 === other.alpha2 && one.beta === other.beta;
}

/** The last question that was answered. */
export const asked = signal<Asked | undefined>(undefined);
/** Whether there was a picture to look at in that question; without one, no factor has anything to act on. */
export const hadPicture = computed(() => {
  const [start, end] = asked.value?.answers.imageSpan ?? [0, 0];
  return start < end;
});
/** The answers' texts while they stream. */
export const streaming = signal<Readonly<Record<AnswerKind, string>>>({ greedy: "", adaptvis: "", factor: "" });
/** Where the factor slider stands. */
export const factor = signal(1);
/** The last answers under a fixed factor to the question in {@link asked}, by factor. */
export const factorAnswers = signal<ReadonlyMap<number, AnswerView>>(new Map());

/** Layer shown in the heat map, from 0; undefined: the middle one. */
export const mapLayer = signal<number | undefined>(undefined);
/** Head shown in the heat map; undefined: the mean over heads. */
export const mapHead = signal<number | undefined>(undefined);
/** Which answer's attention stands beside the unmodified one. */
export const mapAnswer = signal<"adaptvis" | "factor">("adaptvis");

/** Index of the pass that "What the kernels do" shows; undefined: none is open. */
export const openPass = signal<number | undefined>(undefined);
/** Whether {@link openPass} came with the address: then the passes of the next answer are shown unasked. */
export const isPassLinked = signal(false);

/** The passes of the AdaptVis answer in {@link asked}; undefined until they are asked for. */
export const explanation = signal<ExplanationView | undefined>(undefined);

/** The answer under a fixed factor that stands last. */
export const factorAnswer = signal<AnswerView | undefined>(undefined);

let lastNotice = 0;

/** Adds a notice, in place of an older one that says the same. */
export function notify(title: string, failure: Failure): void {
  const others = notices.value.filter((notice) => notice.failure.message !== failure.message);
  notices.value = [...others, { id: ++lastNotice, title, failure }];
}

/** Takes a notice away. */
export function dismiss(id: number): void {
  notices.value = notices.value.filter((notice) => notice.id !== id);
}
