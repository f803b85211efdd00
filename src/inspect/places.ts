// Reading and writing at places of a run: hidden states and attention of any layer and position. Traces, heat maps and patching
// all use this; without a request nothing is dispatched.
import { at, InputError } from "../errors.ts";
import type { Unembedder } from "../generate/unembed.ts";
import { GPU_STORAGE, type Gpu } from "../gpu/device.ts";
import type { AttentionCapture } from "../gpu/ops/attention.ts";
import { addRows } from "../gpu/ops/embedding.ts";
import type { Program } from "../gpu/program.ts";
import { padTo4 } from "../gpu/tensor.ts";
import type { TextConfig } from "../models/config.ts";
import type { PlaceRequests, PlaceVisit, PlaceVisitor } from "../models/layers/places.ts";
import { derivedRows, isDerived, neededPlaces } from "./derived-places.ts";
import { canonicalPlace, checkPlace } from "./place-names.ts";

/** What to read. */
export interface PlaceRead {
  /**
   * A place's name, such as `layers.3.hidden_states` (after layer 3), `layers.3.self_attn.o_proj`, `layers.3.attention_probs`,
   * `inputs_embeds` or `vision.hidden_states.2`, or TransformerLens' name of it, such as `blocks.3.hook_resid_post`.
   */
  readonly place: string;
  /**
   * Positions in the prompt and, behind it, of generated tokens; the last prompt position unless given. Places of the vision
   * tower are read whole.
   */
  readonly positions?: readonly number[] | undefined;
  /** Heads to select, of a place that has them; all unless given. */
  readonly heads?: readonly number[] | undefined;
}

/** What to write into hidden states. */
export interface PlaceWrite {
  /** The name of a place that holds hidden states. */
  readonly place: string;
  readonly positions: readonly number[];
  /** [positions, D] f32 */
  readonly values: Float32Array<ArrayBuffer>;
  /** `replace` unless given. */
  readonly mode?: "replace" | "add" | undefined;
}

/** What was read at a place. */
export interface PlaceValues {
  readonly place: string;
  /** Positions that were run, ascending; undefined for places of the vision tower. */
  readonly positions: readonly number[] | undefined;
  /** The selected heads; undefined where all are there, and for a place without heads. */
  readonly heads: readonly number[] | undefined;
  /**
   * [positions, D]; of attention [positions, H, S], S being the keys that the last of the positions sees; of other places with
   * heads [positions, H, …]; of the vision tower [tiles, rows, Dv]
   */
  readonly shape: readonly number[];
  readonly data: Float32Array<ArrayBuffer>;
}

/** Attention of one row in one layer. */
export interface AttentionRow {
  readonly layer: number;
  /** [H, S] before score edits and before softmax */
  readonly scores: Float32Array<ArrayBuffer>;
  /** [H, S] as used, after score edits */
  readonly probs: Float32Array<ArrayBuffer>;
}

/** Rows that are copied aside at a place. */
interface RowReader {
  readonly positions: readonly number[];
  readonly groups: number;
  readonly groupSize: number;
  /** [positions, groups · padTo4(groupSize)] f32 */
  readonly buffer: GPUBuffer;
}

/** Attention that is captured in one layer. */
interface AttentionReader {
  /** [positions, H, stride] f32 each */
  readonly scores: GPUBuffer;
  readonly probs: GPUBuffer;
}

/** A vision tower's rows, per tile. */
interface VisionReader {
  readonly columns: number;
  readonly tiles: Map<number, { readonly rows: number; readonly buffer: GPUBuffer }>;
}

/** The requests of one run and what they have collected; to be disposed of. */
export class Places implements PlaceRequests {
  private readonly gpu: Gpu;
  private readonly text: TextConfig;
  private readonly promptLength: number;
  private readonly rowReads = new Map<string, readonly number[]>();
  private readonly rowReaders = new Map<string, RowReader>();
  private readonly visionReads = new Set<string>();
  private readonly visionReaders = new Map<string, VisionReader>();
  private readonly writes: readonly {
    readonly write: PlaceWrite;
    readonly place: string;
    readonly buffer: GPUBuffer;
  }[];
  /** By layer, the query rows whose attention is read, ascending. */
  private readonly attentionPositions = new Map<number, readonly number[]>();
  private readonly attentionReaders = new Map<number, AttentionReader>();

