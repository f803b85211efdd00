// The page's state as signals. Only session.ts and the controls of the panels change them.

import { computed, signal } from "@preact/signals";
import { type AdaptVisSettings, DEFAULT_ADAPTVIS } from "../interventions/adaptvis.ts";
import type { RgbImage } from "../preprocess/image.ts";
import type { OfflineState } from "./offline.ts";
import type { AnswerKind, AnswersView, AnswerView, ExplanationView, Failure, LoadStep, ModelView } from "./protocol.ts";
import type { Sprites } from "./scene/paint.ts";
import type { QuestionForm } from "./scene/questions.ts";
import { DEFAULT_SCENE, type ObjectName, OPENING_FORM, OPENING_OBJECTS, type Scene } from "./scene/scene.ts";

/** The action that runs in the worker; one at a time. */
export type Running =
  | { readonly kind: "load"; readonly name: string; readonly step: LoadStep | undefined }
  | { readonly kind: "ask"; readonly question: string; readonly stage: string }
  | { readonly kind: "factor"; readonly factor: number }
  | { readonly kind: "explain"; readonly stage: string; readonly numPasses: number }
  | { readonly kind: "trace" }
  | { readonly kind: "study"; readonly of: Study; readonly stage: string };

/** What is found out beside the two answers. */
export type Study = "chat" | "compare" | "cut" | "words" | "lens";

/** A notice above the workbench. */
export interface Notice {
  readonly id: number;
  readonly failure: Failure;
  /** Heading that names the failed action. */
  readonly title: string;
}

/** The user's own picture. */
export interface OwnPicture {
  readonly name: string;
  readonly image: RgbImage;
}

/** A question with its answers. */
export interface Asked {
  readonly question: string;
  readonly answers: AnswersView;
}

/** The loaded model; undefined until the first load completes. */
export const model = signal<ModelView | undefined>(undefined);
/** Whether the loaded model is the one that comes with the page. */
export const isEmbedded = signal(true);
/** True from a lost device until the worker has recovered. */
export const isRecovering = signal(false);
/** The running action. */
export const running = signal<Running | undefined>(undefined);
/** Whether the last action was stopped; until the next one starts. */
export const isStopped = signal(false);
/** Open notices, oldest first. */
export const notices = signal<readonly Notice[]>([]);
/** Whether the page works offline, and whether a newer version is waiting. */
export const offlineState = signal<OfflineState>("unknown");
/** Text of the polite live region for screen readers. */
export const announcement = signal("");

/** Whether questions are about the scene or the user's own picture. */
export const pictureMode = signal<"scene" | "own">("scene");
/** The scene. */
export const scene = signal<Scene>(DEFAULT_SCENE);
/** Index of the object that keys and buttons apply to. */
export const selected = signal(0);
/** The objects' pictures; undefined while they load. */
export const sprites = signal<Sprites | undefined>(undefined);
/** The user's picture. */
export const ownPicture = signal<OwnPicture | undefined>(undefined);

/** Whether the question comes from the form or is free text. */
export const questionMode = signal<"form" | "free">("form");
/** The form's id. */
export const formId = signal<QuestionForm["id"]>(OPENING_FORM);
/** The objects chosen in the form, in order; those missing from the scene are ignored. */
export const formObjects = signal<readonly ObjectName[]>(OPENING_OBJECTS);
/** Whether every change asks again. */
export const asksOnChange = signal(false);
/** The free-text question. */
export const freeText = signal("");
/** Maximum answer length, tokens. */
export const maxNewTokens = signal(24);

/** The loaded checkpoint's settings of AdaptVis. */
export const modelSettings = computed<AdaptVisSettings>(() => model.value?.settings ?? DEFAULT_ADAPTVIS);
/** The user's settings of AdaptVis; undefined while the checkpoint's are used. */
export const ownSettings = signal<AdaptVisSettings | undefined>(undefined);
/** AdaptVis' settings of the next question. */
export const settings = computed<AdaptVisSettings>(() => ownSettings.value ?? modelSettings.value);

/** Whether two settings are equal. */
export function areSame(one: AdaptVisSettings, other: AdaptVisSettings): boolean {
  return one.alpha1 === other.alpha1 && one.alpha2 === other.alpha2 && one.beta === other.beta;
}

/** The last question that was answered. */
export const asked = signal<Asked | undefined>(undefined);
/** Whether that question had a picture; without one, factors have no effect. */
export const hadPicture = computed(() => {
  const [start, end] = asked.value?.answers.imageSpan ?? [0, 0];
  return start < end;
});
/** The answers' texts while they stream. */
export const streaming = signal<Readonly<Record<AnswerKind, string>>>({ greedy: "", adaptvis: "", factor: "" });
/** Position of the factor slider. */
export const factor = signal(1);
/** The last answers under a fixed factor to the question in {@link asked}, by factor. */
export const factorAnswers = signal<ReadonlyMap<number, AnswerView>>(new Map());

/** Layer shown in the heat map, from 0; undefined: the middle one. */
export const mapLayer = signal<number | undefined>(undefined);
/** Head shown in the heat map; undefined: the mean over heads. */
export const mapHead = signal<number | undefined>(undefined);
/** The answer whose attention is shown beside the unmodified one. */
export const mapAnswer = signal<"adaptvis" | "factor">("adaptvis");

/** Index of the open pass in "What the kernels do"; undefined if none is open. */
export const openPass = signal<number | undefined>(undefined);
/** Whether {@link openPass} was set by the address; the passes of the next answer are then shown automatically. */
export const isPassLinked = signal(false);

/** The passes of the AdaptVis answer in {@link asked}; undefined until requested. */
export const explanation = signal<ExplanationView | undefined>(undefined);

/** The latest answer under a fixed factor. */
export const factorAnswer = signal<AnswerView | undefined>(undefined);

let lastNotice = 0;

/** Adds a notice, replacing an identical older one. */
export function notify(title: string, failure: Failure): void {
  const others = notices.value.filter((notice) => notice.failure.message !== failure.message);
  notices.value = [...others, { id: ++lastNotice, title, failure }];
}

/** Removes a notice. */
export function dismiss(id: number): void {
  notices.value = notices.value.filter((notice) => notice.id !== id);
}
