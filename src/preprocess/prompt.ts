// Where pictures and videos go in the token ids: an `<image>` id becomes as many positions as its picture has features.

import { InputError } from "../errors.ts";

/** What {@link expandImageTokens} needs to know. */
export interface ExpandOptions {
  /** config.json's image_token_id or video_token_id (older: with _index); undefined for a text-only model. */
  readonly tokenId: number | undefined;
  /** What the token stands for, for error messages. Default: `image`. */
  readonly kind?: "image" | "video" | undefined;
  /** For each picture, the lengths of its runs of image positions; a video counts as one picture with one run. */
  readonly pictures: readonly (readonly number[])[];
  /** Positions the decoder has (max_position_embeddings). */
  readonly contextLength: number;
  /** Entries of the embedding table; ids outside it are refused. */
  readonly vocabSize?: number;
}

/**
 * Makes room for pictures: each `<image>` becomes the positions of the next picture; ids that already contain exactly these runs,
 * as a Hugging Face processor makes them, stay unchanged. Where they are then, {@link tokenRuns} says.
 * @returns [T], the token at every position of a picture
 * @throws InputError when the prompt is empty, has another number of `<image>` than pictures, has runs of other lengths, contains an
 * id outside the vocabulary, or is longer than the context.
 */
export function expandImageTokens(ids: ArrayLike<number>, options: ExpandOptions): Int32Array<ArrayBuffer> {
  const { tokenId, pictures, contextLength } = options;
  if (ids.length === 0) throw new InputError("The prompt is empty: give at least one token of text.");
  checkIds(ids, options);

  const lengths = pictures.flat();
  const numImage = lengths.reduce((sum, length) => sum + length, 0);
  const numFound = Array.from(ids).filter((id) => id === tokenId).length;
  const isExpanded = numFound === numImage;
  const isOneEach = numFound === pictures.length && pictures.every((runs) => runs.length === 1);
  if (!isExpanded && !isOneEach) throw wrongCount(numFound, options);
  const numText = ids.length - numFound;
  if (numText + numImage > contextLength) {
    const parts = numImage > 0 ? ` (${numText} of text, ${numImage} of ${pictureCount(options)})` : "";
    const advice =
      numImage < contextLength
        ? "shorten the text"
        : options.kind === "video"
          ? "give fewer frames"
          : "give fewer or smaller pictures";
    throw new InputError(
      `The prompt has ${numText + numImage} tokens${parts}, but the model's context has ${contextLength}: ${advice}.`,
    );
  }

  const inputIds = new Int32Array(numText + numImage);
  let [target, run] = [0, 0];
  for (let index = 0; index < ids.length; ) {
    const id = Number(ids[index]);
    const length = id === tokenId ? lengths[run] : undefined;
    if (length === undefined) {
      inputIds[target++] = id;
      index++;
      continue;
    }
    const numIds = isExpanded ? length : 1;
    for (let i = index; i < index + numIds; i++) if (ids[i] !== tokenId) throw wrongCount(numFound, options);
    inputIds.fill(id, target, target + length);
    run++;
    target += length;
    index += numIds;
  }
  return inputIds;
}

/** The runs [start, end) of each picture in ids that {@link expandImageTokens} made: the lengths are those of its options. */
export function tokenRuns(
  inputIds: Int32Array,
  { tokenId, pictures }: Pick<ExpandOptions, "tokenId" | "pictures">,
): readonly (readonly (readonly [start: number, end: number])[])[] {
  let next = 0;
  return pictures.map((lengths) =>
    lengths.map((length) => {
      while (inputIds[next] !== tokenId) next++;
      next += length;
      return [next - length, next] as const;
    }),
  );
}

function wrongCount(numFound: number, options: ExpandOptions): InputError {
  const { tokenId, pictures, kind = "image" } = options;
  const [id, noun] = [`(id ${tokenId})`, kind === "image" ? "picture" : "video"];
  if (pictures.length === 0) {
    return new InputError(`The prompt has ${numFound} ${kind} token(s) ${id}, but there is no ${noun}: give one.`);
  }
  const each = pictures.length === 1 ? "once" : `${pictures.length} times, once for each ${noun}`;
  const tokens = numFound === 1 ? `${kind} token` : `${kind} tokens`;
  const lengths = pictures.flat();
  const whole =
    lengths.length === 1
      ? `one unbroken run of exactly ${lengths[0]}`
      : `unbroken runs of exactly ${lengths.join(", ")} in this order`;
  const have = numFound === 0 ? `no ${kind} token ${id}` : `${numFound} ${tokens} ${id}`;
  return new InputError(
    `The prompt has ${have} for ${pictureCount(options)}: write <${kind}> ${each}, or give ${whole}.`,
  );
}

function pictureCount({ pictures: { length }, kind = "image" }: ExpandOptions): string {
  const noun = kind === "image" ? "picture" : "video";
  return length === 1 ? `one ${noun}` : `${length} ${noun}s`;
}

function checkIds(ids: ArrayLike<number>, { tokenId, vocabSize }: ExpandOptions): void {
  const end = vocabSize ?? 2 ** 31;
  for (let index = 0; index < ids.length; index++) {
    const id = Number(ids[index]);
    if (id === tokenId || (Number.isInteger(id) && id >= 0 && id < end)) continue;
    throw new InputError(`The prompt's token ${index} is ${ids[index]}: expected an integer from 0 to ${end - 1}.`);
  }
}
