// Warns when a whole prompt does not have the form of the checkpoint's chat template.
import { CheckpointError, InputError } from "../errors.ts";
import type { Llava } from "../llava.ts";
import type { QuestionFlags } from "./flags.ts";
import type { Session } from "./session.ts";

/** Stands for the question while the template's own text is looked for. */
const MARK = "\u2062question\u2062";

/** Mentions, on stderr, that a `--prompt` differs from what the checkpoint's chat template makes of a question. */
export function notePromptForm(
  session: Session,
  { processor }: Llava,
  { prompt, image = [], video }: QuestionFlags,
): void {
  if (prompt === undefined) return;
  let rendered: string;
  try {
    rendered = processor.chatPrompt(MARK, video === true ? { numVideos: 1 } : { numImages: image.length });
  } catch (error) {
    // Without a template, or with one that does not take this many pictures, any form may be right.
    if (error instanceof CheckpointError || error instanceof InputError) return;
    throw error;
  }
  const [before, after] = rendered.split(MARK);
  if (before === undefined || after === undefined) return;
  if (prompt.startsWith(before) && prompt.endsWith(after)) return;
  const form = JSON.stringify(`${before}QUESTION${after}`);
  session.note(
    `adaptvis: --prompt does not have the form of the checkpoint's chat template, ${form}, so that answers may differ: give the question alone, or this form.`,
  );
}
