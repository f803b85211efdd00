// The options that say which model is asked what: the picture, the question and the text around it.
import type { Command } from "commander";
import type { Question } from "../answer.ts";
import { addModelOptions, type ModelFlags } from "./model-flags.ts";
import { commandName } from "./package-folder.ts";
import { UsageError } from "./session.ts";
import { someText } from "./values.ts";

/** Options of the picture and the question, as parsed. */
export interface QuestionFlags extends PictureFlags {
  readonly prompt?: string;
  readonly system?: string;
}

/** Options of the model and the picture, as parsed. */
export interface PictureFlags extends ModelFlags {
  readonly image?: string;
  readonly exif: boolean;
}

/** Adds the question and its options. */
export function addQuestionOptions(command: Command): Command {
  return addPictureOptions(command.argument("[question]", "put into the model's chat template"))
    .option("--prompt <text>", "the whole prompt, <image> where the picture goes, instead of a question", someText)
    .option("--system <text>", "text before the question, where the chat template takes one");
}

/** Adds the options of the model and the picture. */
export function addPictureOptions(command: Command): Command {
  return addModelOptions(command, "a LLaVA checkpoint in Hugging Face's layout (default: the embedded tiny-spatial)")
    .option("--image <file>", "the picture: JPEG, PNG or WebP", someText)
    .option("--no-exif", "leave the picture as it is stored, without the camera's orientation");
}

/** The engine's words of a question. */
export function wordsOf(
  question: string | undefined,
  flags: QuestionFlags,
): Pick<Question, "question" | "prompt" | "system"> {
  return {
    ...(question !== undefined && { question }),
    ...(flags.prompt !== undefined && { prompt: flags.prompt }),
    ...(flags.system !== undefined && { system: flags.system }),
  };
}

/**
 * @param command the command's name, for the example in the message
 * @throws UsageError unless there is a question or a prompt, one of them, and words in it.
 */
export function checkWords(question: string | undefined, flags: QuestionFlags, command: string): void {
  if (question !== undefined && flags.prompt !== undefined) {
    throw new UsageError("There is a question and a --prompt: give one of them.");
  }
  const text = question ?? flags.prompt;
  if (text === undefined) {
    throw new UsageError(
      `There is no question: write it in quotes, such as ${commandName()} ${command} --image photo.jpg "What is in the picture?".`,
    );
  }
  if (text.trim() === "") throw new UsageError("The question is empty: give at least one word.");
}
