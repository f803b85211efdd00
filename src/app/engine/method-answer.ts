// Answers by any method of the registry, as the page asks for and shows them.
import type { Answer, AnswerOptions } from "../../answer.ts";
import { interventionNamed, type MethodName } from "../../interventions/registry.ts";
import type { Llava } from "../../llava.ts";
import type { MethodAnswerView, MethodChoice, MethodEvent } from "../protocol.ts";
import { answerView, describeStage } from "./question.ts";

/** Number of alternatives to a token that answers are compared by. */
const NUM_ALTERNATIVES = 20;

/** Callbacks of a run. */
export interface MethodRun {
  readonly onEvent: (event: MethodEvent) => void;
  readonly signal: AbortSignal;
}

/**
 * The library's options of a method. Its settings are checked where the prompt is known, with the answer.
 * @throws InputError when no method has the name.
 */
export function chosenMethod({ name, settings }: MethodChoice): Pick<AnswerOptions, "method" | "settings"> {
  return { method: interventionNamed(name).name as MethodName, settings }; // found in the registry
}

/** The options of an answer by a method, with its callbacks. @throws InputError as {@link chosenMethod}. */
export function methodOptions(
  method: MethodChoice,
  { onEvent, signal, maxNewTokens }: MethodRun & { readonly maxNewTokens: number },
): AnswerOptions {
  return {
    ...chosenMethod(method),
    maxNewTokens,
    onStage: (stage) => {
      const text = stage === "generate" ? "Answering" : describeStage(stage, undefined);
      onEvent({ kind: "stage", text });
    },
    onToken: ({ text }) => onEvent({ kind: "token", text }),
    signal,
  };
}

/** Number of alternatives of a model's tokens. */
export function numAlternatives({ config }: Llava): number {
  return Math.min(NUM_ALTERNATIVES, config.text.vocabSize);
}

/** An answer in the form that the page shows. */
export function methodView(model: Llava, answer: Answer, elapsedMs: number): MethodAnswerView {
  const { method, settings, promptTokens, reusedTokens, confidence } = answer;
  return answerView(answer, model.processor, { method, settings, promptTokens, reusedTokens, confidence, elapsedMs });
}
