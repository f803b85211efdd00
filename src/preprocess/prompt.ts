// Where pictures go in the token ids: an `<image>` id becomes as many positions as its picture has features.

import { InputError } from "../errors.ts";

/** What {@link expandImageTokens} needs to know. */
export interface ExpandOptions {
  /** config.json's image_token_id (older: image_token_index); undefined for a text-only model. */
  readonly imageTokenId: number | undefined;
  /** Lengths of each picture's runs of image positions. */
  readonly pictures: readonly (readonly number[])[];
  /** Positions the decoder has (max_position_embeddings). */
  readonly contextLength: number;
  /** Entries of the embedding table; ids outside it are refused. */
  readonly vocabSize?: number;
}

/** The ids the decoder runs on, and the pictures' positions in them. */
export interface ExpandedPrompt {
  /** [T], the image token at every image position */
  readonly inputIds: Int32Array<ArrayBuffer>;
  /** The runs [start, end) of each picture. */
  readonly runs: readonly (readonly (readonly [start: number, end: number])[])[];
}

/**
 * Makes room for pictures: each `<image>` becomes the positions of the next picture; ids that already contain exactly these runs,
 * as a Hugging Face processor makes them, stay unchanged.
 * @throws InputError when the prompt is empty, has another number of `<image>` than pictures, has runs of other lengths, contains an
 * id outside the vocabulary, or is longer than the context.
 */
export function expandImageTokens(ids: ArrayLike<number>, options: ExpandOptions): ExpandedPrompt {
  const { imageTokenId, pictures, contextLength } = options;
  if (ids.length === 0) throw new InputError("The prompt is empty: give at least one token of text.");
  checkIds(ids, options);

  const lengths = pictures.flat();
  const numImage = lengths.reduce((sum, length) => sum + length, 0);
  const numFound = Array.from(ids).filter((id) => id === imageTokenId).length;
  const isExpanded = numFound === numImage;
  const isOneEach = numFound === pictures.length && pictures.every((runs) => runs.length === 1);
  if (!isExpanded && !isOneEach) throw wrongCount(numFound, options);
  const numText = ids.length - numFound;
  if (numText + numImage > contextLength) {
    const parts = numImage > 0 ? ` (${numText} of text, ${numImage} of ${pictureCount(pictures.length)})` : "";
    throw new InputError(
      `The prompt has ${numText + numImage} tokens${parts}, but the model's context has ${contextLength}: shorten the text.`,
    );
  }

  const inputIds = new Int32Array(numText + numImage);
  const flat: (readonly [number, number])[] = [];
  let target = 0;
  for (let index = 0; index < ids.length; ) {
    const id = Number(ids[index]);
    const length = id === imageTokenId ? lengths[flat.length] : undefined;
    if (length === undefined) {
      inputIds[target++] = id;
      index++;
      continue;
    }
    const numIds = isExpanded ? length : 1;
    for (let i = index; i < index + numIds; i++) if (ids[i] !== imageTokenId) throw wrongCount(numFound, options);
    inputIds.fill(id, target, target + length);
    flat.push([target, target + length]);
    target += length;
    index += numIds;
  }
  const runs = pictures.map((own) => flat.splice(0, own.length));
  return { inputIds, runs };
}

function wrongCount(numFound: number, { imageTokenId, pictures }: ExpandOptions): InputError {
  const id = `(id ${imageTokenId})`;
  if (pictures.length === 0) {
    return new InputError(`The prompt has ${numFound} image token(s) ${id}, but there is no picture: give one.`);
  }
  const each = pictures.length === 1 ? "once" : `${pictures.length} times, once for each picture`;
  const tokens = numFound === 1 ? "image token" : "image tokens";
  const lengths = pictures.flat();
  const whole =
    lengths.length === 1
      ? `one unbroken run of exactly ${lengths[0]}`
      : `unbroken runs of exactly ${lengths.join(", ")} in this order`;
  const have = numFound === 0 ? `no image token ${id}` : `${numFound} ${tokens} ${id}`;
  return new InputError(
    `The prompt has ${have} for ${pictureCount(pictures.length)}: write <image> ${each}, or give ${whole}.`,
  );
}

function pictureCount(count: number): string {
  return count === 1 ? "one picture" : `${count} pictures`;
}

function checkIds(ids: ArrayLike<number>, { imageTokenId, vocabSize }: ExpandOptions): void {
  const end = vocabSize ?? 2 ** 31;
  for (let index = 0; index < ids.length; index++) {
    const id = Number(ids[index]);
    if (id === imageTokenId || (Number.isInteger(id) && id >= 0 && id < end)) continue;
    throw new InputError(`The prompt's token ${index} is ${ids[index]}: expected an integer from 0 to ${end - 1}.`);
  }
}
