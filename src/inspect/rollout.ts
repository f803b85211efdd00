// Attention rollout of one row: the row vector times (A + I) / 2 of each layer, from the last to the first.
// Source: Abnar & Zuidema, arXiv 2005.00928, section 3; A is the mean over heads.

/** Rows of attention of one layer, as they are read. */
interface Rows {
  readonly layer: number;
  /** First position. */
  readonly start: number;
  readonly numRows: number;
  readonly numHeads: number;
  readonly numKeys: number;
  /** [numRows, numHeads, numKeys] f32 */
  readonly probs: Float32Array;
}

/** The rollout of one row, to which layers are added from the last to the first, each in any number of parts. */
export class RolledRow {
  /** What is rolled through the layers before. */
  private above: Float64Array<ArrayBuffer>;
  private current: Float64Array<ArrayBuffer>;
  private layer: number | undefined;

  /** @param row position of the row */
  constructor(row: number) {
    this.above = new Float64Array(row + 1);
    this.above[row] = 1;
    this.current = this.above;
  }

  /** Multiplies by rows of a layer; the first rows of another layer than before begin the next product. */
  add({ layer, start, numRows, numHeads, numKeys, probs }: Rows): void {
    if (layer !== this.layer) {
      this.above = this.current;
      this.current = new Float64Array(this.above.length);
      this.layer = layer;
    }
    const { above, current } = this;
    // All indices are in range: this is the innermost loop of every row and head.
    for (let row = 0; row < numRows; row++) {
      const weight = above[start + row] as number;
      if (weight === 0) continue;
      current[start + row] = (current[start + row] as number) + weight / 2;
      for (let head = 0; head < numHeads; head++) {
        const from = (row * numHeads + head) * numKeys;
        const part = weight / (2 * numHeads);
        for (let key = 0; key <= start + row; key++) {
          current[key] = (current[key] as number) + part * (probs[from + key] as number);
        }
      }
    }
  }

  /** [row + 1]: the share of the row that comes from each position. */
  values(): Float64Array<ArrayBuffer> {
    return this.current;
  }
}
