// Direct logit attribution: the residual stream at one row is the sum of what the embedding, every attention head and every MLP
// wrote to it. The final norm divides it by one number; with that number fixed, a token's logit is the sum of what each part adds.
// https://transformer-circuits.pub/2021/framework/index.html#zero-layer-transformers
import type { Answer, AnswerOptions } from "./answer.ts";
import { attributionOptions, modelInputs } from "./check-arguments.ts";
import { at, InputError, shown } from "./errors.ts";
import { positionsOf, type ReadContext } from "./inspect/read-expression.ts";
import { readContext } from "./inspect/read-trace.ts";
import { TokenTexts } from "./inspect/token-texts.ts";
import type { Llava } from "./llava.ts";
import type { ModelInputs } from "./models/inputs.ts";

/** Which logit is divided, and the options of the answer whose run it comes from; `maxNewTokens` is 1 unless given. */
export interface AttributionOptions extends Omit<AnswerOptions, "read"> {
  /**
   * The row that gives the logit: a position, or a text that names one, such as `last` or `"ball"`. The last prompt position
   * unless given; row T of a prompt of T positions is that of the first generated token, and chooses the second.
   */
  readonly position?: number | string | undefined;
  /**
   * The token, as an id or as a text of one token; the row's most probable one unless given. Of `Left` with and without a space
   * before it, the one that is more probable is taken; `" Left"` is taken literally.
   */
  readonly token?: number | string | undefined;
  /** The logit of this token is subtracted. */
  readonly against?: number | string | undefined;
}

/** What a part of the model adds to the logit. */
export interface LogitPart {
  /** `attention-bias` is o_proj's bias, of models that have one. */
  readonly kind: "embedding" | "head" | "attention-bias" | "mlp";
  /** Undefined for the embedding. */
  readonly layer: number | undefined;
  /** Undefined but for heads. */
  readonly head: number | undefined;
  readonly value: number;
}

/** A token, for people. */
export interface AttributedToken {
  readonly tokenId: number;
  /** Undefined without a tokenizer. */
  readonly text: string | undefined;
}

/** A logit and the parts that it is the sum of. */
export interface Attribution {
  readonly answer: Answer;
  readonly position: number;
  readonly token: AttributedToken;
  readonly against: AttributedToken | undefined;
  /** The token's logit as the model computes it, or the difference of the two; before a contrast such as VCD's. */
  readonly logit: number;
  /** What the final norm divides the row by. */
  readonly scale: number;
  /** In the order in which they are added to the residual stream. */
  readonly parts: readonly LogitPart[];
  /** Of the parts; it differs from `logit` by rounding. */
  readonly sum: number;
}

/**
 * Answers, and divides the logit of a token, or the difference of two tokens' logits, into what the embedding, each head and each
 * MLP add to it.
 * @throws InputError for a bad option, a token or position that does not exist, or a model with `activationDtype` q8; AbortError;
 *   GpuError.
 */
