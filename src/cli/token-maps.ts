// The attention of an answer's tokens: the answer is made again up to the last of them, with their rows read.
import type { Answer, AnswerOptions } from "../answer.ts";
import { InputError } from "../errors.ts";
import type { GeneratedToken } from "../generate/generate.ts";
import type { ModelInputs } from "../models/inputs.ts";
import { attentionOfTokens, type TokenAttention } from "../token-attention.ts";

/**
 * Reads the rows of some tokens of an answer that was made before.
 * @param ask answers the same question with the options that it is given
 * @throws InputError when the answer comes out differently.
 */
export async function repeatedRows(
  ask: (options: AnswerOptions) => Promise<Answer>,
  of: {
    readonly inputs: ModelInputs;
    readonly answered: readonly Pick<GeneratedToken, "tokenId">[];
    /** Indices in `answered`, at least one. */
    readonly tokens: readonly number[];
    readonly layers: readonly number[];
    /** Those of the answer. */
    readonly options: AnswerOptions;
  },
): Promise<TokenAttention> {
  const { answered, tokens } = of;
  const numTokens = Math.max(...tokens) + 1;
  const options = { ...of.options, maxNewTokens: numTokens };
  const repeated = await attentionOfTokens(ask, { ...of, options });
  const isSame = answered
    .slice(0, numTokens)
    .every(({ tokenId }, index) => repeated.answer.tokens[index]?.tokenId === tokenId);
  if (isSame) return repeated;
  throw new InputError("The answer came out differently when it was made again: ask again, and then for its map.");
}
