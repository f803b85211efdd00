// Rows of one run that are replaced on the way: whole rows of a place, or one head's part of them. Each row of a batch has its own.
import { GPU_STORAGE, type Gpu } from "../gpu/device.ts";
import type { Program } from "../gpu/program.ts";
import { padTo4 } from "../gpu/tensor.ts";
import type { PlaceRequests, PlaceVisit, PlaceVisitor } from "../models/layers/places.ts";

/** Values that replace those of consecutive rows at a place. */
export interface RowWrite {
  /** As programs name it, such as "layers.3.mlp.down_proj". */
  readonly place: string;
  /** Position of the first row. */
  readonly position: number;
  readonly numRows: number;
  /** The head whose part of each row is replaced; the whole row unless given. */
  readonly head?: number | undefined;
  /** Values of a head, or of the whole row where the place has no heads. */
  readonly groupSize: number;
  /** [numRows, heads, groupSize] f32; one head where `head` is given. */
  readonly values: Float32Array;
}

/** A write whose values are on the GPU, padded as the places are. */
interface PlacedWrite extends RowWrite {
  readonly offset: number;
  readonly rowBytes: number;
}

/** The writes of one forward pass or of a batch of decode steps; to be disposed of. */
export class RowWrites implements PlaceRequests {
  private readonly gpu: Gpu;
  private readonly rows: readonly (readonly PlacedWrite[])[];
  private readonly isBatch: boolean;
  private readonly values: GPUBuffer;

  /**
   * @param rows the writes of each batch row, or of the one sequence
   * @param isBatch whether the rows of a call are those of a batch at one position
   * @throws GpuError `limit` or `out-of-memory`.
   */
  constructor(gpu: Gpu, rows: readonly (readonly RowWrite[])[], isBatch: boolean) {
    this.gpu = gpu;
    this.isBatch = isBatch;
    let numValues = 0;
    this.rows = rows.map((writes) =>
      writes.map((write) => {
        const numGroups = write.values.length / (write.numRows * write.groupSize);
        const rowLength = numGroups * padTo4(write.groupSize);
        const offset = numValues * 4;
        numValues += write.numRows * rowLength;
        return { ...write, offset, rowBytes: rowLength * 4 };
      }),
    );
    const padded = new Float32Array(Math.max(numValues, 4));
    for (const { values, groupSize, offset } of this.rows.flat()) {
      const stride = padTo4(groupSize);
      for (let group = 0; group * groupSize < values.length; group++) {
        padded.set(values.subarray(group * groupSize, (group + 1) * groupSize), offset / 4 + group * stride);
      }
    }
    this.values = gpu.createBufferWith("row writes", padded, GPU_STORAGE);
  }

  /** As {@link PlaceRequests.chunkEnd}: writes divide nothing. */
  chunkEnd(_first: number, end: number): number {
    return end;
  }

  /** As {@link PlaceRequests.visitor}. */
  visitor(first: number, numRows: number): PlaceVisitor | undefined {
    const end = this.isBatch ? first + 1 : first + numRows;
    const isWithin = ({ position, numRows }: RowWrite) => position < end && position + numRows > first;
    if (!this.rows.some((writes) => writes.some(isWithin))) return undefined;
    return {
      visit: (program, visit) => {
        for (const [batchRow, writes] of this.rows.entries()) {
          for (const write of writes) {
            if (write.place !== visit.place || !isWithin(write)) continue;
            const start = Math.max(write.position, first);
            const rows = { start, end: Math.min(write.position + write.numRows, end) };
            this.copy(program, visit, { write, ...rows, targetRow: this.isBatch ? batchRow : start - first });
          }
        }
      },
      attention: () => undefined,
    };
  }

  /** Frees the values. */
  dispose(): void {
    this.gpu.destroyBuffer(this.values);
  }

  private copy(
    program: Program,
    { buffer, groups, groupSize }: PlaceVisit,
    rows: { readonly write: PlacedWrite; readonly start: number; readonly end: number; readonly targetRow: number },
  ): void {
    const { write, start, end, targetRow } = rows;
    const groupBytes = padTo4(groupSize) * 4;
    const targetBytes = groups * groupBytes;
    const source = write.offset + (start - write.position) * write.rowBytes;
    const place = (row: number) => ({
      sourceOffset: source + row * write.rowBytes,
      targetOffset: (targetRow + row) * targetBytes + (write.head ?? 0) * groupBytes,
    });
    if (write.head === undefined) {
      program.copy(this.values, buffer, { size: (end - start) * targetBytes, ...place(0) });
      return;
    }
    for (let row = 0; row < end - start; row++) program.copy(this.values, buffer, { size: groupBytes, ...place(row) });
  }
}