  /**
   * @param requests what to read and write, the prompt's length, and how many positions the run may reach
   * @throws InputError for a place that does not exist, a position out of reach, or values of the wrong length.
   */
  constructor(
    gpu: Gpu,
    text: TextConfig,
    requests: {
      readonly reads: readonly PlaceRead[];
      readonly writes?: readonly PlaceWrite[] | undefined;
      readonly promptLength: number;
      readonly maxPositions: number;
    },
  ) {
    this.gpu = gpu;
    this.text = text;
    const { promptLength, maxPositions, writes = [] } = requests;
    this.promptLength = promptLength;
    for (const { place, heads, positions = [promptLength - 1] } of requests.reads) {
      checkPositions(place, positions, maxPositions);
      const name = canonicalPlace(place);
      const layer = attentionLayerOf(name);
      if (name === VISION_ALL) {
        this.visionReads.add(name);
        continue;
      }
      const kind = checkPlace(place, text, { isWritten: false });
      if (heads !== undefined) checkHeads(place, heads, kind.hasHeads === true ? text.numAttentionHeads : 0);
      if (layer !== undefined) {
        this.attentionPositions.set(layer, ascending([...this.attentionRowsOf(layer), ...positions]));
      } else if (name.startsWith("vision.")) {
        this.visionReads.add(name);
      } else {
        for (const needed of neededPlaces(name, text)) {
          const others = this.rowReads.get(needed) ?? [];
          this.rowReads.set(needed, ascending([...others, ...positions]));
        }
      }
    }
    // All of them are checked before the first buffer is made.
    const checked = writes.map((write) => ({ write, place: checkWrite(write, { text, maxPositions }) }));
    this.writes = checked.map(({ write, place }) => {
      const values = paddedRows(write.values, text.hiddenSize);
      return { write, place, buffer: gpu.createBufferWith(`write ${place}`, values, GPU_STORAGE) };
    });
  }

  /** The lowest position that is read or written: rows from there on have to run. */
  get firstPosition(): number {
    if (this.visionReads.size > 0) return 0; // pictures are only encoded for rows that run
    const attention = [...this.attentionPositions.values()].flat();
    const positions = [...attention, ...this.writes.flatMap(({ write }) => write.positions)];
    for (const read of this.rowReads.values()) positions.push(...read);
    return lowest(positions);
  }

  /** The lowest position that is written: keys and values from there on are not those of the prompt. */
  get firstWritten(): number {
    return lowest(this.writes.flatMap(({ write }) => write.positions));
  }

  /** Attention kernels capture one run of rows per call: a chunk ends where the next run of a layer begins. */
  chunkEnd(first: number, end: number): number {
    const ends = [...this.attentionPositions.values()].map((positions) => {
      const rows = positions.filter((position) => position >= first && position < end);
      return rows.find((position, index) => index > 0 && position !== Number(rows[index - 1]) + 1) ?? end;
    });
    return Math.min(end, ...ends);
  }

  /** The visitor of a call over slots [first, first + numRows) of a sequence; undefined where none of them is asked for. */
  visitor(first: number, numRows: number): PlaceVisitor | undefined {
    const within = (position: number) => position >= first && position < first + numRows;
    const attention = [...this.attentionPositions.values()].some((positions) => positions.some(within));
    const reads = [...this.rowReads.values()].some((positions) => positions.some(within));
    const writes = this.writes.some(({ write }) => write.positions.some(within));
    if (!attention && !reads && !writes) return undefined;
    return {
      visit: (program, visit) => this.visitRows(program, { ...visit, first }),
      attention: (layer) => this.capture(layer, this.attentionRowsOf(layer).filter(within), first),
    };
  }

  /** The visitor of one tile's vision tower. */
  visionVisitor(tile: number): PlaceVisitor | undefined {
    if (this.visionReads.size === 0) return undefined;
    return { visit: (program, visit) => this.visitVision(program, visit, tile), attention: () => undefined };
  }

  /** Current attention of one row, in every layer that is read. */
  async attentionRows(position: number): Promise<AttentionRow[]> {
    const rows: AttentionRow[] = [];
    for (const [layer, positions] of [...this.attentionPositions].sort(([a], [b]) => a - b)) {
      if (!positions.includes(position)) continue;
      const [scores, probs] = await Promise.all([
        this.attentionOf(layer, "scores", [position]),
        this.attentionOf(layer, "probs", [position]),
      ]);
      rows.push({ layer, scores, probs });
    }
    return rows;
  }

