// Runs the programs of an answer one dispatch at a time, and reads back, right behind each, how long it took and what it
// wrote: one staging buffer as large as the largest tensor so far, never all tensors at once.
import { at, GpuError, throwIfAborted } from "../errors.ts";
import type { Description, TensorView } from "../gpu/describe.ts";
import { GPU_READBACK, type Gpu } from "../gpu/device.ts";
import type { Executor, StagedProgram } from "../gpu/executor.ts";
import type { Kernel } from "../gpu/kernel.ts";
import { type PreparedDispatch, PreparedProgram } from "../gpu/prepared-program.ts";
import type { Binding, CopyCommand, DispatchCommand, Program } from "../gpu/program.ts";
import type { ExplainedKernel, ExplainedPass, PassTensor, PassValues } from "./explained-pass.ts";
import { fixedWorkgroupSize, kernelHeader, workgroupSize } from "./kernel-text.ts";
import { gather, pictureOf, rangesOf, statisticsOf, unpackSlots } from "./tensor-values.ts";

const QUERY_RESOLVE = 0x0200; // GPUBufferUsage.QUERY_RESOLVE: Node has no global of that name
const COPY_SRC = 0x0004;
const TIMES_BYTES = 16;

/** What is recorded. */
export interface ExplainExecutorOptions {
  /** Whether what every pass wrote is read back. */
  readonly readsValues: boolean;
  readonly onPass: ((pass: ExplainedPass) => void) | undefined;
  readonly signal: AbortSignal | undefined;
}

/** Contents of buffers that descriptions depend on, as they were read. */
type KnownWords = Map<GPUBuffer, Uint32Array<ArrayBuffer>>;

/** A part of a binding that a pass writes. */
interface Output {
  readonly binding: string;
  readonly label: string;
  readonly buffer: Binding;
  readonly view: TensorView;
}

/** Values as they were read, dense. */
type ReadValues = Float32Array<ArrayBuffer> | Uint32Array<ArrayBuffer>;

/** Runs and records one answer; to be disposed of. */
export class ExplainExecutor implements Executor {
  /** No pass past the answer's end is explained. */
  readonly maxLookahead = 1;
  readonly passes: ExplainedPass[] = [];
  readonly kernels: Record<string, ExplainedKernel> = {};
  private readonly gpu: Gpu;
  private readonly options: ExplainExecutorOptions;
  private readonly keys = new Map<Kernel, string>();
  private querySet: GPUQuerySet | undefined;
  private times: GPUBuffer | undefined;
  private staging: GPUBuffer | undefined;

  constructor(gpu: Gpu, options: ExplainExecutorOptions) {
    this.gpu = gpu;
    this.options = options;
  }

  /** @throws as {@link PreparedProgram.prepare}. */
  prepare(program: Program): Promise<PreparedProgram> {
    return PreparedProgram.prepare(this.gpu, program);
  }

  /** Runs and records programs that would be submitted together. @throws AbortError between two dispatches; GpuError. */
  async run(programs: readonly StagedProgram[]): Promise<void> {
    // What decides where kernels write does not change between the passes of one submit.
    const known: KnownWords = new Map();
    for (const { program, stage } of programs) {
      for (const command of program.commands) {
        if (!("pipeline" in command)) {
          this.copy(command);
          continue;
        }
        throwIfAborted(this.options.signal, "Explaining");
        await this.explain(command, stage, known);
      }
    }
  }

  /** Frees staging buffer and queries. */
  dispose(): void {
    this.querySet?.destroy();
    for (const buffer of [this.times, this.staging]) if (buffer !== undefined) this.gpu.destroyBuffer(buffer);
  }

  private async explain(dispatch: PreparedDispatch, stage: string, known: KnownWords): Promise<void> {
    const { command } = dispatch;
    const { kernel, place, grid } = command;
    const { constants = {}, params = {} } = command.call;
    const {
      tensors,
      what = command.what,
      detail,
      ...more
    } = await describe(command, (buffer) => this.words(buffer, known));
    const outputs = this.options.readsValues ? outputsOf(command, tensors) : [];
    const { values, gpuMs } = await this.dispatch(dispatch, outputs);
    const explained: ExplainedPass = {
      index: this.passes.length,
      stage,
      place,
      what: detail === undefined ? what : `${what}; ${detail}`,
      kernel: this.keyOf(kernel),
      grid,
      workgroupSize: sizeOf(kernel, constants),
      constants,
      params: { ...params, ...more.params },
      gpuMs,
      tensors: passTensors(command, tensors),
      outputs: outputs.map((output, index) => passValues(output, at(values, index))),
    };
    this.passes.push(explained);
    this.options.onPass?.(explained);
  }

