// Which prompt positions' keys and values may be used again: a second question about the same picture starts after it.

/** A prompt as far as the cache is concerned. */
export interface PrefixKey {
  /** [T] expanded ids */
  readonly inputIds: Int32Array;
  /** Image positions [start, end); [0, 0) without a picture */
  readonly imageSpan: readonly [start: number, end: number];
  /** [N, C, S, S] */
  readonly pixelValues: Float32Array | undefined;
  /** Feature row of each image position */
  readonly imageRowIndex: Int32Array;
}

/** Remembers what the key/value cache holds of the last prompt. */
export class PrefixCache {
  private held: { readonly key: PrefixKey; readonly numPositions: number } | undefined;

  /** Notes that positions [0, numPositions) of this prompt are in the cache, unscaled. */
  hold(key: PrefixKey, numPositions: number): void {
    // Copies: the caller may write its next picture into the same array.
    const { inputIds, imageSpan, pixelValues, imageRowIndex } = key;
    const copy = { imageSpan, inputIds: inputIds.slice(), imageRowIndex: imageRowIndex.slice() };
    this.held = { key: { ...copy, pixelValues: pixelValues?.slice() }, numPositions };
  }

  /** Forgets everything: the cache is about to be written or freed. */
  clear(): void {
    this.held = undefined;
  }

  /**
   * Positions at the start of a prompt that need not run again; at most T − 1, because the last row's logits are wanted.
   * The image counts as a whole: a prefix that ends within it is cut to what is before it.
   */
  reusable(key: PrefixKey): number {
    if (this.held === undefined) return 0;
    const { key: before, numPositions } = this.held;
    const longest = Math.min(numPositions, before.inputIds.length, key.inputIds.length - 1);
    let common = 0;
    while (common < longest && before.inputIds[common] === key.inputIds[common]) common++;
    const [imageStart, imageEnd] = key.imageSpan;
    if (imageEnd === imageStart || common <= imageStart) return common;
    return common >= imageEnd && isSamePicture(before, key) ? common : imageStart;
  }
}

function isSamePicture(a: PrefixKey, b: PrefixKey): boolean {
  return isSame(a.imageRowIndex, b.imageRowIndex) && isSame(a.pixelValues ?? [], b.pixelValues ?? []);
}

function isSame(a: ArrayLike<number>, b: ArrayLike<number>): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}