export async function attributeLogit(
  model: Llava,
  inputs: ModelInputs,
  options: AttributionOptions = {},
): Promise<Attribution> {
  const { position = "last", token: givenToken, against: givenAgainst, ...asked } = attributionOptions(options);
  const checked = modelInputs(inputs, model);
  if (model.activationDtype !== "f32") {
    throw new InputError(
      "Heads cannot be attributed where decode steps round the input of o_proj to 8 bits: load the model with activationDtype f32 (--activations f32).",
    );
  }
  const { numHiddenLayers, numAttentionHeads, outputBias } = model.config.text;
  const row = rowOf(position, readContext(model, checked, asked.maxNewTokens ?? 1));
  const candidates = givenToken === undefined ? undefined : candidatesOf(model, "token", givenToken);
  const rivals = givenAgainst === undefined ? undefined : candidatesOf(model, "against", givenAgainst);
  const layers = Array.from({ length: numHiddenLayers }, (_, layer) => layer);
  const places = ["inputs_embeds", "norm.scale", `layers.${numHiddenLayers - 1}.hidden_states`].concat(
    ...layers.map((layer) =>
      ["head_outputs", "attention_output", "mlp_output"].map((part) => `layers.${layer}.${part}`),
    ),
  );
  const read = places.map((place) => ({ place, positions: [row] }));
  const answer = await model.answer(checked, { maxNewTokens: 1, ...asked, read });
  if (answer.reads[0]?.positions?.length === 0) {
    throw new InputError(`position: the answer ended before row ${row} was run; choose an earlier row.`);
  }
  const values = new Map(answer.reads.map(({ place, data }) => [place, data]));
  const rowsOf = (place: string) => values.get(place) ?? new Float32Array();

  const logits = await model.logits(rowsOf(`layers.${numHiddenLayers - 1}.hidden_states`));
  const mostProbable = (ids: Iterable<number>) => [...ids].reduce((a, b) => (at(logits, b) > at(logits, a) ? b : a));
  const tokenId = mostProbable(candidates ?? logits.keys());
  const against = rivals && mostProbable(rivals);
  const directions = await model.tokenDirections(against === undefined ? [tokenId] : [tokenId, against]);
  const scale = at(rowsOf("norm.scale"), 0);
  const direction = Float64Array.from({ length: model.config.text.hiddenSize }, (_, column) => {
    return (
      (at(directions, column) - (against === undefined ? 0 : at(directions, directions.length / 2 + column))) / scale
    );
  });

  const parts: LogitPart[] = [
    { kind: "embedding", layer: undefined, head: undefined, value: dot(rowsOf("inputs_embeds"), direction) },
  ];
  for (const layer of layers) {
    const heads = rowsOf(`layers.${layer}.head_outputs`);
    const width = heads.length / numAttentionHeads;
    const shares = Array.from({ length: numAttentionHeads }, (_, head) =>
      dot(heads.subarray(head * width, (head + 1) * width), direction),
    );
    for (const [head, value] of shares.entries()) parts.push({ kind: "head", layer, head, value });
    if (outputBias) {
      const whole = dot(rowsOf(`layers.${layer}.attention_output`), direction);
      const value = shares.reduce((rest, share) => rest - share, whole);
      parts.push({ kind: "attention-bias", layer, head: undefined, value });
    }
    parts.push({ kind: "mlp", layer, head: undefined, value: dot(rowsOf(`layers.${layer}.mlp_output`), direction) });
  }
  const texts = model.processor.hasTokenizer ? new TokenTexts(model.processor.tokenizer) : undefined;
  const named = (id: number) => ({ tokenId: id, text: texts?.of(id) });
  return {
    answer,
    position: row,
    token: named(tokenId),
    against: against === undefined ? undefined : named(against),
    logit: at(logits, tokenId) - (against === undefined ? 0 : at(logits, against)),
    scale,
    parts,
    sum: parts.reduce((sum, { value }) => sum + value, 0),
  };
}

/** The one position that a number or text stands for. */
function rowOf(wanted: number | string, context: ReadContext): number {
  const [row, ...others] = positionsOf(String(wanted), context, "position");
  if (row !== undefined && others.length === 0) return row;
  const known =
    row === undefined ? "" : ` (${[row, ...others].slice(0, 8).join(", ")}${others.length > 7 ? ", …" : ""})`;
  throw new InputError(`position: expected one row, got ${others.length + 1} with ${shown(wanted)}${known}.`);
}

/**
 * The ids that a token may have: a text without a space before it may be a token both with and without one.
 * @throws InputError for an id outside of the vocabulary, or a text of several tokens.
 */
function candidatesOf({ config, processor }: Llava, name: string, token: number | string): readonly number[] {
  const { vocabSize } = config.text;
  if (typeof token === "number") {
    if (token < vocabSize) return [token];
    throw new InputError(`${name} must be an id from 0 to ${vocabSize - 1} or a text, got ${token}.`);
  }
  if (!processor.hasTokenizer) {
    throw new InputError(
      `${name}: the checkpoint has no tokenizer, so that texts have no ids: give the id of a token, in the command as #12.`,
    );
  }
  const found = [token, ` ${token}`].flatMap((text) => {
    const ids = processor.continuationTokens(text);
    return ids.length === 1 ? ids : [];
  });
  if (found.length > 0) return found;
  const numTokens = processor.continuationTokens(token).length;
  throw new InputError(
    `${name} must be a text of one token, such as the first of an answer, got ${shown(token)} of ${numTokens} tokens.`,
  );
}

function dot(row: Float32Array, direction: Float64Array): number {
  return row.reduce((sum, value, column) => sum + value * at(direction, column), 0);
}