  /**
   * What a read has collected.
   * @param numRun positions that the run has reached; all unless given. When generation ended before all of the
   *   requested positions, the result has no rows.
   */
  async values(read: PlaceRead, numRun = Number.POSITIVE_INFINITY): Promise<PlaceValues> {
    const { place, heads } = read;
    const name = canonicalPlace(place);
    if (name.startsWith("vision.")) return this.visionValues(place, name);
    const rows = this.rowsOf(read, numRun);
    const layer = attentionLayerOf(name);
    if (layer === undefined) {
      const { shape, data } = await this.rowValues(name, rows);
      return withHeads({ place, positions: shape[0] === 0 ? [] : rows, heads: undefined, shape, data }, heads);
    }
    const { numAttentionHeads } = this.text;
    const numKeys = rows.length === 0 ? 0 : Number(rows.at(-1)) + 1;
    const kind = name.endsWith("scores") ? "scores" : "probs";
    const data = rows.length === 0 ? new Float32Array() : await this.attentionOf(layer, kind, rows);
    const shape = [rows.length, numAttentionHeads, numKeys];
    return withHeads({ place, positions: rows, heads: undefined, shape, data }, heads);
  }

  /**
   * As {@link Places.values}, also of derived places.
   * @throws GpuError.
   */
  async readValues(
    read: PlaceRead,
    run: { readonly numRun: number; readonly decoder: Unembedder },
  ): Promise<PlaceValues> {
    const { place, heads } = read;
    const name = canonicalPlace(place);
    if (!isDerived(name, this.text)) return this.values(read, run.numRun);
    const positions = this.rowsOf(read, run.numRun);
    const needed: Float32Array<ArrayBuffer>[] = [];
    for (const other of neededPlaces(name, this.text)) needed.push((await this.rowValues(other, positions)).data);
    const rows = needed.some(({ length }) => length === 0) ? [] : positions;
    const { shape, data } = await derivedRows(name, needed, run.decoder);
    return withHeads({ place, positions: rows, heads: undefined, shape: [rows.length, ...shape], data }, heads);
  }

  /** Names of the vision tower's places that have been visited, in order. */
  get visionPlaces(): readonly string[] {
    return [...this.visionReaders.keys()];
  }

  /** Frees the buffers. */
  dispose(): void {
    const buffers = [
      ...[...this.rowReaders.values()].map(({ buffer }) => buffer),
      ...[...this.attentionReaders.values()].flatMap(({ scores, probs }) => [scores, probs]),
      ...[...this.visionReaders.values()].flatMap(({ tiles }) => [...tiles.values()].map(({ buffer }) => buffer)),
      ...this.writes.map(({ buffer }) => buffer),
    ];
    for (const buffer of buffers) this.gpu.destroyBuffer(buffer);
    this.rowReaders.clear();
    this.attentionReaders.clear();
    this.visionReaders.clear();
  }

  private rowsOf({ positions = [this.promptLength - 1] }: PlaceRead, numRun: number): readonly number[] {
    return ascending(positions).filter((position) => position < numRun);
  }

  /** Rows of a place that kernels write; none where no program that visits it has run, or only for other rows. */
  private async rowValues(name: string, rows: readonly number[]): Promise<Pick<PlaceValues, "shape" | "data">> {
    const reader = this.rowReaders.get(name);
    if (reader === undefined || rows.length === 0) return { shape: [0, 0], data: new Float32Array() };
    const { groups, groupSize } = reader;
    const columns = groups * groupSize;
    const all = await this.readPadded(reader.buffer, reader.positions.length * groups, groupSize);
    const data = new Float32Array(rows.length * columns);
    for (const [row, position] of rows.entries()) {
      const start = reader.positions.indexOf(position) * columns;
      data.set(all.subarray(start, start + columns), row * columns);
    }
    const isGrouped = name.endsWith(".self_attn");
    return { shape: isGrouped ? [rows.length, groups, groupSize] : [rows.length, columns], data };
  }

  private visitRows(program: Program, visit: PlaceVisit & { readonly first: number }): void {
    const { place, buffer, groups, groupSize, first, numRows } = visit;
    const rowBytes = groups * padTo4(groupSize) * 4;
    for (const { write, place: written, buffer: values } of this.writes) {
      if (written !== place) continue;
      for (const [row, position] of write.positions.entries()) {
        if (position < first || position >= first + numRows) continue;
        if (write.mode === "add") {
          addRows(program.at(place, "a vector added to the hidden state"), {
            values,
            output: buffer,
            columns: rowBytes / 4,
            numRows: 1,
            valueRowStart: row,
            outputRowStart: position - first,
          });
        } else {
          const target = (position - first) * rowBytes;
          program.copy(values, buffer, { size: rowBytes, sourceOffset: row * rowBytes, targetOffset: target });
        }
      }
    }
    const positions = this.rowReads.get(place);
    if (positions === undefined) return;
    let reader = this.rowReaders.get(place);
    if (reader === undefined) {
      const target = this.gpu.createBuffer(`read ${place}`, positions.length * rowBytes, GPU_STORAGE);
      reader = { positions, groups, groupSize, buffer: target };
      this.rowReaders.set(place, reader);
    }
    for (const [index, position] of positions.entries()) {
      if (position < first || position >= first + numRows) continue;
      const source = (position - first) * rowBytes;
      program.copy(buffer, reader.buffer, { size: rowBytes, sourceOffset: source, targetOffset: index * rowBytes });
    }
  }

