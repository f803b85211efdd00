// The rotary positions of one sequence: a prompt's own, then one more for each generated token, whatever cache slots they have.
import type { TextConfig } from "../models/config.ts";
import { type RotaryPosition, type Rotation, rotaryRows, rotatedLength, rotationOf } from "../models/layers/rope.ts";
import { endPosition, numAxes, type Prompt } from "./prompt.ts";

/** What rows at any slots of a prompt and of its answer are rotated by. */
export class RotaryPositions {
  private readonly text: Pick<TextConfig, "rope" | "headDim">;
  private readonly promptLength: number;
  /** [T, axes] of the prompt; undefined where positions are the slots. */
  private readonly positions: Int32Array | undefined;
  private readonly axes: number;
  /** Behind the last position of the prompt. */
  private readonly end: number;
  private rotation: Rotation | undefined;

  constructor(text: Pick<TextConfig, "rope" | "headDim">, prompt: Prompt) {
    this.text = text;
    this.promptLength = prompt.inputIds.length;
    this.positions = prompt.positions?.slice();
    this.axes = numAxes(prompt);
    this.end = endPosition(prompt);
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

  private positionOf(slot: number): RotaryPosition {
    const { positions, axes } = this;
    if (slot >= this.promptLength) return this.generatedPosition(slot);
    if (positions === undefined) return slot;
    return axes === 1 ? Number(positions[slot]) : Array.from(positions.subarray(slot * axes, (slot + 1) * axes));
  }

  /** The same on every axis. */
  private generatedPosition(slot: number): number {
    return this.end + slot - this.promptLength;
  }

  /** A prompt's rows are rotated for its whole length, a generated one for the length up to it. */
  private rotationAt(slot: number): Rotation {
    const { rope, headDim } = this.text;
    const isPrompt = slot < this.promptLength;
    const length = isPrompt ? this.promptRotatedLength : rotatedLength(rope, this.generatedPosition(slot) + 1);
    if (this.rotation?.length !== length) this.rotation = rotationOf(rope, { headDim, length });
    return this.rotation;
  }
}
