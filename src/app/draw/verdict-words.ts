// The two answers in one sentence: whether they differ, which way AdaptVis went, and which one is right where that is known.

import type { AnswersView } from "../protocol.ts";
import { decimal } from "./words.ts";

/** Number of characters up to which an answer is quoted. */
const SHORT = 40;

/**
 * The sentence about two answers.
 * @param right the right answer, where it is known
 */
export function verdictOf({ greedy, adaptvis }: Pick<AnswersView, "greedy" | "adaptvis">, right?: string): string {
  const { factor } = adaptvis;
  const is = (text: string) => right !== undefined && text.toLowerCase() === right;
  const correct = (text: string) => (is(text) ? ", which is correct" : "");
  const neither = right === undefined ? "" : `; the right answer is “${capital(right)}”`;
  const how = factor === 1 ? "the model looks as before" : `the model looks ${factor < 1 ? "wider" : "more narrowly"}`;
  const looks = `with AdaptVis ${how} (factor ${decimal(factor)})`;
  const areShort = greedy.text.length <= SHORT && adaptvis.text.length <= SHORT;
  if (greedy.text === adaptvis.text) {
    const text = areShort ? `“${greedy.text}”` : "the same";
    return `Both say ${text}${correct(greedy.text)}: ${looks}, and the answer stays${is(greedy.text) ? "" : neither}.`;
  }
  if (!areShort) return `The two answers differ: ${looks}.`;
  const end = is(greedy.text) || is(adaptvis.text) ? "" : neither;
  return `Greedy says “${greedy.text}”${correct(greedy.text)}; ${looks} and says “${adaptvis.text}”${correct(adaptvis.text)}${end}.`;
}

function capital(word: string): string {
  return word.charAt(0).toUpperCase() + word.slice(1);
}