  private visitVision(program: Program, { place, buffer, groupSize, numRows }: PlaceVisit, tile: number): void {
    if (!this.visionReads.has(place) && !this.visionReads.has(VISION_ALL)) return;
    const size = numRows * padTo4(groupSize) * 4;
    const copied = this.gpu.createBuffer(`read ${place}`, size, GPU_STORAGE);
    const reader = this.visionReaders.get(place) ?? { columns: groupSize, tiles: new Map() };
    const before = reader.tiles.get(tile);
    if (before !== undefined) this.gpu.destroyBuffer(before.buffer);
    reader.tiles.set(tile, { rows: numRows, buffer: copied });
    this.visionReaders.set(place, reader);
    program.copy(buffer, copied, { size });
  }

  private capture(layer: number, rows: readonly number[], first: number): AttentionCapture | undefined {
    if (rows.length === 0) return undefined;
    const positions = this.attentionRowsOf(layer);
    const stride = strideOf(positions);
    const [start, last] = [at(rows, 0), at(rows, rows.length - 1)];
    let reader = this.attentionReaders.get(layer);
    if (reader === undefined) {
      const bytes = positions.length * this.text.numAttentionHeads * stride * 4;
      const buffer = (kind: string) => this.gpu.createBuffer(`read layers.${layer} ${kind}`, bytes, GPU_STORAGE);
      reader = { scores: buffer("scores"), probs: buffer("probs") };
      this.attentionReaders.set(layer, reader);
    }
    return {
      ...reader,
      rows: [start - first, last - first + 1],
      targetRow: positions.indexOf(start),
      stride,
    };
  }

  private attentionRowsOf(layer: number): readonly number[] {
    return this.attentionPositions.get(layer) ?? [];
  }

  private async attentionOf(
    layer: number,
    kind: "scores" | "probs",
    positions: readonly number[],
  ): Promise<Float32Array<ArrayBuffer>> {
    const reader = this.attentionReaders.get(layer);
    if (reader === undefined) throw new InputError(`layers.${layer}: attention was not read.`);
    const { numAttentionHeads } = this.text;
    const captured = this.attentionRowsOf(layer);
    const stride = strideOf(captured);
    const numKeys = Number(positions.at(-1)) + 1;
    const data = new Float32Array(positions.length * numAttentionHeads * numKeys);
    const rowLength = numAttentionHeads * stride;
    const indices = positions.map((position) => captured.indexOf(position));
    const [first, last] = [at(indices, 0), at(indices, indices.length - 1)];
    const isOneRead = last - first + 1 === positions.length; // else the rows between them are left unread
    const read = (row: number, numRows: number) =>
      this.gpu.readBuffer(reader[kind], numRows * rowLength * 4, row * rowLength * 4);
    const all = isOneRead ? await read(first, positions.length) : undefined;
    for (const [row, position] of positions.entries()) {
      const heads =
        all === undefined
          ? new Float32Array(await read(at(indices, row), 1))
          : new Float32Array(all, row * rowLength * 4, rowLength);
      for (let head = 0; head < numAttentionHeads; head++) {
        // Keys behind a row's own are masked: they stay 0.
        const seen = heads.subarray(head * stride, head * stride + position + 1);
        data.set(seen, (row * numAttentionHeads + head) * numKeys);
      }
    }
    return data;
  }

  private async visionValues(place: string, name: string): Promise<PlaceValues> {
    const reader = this.visionReaders.get(name);
    if (reader === undefined) throw new InputError(`${place}: the vision tower has no such place, or did not run.`);
    const { columns } = reader;
    const tiles = [...reader.tiles].sort(([a], [b]) => a - b).map(([, tile]) => tile);
    const numRows = tiles.reduce((sum, { rows }) => sum + rows, 0);
    const data = new Float32Array(numRows * columns);
    let end = 0;
    for (const { rows, buffer } of tiles) {
      data.set(await this.readPadded(buffer, rows, columns), end);
      end += rows * columns;
    }
    // Pictures of several shapes have no common number of rows.
    const count = tiles.every(({ rows }) => rows === tiles[0]?.rows) ? tiles.length : 1;
    const shape = [count, numRows / count, columns];
    return { place, positions: undefined, heads: undefined, shape, data };
  }

