// How much attention every position receives, whatever the rows after it look for: the importance of Gu et al., arXiv 2410.10781:
// α(k) = 1 / (T − k) · Σ A[i, k] over rows i from k to T − 1.

/** Importance above which a token is a sink unless said otherwise (ε of the paper). */
export const SINK_THRESHOLD = 0.3;

/** Rows of attention of one layer, as they are read. */
interface Rows {
  readonly start: number;
  readonly numRows: number;
  readonly numHeads: number;
  readonly numKeys: number;
  /** [numRows, numHeads, numKeys] f32 */
  readonly probs: Float32Array;
}

/** The importance of every position in one layer, to which rows are added in any number of parts. */
export class Importance {
  private readonly sums: Float64Array<ArrayBuffer>;
  private readonly head: number | undefined;

  /** @param head undefined: the mean of all */
  constructor(numRows: number, head: number | undefined) {
    this.sums = new Float64Array(numRows);
    this.head = head;
  }

  /** Adds rows. */
  add({ start, numRows, numHeads, numKeys, probs }: Rows): void {
    const heads = this.head === undefined ? Array.from({ length: numHeads }, (_, head) => head) : [this.head];
    const { sums } = this;
    // All indices are in range: this is the innermost loop of every row and head.
    for (let row = 0; row < numRows; row++) {
      for (const head of heads) {
        const from = (row * numHeads + head) * numKeys;
        for (let key = 0; key <= start + row; key++) {
          sums[key] = (sums[key] as number) + (probs[from + key] as number) / heads.length;
        }
      }
    }
  }

  /** [rows]: the mean attention that each position receives, 0 to 1. */
  values(): Float64Array<ArrayBuffer> {
    return this.sums.map((sum, key) => sum / (this.sums.length - key));
  }
}
