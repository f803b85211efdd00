// From the engine's answers to what the page shows: plain arrays and probabilities instead of methods and logarithms.
import type { Answer } from "../../answer.ts";
import { InputError } from "../../errors.ts";
import type { Processor } from "../../preprocess/processor.ts";
import type { AnswerKind, AnswerView, AttentionView, ChosenTokenView, TokenView } from "../protocol.ts";

/** What a view holds that the answer does not know. */
export interface AnswerFacts {
  readonly kind: AnswerKind;
  readonly confidence: number;
  readonly elapsedMs: number;
}

/** An answer as the page shows it. */
export function answerView(answer: Answer, processor: Processor, facts: AnswerFacts): AnswerView {
  const spelling = new Spelling(processor);
  const view = ({ tokenId, logProb }: { readonly tokenId: number; readonly logProb: number }): TokenView => ({
    tokenId,
    text: spelling.of(tokenId),
    probability: Math.exp(logProb),
  });
  return {
    ...facts,
    text: answer.text.trim(),
    tokens: answer.tokens.map((token): ChosenTokenView => ({ ...view(token), alternatives: token.top.map(view) })),
    finishReason: answer.finishReason,
    factor: answer.factor,
    attention: attentionView(answer),
  };
}

/** Attention of the pass that gave the answer; undefined without a picture or for one of several tiles. */
function attentionView(answer: Answer): AttentionView | undefined {
  const { attention } = answer;
  const [start, end] = answer.imageSpan;
  if (attention === undefined || start === end) return undefined;
  const { numLayers, numHeads } = attention;
  try {
    const { width, height } = attention.used();
    const values = new Float32Array(numLayers * numHeads * width * height);
    const shares = new Float32Array(numLayers * numHeads);
    for (let layer = 0; layer < numLayers; layer++) {
      for (let head = 0; head < numHeads; head++) {
        const map = attention.used({ layer, head });
        const row = layer * numHeads + head;
        values.set(map.values, row * width * height);
        shares[row] = map.share;
      }
    }
    return { numLayers, numHeads, gridWidth: width, gridHeight: height, values, shares };
  } catch (error) {
    if (error instanceof InputError) return undefined; // LLaVA-NeXT's tiles are no single grid
    throw error;
  }
}

/** Spells tokens alone: decoders drop the space before a first word, so each is decoded behind itself. */
class Spelling {
  private readonly processor: Processor;
  private readonly known = new Map<number, string>();

  constructor(processor: Processor) {
    this.processor = processor;
  }

  of(tokenId: number): string {
    const known = this.known.get(tokenId);
    if (known !== undefined) return known;
    const { tokenizer } = this.processor;
    const once = tokenizer.decode([tokenId], { skipSpecialTokens: false });
    const twice = tokenizer.decode([tokenId, tokenId], { skipSpecialTokens: false });
    const text = twice.startsWith(once) ? twice.slice(once.length) : once;
    this.known.set(tokenId, text);
    return text;
  }
}