  /** Rows of `columns` values from a buffer whose rows are padded to a multiple of 4. */
  private async readPadded(buffer: GPUBuffer, numRows: number, columns: number): Promise<Float32Array<ArrayBuffer>> {
    const stride = padTo4(columns);
    const padded = new Float32Array(await this.gpu.readBuffer(buffer, numRows * stride * 4));
    if (stride === columns) return padded;
    const data = new Float32Array(numRows * columns);
    for (let row = 0; row < numRows; row++) {
      data.set(padded.subarray(row * stride, row * stride + columns), row * columns);
    }
    return data;
  }
}

/** Reads every place of the vision tower that holds hidden states. */
export const VISION_ALL = "vision.*";

function attentionLayerOf(place: string): number | undefined {
  const layer = /^layers\.(\d+)\.attention_(?:scores|probs)$/.exec(place)?.[1];
  return layer === undefined ? undefined : Number(layer);
}

/** Checks a write and returns the canonical name of its place. */
function checkWrite(write: PlaceWrite, run: { readonly text: TextConfig; readonly maxPositions: number }): string {
  const { text, maxPositions } = run;
  const { positions, values } = write;
  const place = canonicalPlace(write.place);
  checkPlace(write.place, text, { isWritten: true });
  checkPositions(write.place, positions, maxPositions);
  const numValues = positions.length * text.hiddenSize;
  if (values instanceof Float32Array && values.length === numValues) return place;
  throw new InputError(
    `${write.place}: values must be a Float32Array of ${positions.length} × ${text.hiddenSize} numbers, got ${values?.length}.`,
  );
}

function checkPositions(place: string, positions: readonly number[], maxPositions: number): void {
  const bad = positions.find((position) => !Number.isInteger(position) || position < 0 || position >= maxPositions);
  if (bad === undefined && positions.length > 0) return;
  throw new InputError(
    `${place}: positions must be whole numbers from 0 to ${maxPositions - 1}, at least one, got ${bad ?? "none"}.`,
  );
}

/** @param numHeads 0 for a place without heads */
function checkHeads(place: string, heads: readonly number[], numHeads: number): void {
  if (numHeads === 0) throw new InputError(`${place} has no heads to select: leave out [${heads.join(",")}].`);
  const bad = heads.find((head) => !Number.isInteger(head) || head < 0 || head >= numHeads);
  if (bad === undefined && heads.length > 0) return;
  throw new InputError(
    `${place}: heads must be whole numbers from 0 to ${numHeads - 1}, at least one, got ${bad ?? "none"}.`,
  );
}

/** Some heads of values [positions, H, …]. */
function withHeads(values: PlaceValues, heads: readonly number[] | undefined): PlaceValues {
  if (heads === undefined || heads.length === 0) return values;
  const [numRows = 0, numHeads = 0, ...rest] = values.shape;
  const size = rest.reduce((product, length) => product * length, 1);
  const data = new Float32Array(numRows * heads.length * size);
  for (let row = 0; row < numRows; row++) {
    for (const [index, head] of heads.entries()) {
      const start = (row * numHeads + head) * size;
      data.set(values.data.subarray(start, start + size), (row * heads.length + index) * size);
    }
  }
  return { ...values, heads, shape: [numRows, heads.length, ...rest], data };
}

/** Keys that the last of some rows sees. */
function strideOf(positions: readonly number[]): number {
  return Number(positions.at(-1)) + 1;
}

/** Infinity when there are none. */
function lowest(positions: readonly number[]): number {
  return positions.reduce((least, position) => Math.min(least, position), Number.POSITIVE_INFINITY);
}

function ascending(positions: readonly number[]): readonly number[] {
  return [...new Set(positions)].sort((a, b) => a - b);
}

function paddedRows(values: Float32Array<ArrayBuffer>, columns: number): Float32Array<ArrayBuffer> {
  const stride = padTo4(columns);
  if (stride === columns) return values;
  const numRows = values.length / columns;
  const padded = new Float32Array(numRows * stride);
  for (let row = 0; row < numRows; row++) {
    padded.set(values.subarray(row * columns, (row + 1) * columns), row * stride);
  }
  return padded;
}
