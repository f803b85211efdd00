// The rotary positions of one sequence: a prompt's own, then one more for each generated token.
import type { TextConfig } from "../models/config.ts";
import { type Rotation, rotaryRows, rotatedLength, rotationOf } from "../models/layers/rope.ts";
import type { Prompt } from "./prompt.ts";

/** What rows at any slots of a prompt and of its answer are rotated by. */
export class RotaryPositions {
  private readonly text: Pick<TextConfig, "rope" | "headDim">;
  private readonly promptLength: number;
  /** [T] of the prompt; undefined where positions are the slots. */
  private readonly positions: Int32Array | undefined;
  /** Behind the last of {@link positions}. */
  private readonly end: number;
  private rotation: Rotation | undefined;

  constructor(text: Pick<TextConfig, "rope" | "headDim">, { inputIds, positions }: Prompt) {
    this.text = text;
    this.promptLength = inputIds.length;
    this.positions = positions?.slice();
    this.end = positions === undefined ? inputIds.length : endPosition(positions);
  }

  /** As of {@link rotatedLength}, of the prompt's rows. */
  get promptRotatedLength(): number {
    return rotatedLength(this.text.rope, this.end);
  }

  /** Cosines and sines [R, headDim] of R rows that follow each other from a slot on, all of the prompt or all generated. */
  rowsFrom(slotStart: number, numRows: number): Float32Array<ArrayBuffer> {
    const positions = Array.from({ length: numRows }, (_, row) => this.positionOf(slotStart + row));
    return rotaryRows(positions, this.rotationAt(slotStart));
  }

  private positionOf(slot: number): number {
    if (this.positions === undefined) return slot;
    return this.positions[slot] ?? this.end + slot - this.positions.length;
  }

  /** A prompt's rows are rotated for its whole length, a generated one for the length up to it. */
  private rotationAt(slot: number): Rotation {
    const { rope, headDim } = this.text;
    const isPrompt = slot < this.promptLength;
    const length = isPrompt ? this.promptRotatedLength : rotatedLength(rope, this.positionOf(slot) + 1);
    if (this.rotation?.length !== length) this.rotation = rotationOf(rope, { headDim, length });
    return this.rotation;
  }
}

function endPosition(positions: Int32Array): number {
  return positions.reduce((end, position) => Math.max(end, position + 1), 0);
}
