// Attention of all rows, layer by layer: too much to be read at once, so the answer is made again for every part that fits.
import type { Answer, AnswerOptions } from "./answer.ts";
import { at, InputError } from "./errors.ts";
import type { TextConfig } from "./models/config.ts";

/** Bytes on the GPU that the rows of one run may take unless given. */
export const DEFAULT_ROW_BYTES = 256 * 2 ** 20;

/** Rows of one layer: [rows, H, S] f32, zero after a row's own position, of positions from `start` on. */
export interface LayerRows {
  readonly layer: number;
  readonly start: number;
  readonly numRows: number;
  readonly numHeads: number;
  /** Keys S of each row. */
  readonly numKeys: number;
  readonly probs: Float32Array<ArrayBuffer>;
}

/** What is read, and with how much memory. */
export interface AllRows {
  readonly text: TextConfig;
  /** Rows from the prompt's first to behind the last. */
  readonly numRows: number;
  /** Layers in the order in which they are wanted. */
  readonly layers: readonly number[];
  /** Largest buffer of the device. */
  readonly maxBufferBytes: number;
  readonly maxBytes?: number | undefined;
  /** Those of the answer; `maxNewTokens` reaches the last row. */
  readonly options: AnswerOptions;
}

/**
 * Reads the attention of rows 0 to `numRows` − 1. On the GPU a layer takes 8 · rows · heads · rows bytes (scores and probabilities, f32),
 * and as many layers are read per run as fit into `maxBytes`; of a layer that does not fit, its rows are read in parts.
 * @param ask answers with the options that it is given
 * @param visit is called with the parts of each layer in turn
 * @throws InputError when not even one row fits.
 */
export async function eachLayerOfRows(
  ask: (options: AnswerOptions) => Promise<Answer>,
  of: AllRows,
  visit: (rows: LayerRows) => void,
): Promise<void> {
  const { text, numRows, layers, maxBytes = DEFAULT_ROW_BYTES, options } = of;
  const bytesOfRow = 4 * text.numAttentionHeads * numRows; // one of the two buffers
  const rowsPerRun = Math.min(numRows, Math.floor(Math.min(maxBytes / 2, of.maxBufferBytes) / bytesOfRow));
  if (rowsPerRun < 1) {
    throw new InputError(
      `Reading the attention of one row of ${numRows} positions takes ${2 * bytesOfRow} bytes, and ${maxBytes} are allowed: give maxBytes of at least that.`,
    );
  }
  const layersPerRun = rowsPerRun < numRows ? 1 : Math.max(1, Math.floor(maxBytes / (2 * bytesOfRow * numRows)));
  for (let first = 0; first < layers.length; first += layersPerRun) {
    const together = layers.slice(first, first + layersPerRun);
    for (let start = 0; start < numRows; start += rowsPerRun) {
      const positions = range(start, Math.min(rowsPerRun, numRows - start));
      const read = together.map((layer) => ({ place: `layers.${layer}.attention_probs`, positions }));
      const { reads } = await ask({ ...options, attention: false, read });
      for (const [index, layer] of together.entries()) {
        const { data, shape } = at(reads, index);
        const [rows = 0, numHeads = 0, numKeys = 0] = shape;
        if (rows < positions.length) {
          throw new InputError(`The answer ended before row ${start + rows}: expected ${numRows} rows.`);
        }
        visit({ layer, start, numRows: rows, numHeads, numKeys, probs: data });
      }
    }
  }
}

function range(start: number, length: number): readonly number[] {
  return Array.from({ length }, (_, index) => start + index);
}
