// Where the picture goes in the token ids: the one `<image>` id becomes as many positions as the picture has features.

import { InputError } from "../errors.ts";

/** What {@link expandImageToken} has to know. */
export interface ExpandOptions {
  /** config.json's image_token_id (older: image_token_index). */
  readonly imageTokenId: number;
  /** Rows of image features that take the place of `<image>`; 0 when there is no picture. */
  readonly imageTokenCount: number;
  /** Positions the decoder has (max_position_embeddings). */
  readonly contextLength: number;
  /** Entries of the embedding table; ids outside of it are refused. */
  readonly vocabSize?: number;
}

/** The ids the decoder runs on, and the image's span in them. */
export interface ExpandedPrompt {
  /** [T], the image token repeated imageTokenCount times. */
  readonly inputIds: Int32Array<ArrayBuffer>;
  /** The image's positions are [imageStart, imageEnd); 0 and 0 without a picture. */
  readonly imageStart: number;
  readonly imageEnd: number;
  /** Ids that are text: T − imageTokenCount. */
  readonly numText: number;
}

/**
 * Makes room for the picture: one `<image>` becomes imageTokenCount positions; ids that already hold exactly that run, as a
 * Hugging Face processor makes them, stay as they are.
 * @throws InputError when the prompt is empty, has no `<image>` or several, has a run of another length, holds an id outside
 * of the vocabulary, or is longer than the context.
 */
export function expandImageToken(ids: ArrayLike<number>, options: ExpandOptions): ExpandedPrompt {
  const { imageTokenId, imageTokenCount, contextLength } = options;
  if (ids.length === 0) throw new InputError("The prompt is empty: give at least one token of text.");
  checkIds(ids, options);

  const { start, end, numOutside } = findRun(ids, imageTokenId);
  const numFound = end - start + numOutside;
  if (imageTokenCount === 0) {
    if (numFound > 0) {
      throw new InputError(
        `The prompt has ${numFound} image token(s) (id ${imageTokenId}), but there is no picture: give one.`,
      );
    }
  } else if (numFound === 0) {
    throw new InputError(
      `The prompt has no image token (id ${imageTokenId}), but there is a picture: write <image> once.`,
    );
  } else if (numOutside > 0 || (numFound > 1 && numFound !== imageTokenCount)) {
    throw new InputError(
      `The prompt has ${numFound} image tokens (id ${imageTokenId}) for one picture: ` +
        `write <image> once, or give one unbroken run of exactly ${imageTokenCount}.`,
    );
  }

  const numText = ids.length - numFound;
  const length = numText + imageTokenCount;
  if (length > contextLength) {
    const parts = imageTokenCount > 0 ? ` (${numText} of text, ${imageTokenCount} of the picture)` : "";
    throw new InputError(
      `The prompt has ${length} tokens${parts}, but the model's context has ${contextLength}: shorten the text.`,
    );
  }

  const inputIds = new Int32Array(length);
  for (let index = 0; index < start; index++) inputIds[index] = Number(ids[index]);
  inputIds.fill(imageTokenId, start, start + imageTokenCount);
  for (let index = end; index < ids.length; index++)
    inputIds[start + imageTokenCount + index - end] = Number(ids[index]);
  return { inputIds, imageStart: start, imageEnd: start + imageTokenCount, numText };
}

function checkIds(ids: ArrayLike<number>, { imageTokenId, vocabSize }: ExpandOptions): void {
  const end = vocabSize ?? 2 ** 31;
  for (let index = 0; index < ids.length; index++) {
    const id = Number(ids[index]);
    if (id === imageTokenId || (Number.isInteger(id) && id >= 0 && id < end)) continue;
    throw new InputError(`The prompt's token ${index} is ${ids[index]}: expected an integer from 0 to ${end - 1}.`);
  }
}

/** The first unbroken run [start, end) of `id` (0 and 0 when there is none), and how often it occurs after that. */
function findRun(ids: ArrayLike<number>, id: number): { start: number; end: number; numOutside: number } {
  let start = 0;
  while (start < ids.length && ids[start] !== id) start++;
  if (start === ids.length) return { start: 0, end: 0, numOutside: 0 };
  let end = start;
  while (end < ids.length && ids[end] === id) end++;
  let numOutside = 0;
  for (let index = end; index < ids.length; index++) if (ids[index] === id) numOutside++;
  return { start, end, numOutside };
}
