// Places of a forward call: named points at which a run may read or write rows on the way. Names are those that programs
// give their calls, such as "layers.3.mlp.down_proj"; what lies there is the output of that call.
import type { ProgramCache } from "../../gpu/executor.ts";
import type { AttentionCapture } from "../../gpu/ops/attention.ts";
import type { Program } from "../../gpu/program.ts";

/** The rows that have just been computed at a place. */
export interface PlaceVisit {
  readonly place: string;
  /** [numRows, groups · padTo4(groupSize)] f32 */
  readonly buffer: GPUBuffer;
  /** Columns of a row: `groups` (heads, or 1) of `groupSize` values, each padded to a multiple of 4. */
  readonly groups: number;
  readonly groupSize: number;
  readonly numRows: number;
}

/** What one forward call is asked to read or write on the way; a call without it dispatches nothing more than it needs. */
export interface PlaceVisitor {
  /** Keeps the programs of decode steps, for a visitor that records the same at every position; without it, each is recorded anew. */
  readonly programs?: ProgramCache | undefined;
  /** Called when the rows of a place have been recorded; may record copies and calls behind them. */
  visit(program: Program, visit: PlaceVisit): void;
  /** Where a decoder layer's attention leaves the rows that are read; undefined when none are. */
  attention(layer: number): AttentionCapture | undefined;
}

/** What is read and written in all forward calls of one pass. */
export interface PlaceRequests {
  /** Where a chunk that begins at slot `first` has to end at the latest; at most `end`. */
  chunkEnd(first: number, end: number): number;
  /** The visitor of a call over slots [first, first + numRows); undefined where it touches none of the requested rows. */
  visitor(first: number, numRows: number): PlaceVisitor | undefined;
}
