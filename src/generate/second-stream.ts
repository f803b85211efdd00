// A second stream beside the one that tokens are generated in: it takes the same tokens, and its logits change the first's.
import { InputError } from "../errors.ts";
import type { Executor } from "../gpu/executor.ts";
import type { ModelInputs } from "../models/inputs.ts";
import type { Sequence } from "./sequence.ts";
import type { LogitsChange } from "./token-picker.ts";

/** A prefilled sequence and what its logits do; the sequence stays its maker's to release. */
export class SecondStream implements LogitsChange {
  readonly sequence: Sequence;
  private readonly promptLength: number;
  private readonly options: {
    readonly combine: (logits: Float32Array, other: Float32Array, index: number) => void;
    readonly executor: Executor;
    readonly signal: AbortSignal | undefined;
  };

  /**
   * @param promptLength of the second stream's prompt, in positions
   * @param options.combine changes the first stream's logits [V] in place, given the second's and the token's index
   */
  constructor(sequence: Sequence, promptLength: number, options: SecondStream["options"]) {
    this.sequence = sequence;
    this.promptLength = promptLength;
    this.options = options;
  }

  /** As {@link LogitsChange.apply}. */
  async apply(logits: Float32Array<ArrayBuffer>, index: number): Promise<void> {
    this.options.combine(logits, await this.sequence.chooser.readLogits(), index);
  }

  /** As {@link LogitsChange.step}. */
  async step(tokenId: number, index: number): Promise<void> {
    const { executor, signal } = this.options;
    const stage = `decode step ${index + 1} of the second stream`;
    await this.sequence.step([tokenId], this.promptLength + index, { executor, signal, stage });
  }
}

/** Pixel values in place of those of the picture `index`; as many. */
export type ChangePixels = (pixelValues: Float32Array<ArrayBuffer>, index: number) => Float32Array<ArrayBuffer>;

/**
 * The prompt of a second stream: with changed pictures, or without any where there is no `changed`.
 * @throws InputError when `changed` returns another number of pixel values.
 */
export function secondPrompt(inputs: ModelInputs, changed: ChangePixels | undefined): ModelInputs {
  const { inputIds, images } = inputs;
  if (changed === undefined) {
    const runs = images.flatMap((image) => image.runs);
    const isText = (_: number, position: number) => !runs.some(([start, end]) => position >= start && position < end);
    return { inputIds: inputIds.filter(isText), images: [] };
  }
  const others = images.map((image, index) => {
    const pixelValues = changed(image.pixelValues, index);
    const [expected, got] = [image.pixelValues.length, pixelValues.length];
    if (got === expected) return { ...image, pixelValues };
    throw new InputError(`contrast: changed must return ${expected} pixel values for picture ${index}, got ${got}.`);
  });
  return { ...inputs, images: others };
}