  private async words(buffer: GPUBuffer, known: KnownWords): Promise<Uint32Array<ArrayBuffer>> {
    const words = known.get(buffer) ?? new Uint32Array(await this.gpu.readBuffer(buffer, buffer.size));
    known.set(buffer, words);
    return words;
  }

  /** The kernel's name, or one with the dtype of its weights or cache where another variant has the name already. */
  private keyOf(kernel: Kernel): string {
    const known = this.keys.get(kernel);
    if (known !== undefined) return known;
    const names = [kernel.name, `${kernel.name} (${kernel.weightDtype ?? kernel.cacheDtype})`];
    const free = names.find((name) => this.kernels[name] === undefined);
    const key = free ?? `${names[1]} ${this.keys.size}`;
    this.keys.set(kernel, key);
    this.kernels[key] = {
      name: kernel.name,
      weightDtype: kernel.weightDtype,
      wgsl: kernel.code,
      header: kernelHeader(kernel),
      workgroupSize: fixedWorkgroupSize(kernel),
    };
    return key;
  }

  /** Runs a dispatch and reads what it wrote; the time is undefined where the adapter does not measure it. */
  private async dispatch(
    dispatch: PreparedDispatch,
    views: readonly Output[],
  ): Promise<{ readonly values: readonly ReadValues[]; readonly gpuMs: number | undefined }> {
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
  private async readBehind(encoder: GPUCommandEncoder, views: readonly Output[]): Promise<ArrayBuffer> {
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
    return await gpu.readMapped(staging, numBytes);
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

function describe(
  command: DispatchCommand,
  words: (buffer: GPUBuffer) => Promise<Uint32Array<ArrayBuffer>>,
): Description | Promise<Description> {
  const { kernel, call } = command;
  if (call.describe === undefined) throw new GpuError("shader", `${kernel.name}: this call does not describe itself.`);
  return call.describe((name) => {
    const binding = call.bindings[name];
    if (binding === undefined) throw new GpuError("shader", `${kernel.name}: no binding named ${name}.`);
    return words(partOf(binding).buffer);
  });
}

function sizeOf(kernel: Kernel, constants: DispatchCommand["call"]["constants"]): readonly [number, number, number] {
  const size = workgroupSize(kernel, constants ?? {});
  if (size === undefined) throw new GpuError("shader", `${kernel.name}: the size of its workgroups is not known.`);
  return size;
}

function outputsOf({ call }: DispatchCommand, bound: Description["tensors"]): Output[] {
  return Object.entries(bound).flatMap(([binding, { written }]) => {
    const buffer = call.bindings[binding];
    if (buffer === undefined) return [];
    const { label: name } = partOf(buffer).buffer;
    return written.map(({ label, view }) => ({
      binding,
      label: label === "" ? name : `${name}: ${label}`,
      buffer,
      view,
    }));
  });
}

function passTensors({ kernel, call }: DispatchCommand, bound: Description["tensors"]): readonly PassTensor[] {
  return [...kernel.bindings].flatMap(([binding, { type }]) => {
    const resource = call.bindings[binding];
    if (resource === undefined) return []; // params
    const { buffer, byteLength } = partOf(resource);
    const tensor = bound[binding];
    const writes = tensor?.isUpdated === true ? "read-write" : "write";
    const access = type === "storage" ? writes : "read";
    return [{ binding, access, label: buffer.label, byteLength, shape: tensor?.shape, dtype: tensor?.dtype }];
  });
}

function passValues({ binding, label, view }: Omit<Output, "buffer">, values: ReadValues): PassValues {
  const { packed } = view;
  if (packed !== undefined && values instanceof Uint32Array) {
    const meant = unpackSlots(values, { ...view, packed });
    return passValues(
      { binding, label, view: { ...view, shape: meant.shape, dtype: "f32", packed: undefined } },
      meant.values,
    );
  }
  const { shape, dtype } = view;
  return { binding, label, shape, dtype, ...statisticsOf(values), picture: pictureOf(values, shape) };
}

function partOf(binding: Binding): { readonly buffer: GPUBuffer; readonly byteLength: number } {
  return "buffer" in binding
    ? { buffer: binding.buffer, byteLength: binding.size }
    : { buffer: binding, byteLength: binding.size };
}
