// What the panels beside the two answers show, as signals: the conversation, the compared methods, words, and patches.
import { signal } from "@preact/signals";
import type { MethodForm } from "./draw/method-form.ts";
import type { ChatAnswerView, CutView, LensView, MethodAnswerView, WhichAnswer, WordsView } from "./protocol.ts";

/** A follow-up with its answer. */
export interface ChatTurn {
  readonly question: string;
  /** Whether a picture came with the question. */
  readonly hasPicture: boolean;
  readonly answer: ChatAnswerView;
}

/** The two methods that can be compared. */
export type Side = "A" | "B";

/** Methods that are compared at first. */
export const FIRST_FORMS: Readonly<Record<Side, MethodForm>> = {
  A: { name: "greedy", texts: {} },
  B: { name: "adaptvis", texts: {} },
};

/** The follow-ups to the last question. */
export const chatTurns = signal<readonly ChatTurn[]>([]);
/** The answer that the first follow-up comes after. */
export const chatAfter = signal<"greedy" | "adaptvis">("adaptvis");
/** The next follow-up. */
export const chatText = signal("");
/** Whether the picture goes with it. */
export const sendsPicture = signal(false);
/** The method that answers it. */
export const chatSide = signal<Side>("A");
/** The follow-up that runs, and its answer while it streams. */
export const chatRunning = signal<{ readonly question: string; readonly text: string } | undefined>(undefined);

/** What the forms of the two methods say. */
export const forms = signal(FIRST_FORMS);
/** What the library refused of a form, in its words. */
export const refusals = signal<Readonly<Partial<Record<Side | "cut", string>>>>({});
/** The two answers that were compared last. */
export const comparison = signal<Readonly<Record<Side, MethodAnswerView>> | undefined>(undefined);

/** The answer whose words are shown. */
export const wordsOf = signal<WhichAnswer>("adaptvis");
/** Where the model looked for its words, of that answer. */
export const words = signal<{ readonly of: WhichAnswer; readonly view: WordsView } | undefined>(undefined);
/** The chosen word. */
export const chosenWord = signal(0);

/** Marked cells of the picture's map, ascending. */
export const markedCells = signal<readonly number[]>([]);
/** Whose attention to them is cut: that of all that the model reads and writes after the picture, unless chosen otherwise. */
export const cutForm = signal<MethodForm>({ name: "knock-out", texts: { rows: "after-image" } });
/** The answer without the cells that were marked then. */
export const cutAnswer = signal<CutView | undefined>(undefined);
/** What the lens shows. */
export const lens = signal<LensView | undefined>(undefined);

/** Forgets what belongs to the last question; forms and marks stay. */
export function forgetTalk(): void {
  chatTurns.value = [];
  chatRunning.value = undefined;
  refusals.value = {};
  comparison.value = undefined;
  wordsOf.value = "adaptvis";
  words.value = undefined;
  chosenWord.value = 0;
  cutAnswer.value = undefined;
  lens.value = undefined;
}
