// Runs recorded programs one dispatch at a time and reads, right behind each, how long it took and what it wrote: one
// staging buffer as large as the largest tensor so far, never all tensors at once.
import { throwIfAborted } from "../errors.ts";
import { GPU_READBACK, type Gpu } from "../gpu/device.ts";
import type { PreparedDispatch, PreparedProgram } from "../gpu/prepared-program.ts";
import type { Binding, CopyCommand } from "../gpu/program.ts";
import { gather, rangesOf, type TensorView } from "./pass-values.ts";

const QUERY_RESOLVE = 0x0200; // GPUBufferUsage.QUERY_RESOLVE: Node has no global of that name
const COPY_SRC = 0x0004;
const TIMES_BYTES = 16;

/** Values as they were read, dense. */
export type ReadValues = Float32Array<ArrayBuffer> | Uint32Array<ArrayBuffer>;

/** What a dispatch left. */
export interface PassResult {
  /** Of the views, in their order. */
  readonly values: readonly ReadValues[];
  /** Undefined where the adapter cannot tell. */
  readonly gpuMs: number | undefined;
}

/** Runs the dispatch and reads views behind it. */
export type RunDispatch = (views: readonly WantedView[]) => Promise<PassResult>;

/** A part of a buffer to read. */
export interface WantedView {
  readonly buffer: Binding;
  readonly view: TensorView;
}

/** Runs programs for one explanation; to be disposed of. */
export class PassRunner {
  private readonly gpu: Gpu;
  private readonly signal: AbortSignal | undefined;
  private querySet: GPUQuerySet | undefined;
  private times: GPUBuffer | undefined;
  private staging: GPUBuffer | undefined;

  constructor(gpu: Gpu, signal: AbortSignal | undefined) {
    this.gpu = gpu;
    this.signal = signal;
  }

  /**
   * Runs a program; for each dispatch `onDispatch` is called, which has to run it once.
   * @throws AbortError between two dispatches; GpuError.
   */
  async run(
    program: PreparedProgram,
    onDispatch: (command: PreparedDispatch, dispatch: RunDispatch) => Promise<void>,
  ): Promise<void> {
    for (const command of program.commands) {
      if (!("pipeline" in command)) {
        this.copy(command);
        continue;
      }
      throwIfAborted(this.signal, "Explaining");
      await onDispatch(command, (views) => this.dispatch(command, views));
    }
  }

  /** Reads a small buffer as words. */
  async readWords(buffer: GPUBuffer): Promise<Uint32Array<ArrayBuffer>> {
    return new Uint32Array(await this.gpu.readBuffer(buffer, buffer.size));
  }

  /** Frees staging buffer and queries. */
  dispose(): void {
    this.querySet?.destroy();
    for (const buffer of [this.times, this.staging]) if (buffer !== undefined) this.gpu.destroyBuffer(buffer);
  }

  private async dispatch(dispatch: PreparedDispatch, views: readonly WantedView[]): Promise<PassResult> {
    const { pipeline, bindGroup } = dispatch;
    const { grid, kernel } = dispatch.command;
    const { device } = this.gpu;
    if (device.features.has("timestamp-query")) {
      this.querySet ??= device.createQuerySet({ label: "explain", type: "timestamp", count: 2 });
      this.times ??= this.gpu.createBuffer("explain times", TIMES_BYTES, QUERY_RESOLVE | COPY_SRC);
    }
    const encoder = device.createCommandEncoder({ label: kernel.name });
    const { querySet, times } = this;
    const timestampWrites = querySet && { querySet, beginningOfPassWriteIndex: 0, endOfPassWriteIndex: 1 };
    const pass = encoder.beginComputePass({ label: kernel.name, ...(timestampWrites && { timestampWrites }) });
    pass.setPipeline(pipeline);
    pass.setBindGroup(0, bindGroup);
    pass.dispatchWorkgroups(...grid);
    pass.end();
    if (querySet !== undefined && times !== undefined) encoder.resolveQuerySet(querySet, 0, 2, times, 0);
    const packed = await this.readBehind(encoder, views);
    let offset = TIMES_BYTES;
    const values = views.map(({ view }) => {
      const length = lengthOf(view);
      const start = offset;
      offset += length * 4;
      return view.dtype === "f32"
        ? gather(view, new Float32Array(packed, start, length))
        : gather(view, new Uint32Array(packed, start, length));
    });
    return { values, gpuMs: times === undefined ? undefined : milliseconds(new BigUint64Array(packed, 0, 2)) };
  }

  /** Submits, and reads back the times and then the views, packed. */
  private async readBehind(encoder: GPUCommandEncoder, views: readonly WantedView[]): Promise<ArrayBuffer> {
    const { gpu, times } = this;
    const numBytes = views.reduce((sum, { view }) => sum + lengthOf(view) * 4, TIMES_BYTES);
    const staging = this.stagingOf(numBytes);
    if (times !== undefined) encoder.copyBufferToBuffer(times, 0, staging, 0, TIMES_BYTES);
    let to = TIMES_BYTES;
    for (const { buffer: bound, view } of views) {
      const [buffer, bufferOffset] = "buffer" in bound ? [bound.buffer, bound.offset] : [bound, 0];
      for (const { start, length } of rangesOf(view)) {
        encoder.copyBufferToBuffer(buffer, bufferOffset + start * 4, staging, to, length * 4);
        to += length * 4;
      }
    }
    gpu.device.queue.submit([encoder.finish()]);
    await gpu.map(staging);
    const packed = staging.getMappedRange(0, numBytes).slice(0);
    staging.unmap();
    return packed;
  }

  private stagingOf(numBytes: number): GPUBuffer {
    if (this.staging !== undefined && this.staging.size >= numBytes) return this.staging;
    if (this.staging !== undefined) this.gpu.destroyBuffer(this.staging);
    this.staging = this.gpu.createBuffer("explain readback", numBytes, GPU_READBACK);
    return this.staging;
  }

  private copy({ source, sourceOffset, target, targetOffset, size }: CopyCommand): void {
    const encoder = this.gpu.device.createCommandEncoder({ label: "explain copy" });
    encoder.copyBufferToBuffer(source, sourceOffset, target, targetOffset, size);
    this.gpu.device.queue.submit([encoder.finish()]);
  }
}

function lengthOf(view: TensorView): number {
  return rangesOf(view).reduce((sum, { length }) => sum + length, 0);
}

/** Undefined where the adapter left a time out. */
function milliseconds([begin = 0n, end = 0n]: BigUint64Array): number | undefined {
  if (begin === 0n || end === 0n) return undefined;
  return Math.max(0, Number(end - begin) / 1e6);
}
