// Which patches for which word: the attention of the rows that an answer's tokens were chosen from, over a picture.
import type { Answer, AnswerOptions } from "./answer.ts";
import { at, InputError } from "./errors.ts";
import { DEFAULT_MAX_NEW_TOKENS } from "./generate/stop.ts";
import {
  type AttentionMap,
  type AttentionProbs,
  attentionMap,
  type MapSelection,
  meanMap,
  middleLayer,
} from "./inspect/attention-map.ts";
import type { MappedImage } from "./inspect/picture-placement.ts";
import type { PlaceRead, PlaceValues } from "./inspect/places.ts";
import type { Llava } from "./llava.ts";
import type { ModelInputs } from "./models/inputs.ts";
import { listOf, readOptions, whole } from "./options.ts";

/** How an answer is made and which rows of it are read. */
export interface TokenAttentionOptions extends AnswerOptions {
  /** Layers that are read; the middle one unless given. (`layers` are those that a method acts on.) */
  readonly mapLayers?: readonly number[] | undefined;
  /**
   * Generated tokens, from 0, whose rows are read; all up to `maxNewTokens` unless given. On the GPU, each takes 8 bytes per
   * position, head and layer.
   */
  readonly tokens?: readonly number[] | undefined;
}

/** An answer, and the attention of the rows that its tokens were chosen from. */
export interface TokenAttention {
  readonly answer: Answer;
  /**
   * The map of some tokens, the mean over their rows: of one layer that was read (the first unless given), of one head or the mean
   * of all, over one picture.
   * @throws InputError for a token, layer, head or picture that was not read or does not exist.
   */
  map(tokens: readonly number[], selection?: MapSelection): AttentionMap;
}

/**
 * Answers, and reads the attention of the rows that tokens were chosen from: the last prompt row for token 0, the row of token
 * n − 1 for token n. `tokensOfWord` and `wordsOf` give the tokens of words.
 * @throws InputError for a bad option or layer; GpuError.
 */
export async function tokenAttention(
  model: Llava,
  inputs: ModelInputs,
  options: TokenAttentionOptions = {},
): Promise<TokenAttention> {
  const { mapLayers, tokens, ...asked } = options;
  const numbers = listOf(whole(0), "a list of whole numbers", 1);
  readOptions("tokenAttention", { mapLayers, tokens }, { mapLayers: numbers, tokens: numbers });
  return attentionOfTokens((of) => model.answer(inputs, of), {
    inputs,
    layers: mapLayers ?? [middleLayer(model.config.text.numHiddenLayers)],
    tokens: tokens ?? allTokens(model, inputs, asked),
    options: asked,
  });
}

/**
 * As {@link tokenAttention}, of any way to answer.
 * @param ask answers with the options that it is given
 * @param of.options of the answer, without places to read
 */
export async function attentionOfTokens(
  ask: (options: AnswerOptions) => Promise<Answer>,
  of: {
    readonly inputs: ModelInputs;
    readonly layers: readonly number[];
    readonly tokens: readonly number[];
    readonly options: AnswerOptions;
  },
): Promise<TokenAttention> {
  const { inputs, layers, options } = of;
  const { read = [] } = options;
  const first = inputs.inputIds.length - 1;
  const positions = of.tokens.map((token) => first + token);
  const reads = layers.flatMap((layer): readonly PlaceRead[] =>
    ["attention_scores", "attention_probs"].map((part) => ({ place: `layers.${layer}.${part}`, positions })),
  );
  const answer = await ask({ ...options, read: [...reads, ...read] });
  const rowsOfLayers = layers.map((layer, index) => {
    const [scores, probs] = [at(answer.reads, 2 * index), at(answer.reads, 2 * index + 1)];
    return { layer, scores, probs };
  });
  return {
    answer: { ...answer, reads: answer.reads.slice(reads.length) },
    map: (tokens, selection = {}) => {
      const image = pictureOf(inputs, selection);
      const { layer = at(layers, 0), head, without } = selection;
      const read = rowsOfLayers.find((rows) => rows.layer === layer);
      if (read === undefined)
        throw new InputError(`Layer ${layer} was not read: expected one of ${layers.join(", ")}.`);
      const numHeads = at(read.probs.shape, 1);
      const numTokens = answer.tokens.length;
      const maps = tokens.map((token) => {
        if (!of.tokens.includes(token) || token >= numTokens) {
          const known = of.tokens.filter((each) => each < numTokens).join(", ");
          throw new InputError(
            `The row of token ${token} was not read: expected one of ${known}, of ${numTokens} tokens.`,
          );
        }
        const row = { layer, scores: rowOf(read.scores, first + token), probs: rowOf(read.probs, first + token) };
        return attentionMap([row], image, { numHeads, selection: { layer, head, without } });
      });
      if (maps.length === 0) throw new InputError("A map needs at least one token.");
      return meanMap(maps);
    },
  };
}

/** Every token that an answer may have. */
function allTokens(model: Llava, { inputIds }: ModelInputs, options: AnswerOptions): readonly number[] {
  const { maxNewTokens = DEFAULT_MAX_NEW_TOKENS } = options;
  const room = model.config.text.maxPositionEmbeddings - inputIds.length + 1; // the last token is not run
  return Array.from({ length: Math.min(maxNewTokens, room) }, (_, token) => token);
}

/** [H, S] of one position that was read. */
function rowOf({ positions = [], shape, data }: PlaceValues, position: number): AttentionProbs["probs"] {
  const length = data.length / at(shape, 0);
  const start = positions.indexOf(position) * length;
  return data.subarray(start, start + length);
}

function pictureOf({ images }: ModelInputs, { image = 0 }: MapSelection): MappedImage {
  const chosen = images[image];
  if (chosen !== undefined) return chosen;
  throw new InputError(`image must be a whole number below ${images.length}, the pictures asked about, got ${image}.`);
}
