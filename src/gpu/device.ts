// The one owner of GPU memory: limits are asked for, every buffer is counted, every failure becomes a typed error.
import { AbortError, accepts, GpuError, InputError, kindOf } from "../errors.ts";
import { PipelineCache } from "./kernel.ts";
import type { Profiler } from "./profile/profiler.ts";
import type { TuningTable } from "./tunables.ts";

/** Limits that the engine asks for as high as the adapter has them; nothing is raised unless it is asked for. */
const RAISED_LIMITS = [
  "maxBufferSize",
  "maxStorageBufferBindingSize",
  "maxComputeWorkgroupStorageSize",
  "maxComputeInvocationsPerWorkgroup",
  "maxComputeWorkgroupSizeX",
  "maxComputeWorkgroupSizeY",
  "maxStorageBuffersPerShaderStage",
] as const;

/** Features that are switched on where the adapter has them; the engine runs without any of them. */
const WANTED_FEATURES: readonly GPUFeatureName[] = ["shader-f16", "subgroups", "timestamp-query"];

/**
 * Requests a device with the adapter's own limits and the optional features it has.
 * @param adapter as `navigator.gpu.requestAdapter()` gives it, which is null where there is none
 * @throws GpuError `no-adapter` when there is none, or it refuses; InputError for something else.
 */
export async function requestGpuDevice(adapter: GPUAdapter | null): Promise<GPUDevice> {
  if (adapter === null) {
    const advice = "install a GPU's driver, or use a browser with WebGPU";
    throw new GpuError("no-adapter", `There is no adapter: WebGPU found none on this machine; ${advice}.`);
  }
  if (!accepts(adapter, ({ requestDevice }) => typeof requestDevice === "function")) {
    const advice = "await requestAdapter(), and of what openNodeAdapter() returns give its adapter";
    throw new InputError(`requestGpuDevice: expected a GPUAdapter, got ${kindOf(adapter)}; ${advice}.`);
  }
  const requiredLimits: Record<string, number> = {};
  for (const name of RAISED_LIMITS) requiredLimits[name] = adapter.limits[name];
  const requiredFeatures = WANTED_FEATURES.filter((name) => adapter.features.has(name));
  try {
    return await adapter.requestDevice({
      label: "adaptvis",
      requiredLimits,
      requiredFeatures,
    });
  } catch (cause) {
    const reason = messageOf(cause).split("\n")[0]?.trim(); // Dawn adds where in its sources
    const advice = "an adapter gives one device only: request it again, or another one";
    throw new GpuError("no-adapter", `The adapter refused a device (${reason}); ${advice}.`, { cause });
  }
}

/** A GPUDevice with its ledger of buffer bytes and its compiled pipelines. It never destroys a device it was given. */
export class Gpu {
  readonly device: GPUDevice;
  /** True on a CPU adapter, where barriers cost more than they save and kernels are chosen accordingly. */
  readonly isSoftware: boolean;
  /** Pipelines compiled so far. @internal */
  readonly pipelines: PipelineCache;
  /** Measures what happens here, if anybody wants that. */
  readonly profiler: Profiler | undefined;
  /** Constants of kernels that were measured on this adapter; the defaults without one. */
  readonly tuning: TuningTable | undefined;
  /** A small buffer for bindings that a kernel variant declares but does not touch. */
  readonly unused: GPUBuffer;
  /** The same for writable bindings: one buffer must not be bound twice where one binding writes. */
  readonly unusedOutputs: readonly [GPUBuffer, GPUBuffer];
  private readonly sizes = new Map<GPUBuffer, number>();
  /** The reads that have not ended, by the buffer that each has mapped or is about to map; every other buffer is unmapped. */
  private readonly reads = new Map<GPUBuffer, symbol>();
  private bytes = 0;
  /** Settle when the GPU has said whether it had the memory for a buffer or a write. */
  private readonly verdicts = new Set<Promise<void>>();
  private readonly refusals: OutOfMemoryError[] = [];
  /** The first refusal that no {@link guard} has thrown yet. */
  private unreported: OutOfMemoryError | undefined;
  private lost: GpuError | undefined;
  private isDisposed = false;

  /** @throws InputError when `profiler` measures another Gpu already. */
  constructor(
    device: GPUDevice,
    options: {
      readonly isSoftware?: boolean | undefined;
      readonly profiler?: Profiler | undefined;
      readonly tuning?: TuningTable | undefined;
    } = {},
  ) {
    this.device = device;
    this.isSoftware = options.isSoftware ?? isSoftwareAdapter(device.adapterInfo);
    this.profiler = options.profiler;
    this.tuning = options.tuning;
    this.profiler?.attach(this);
    this.pipelines = new PipelineCache(device, this.profiler);
    this.unused = this.createBuffer("unused", 256, GPU_STORAGE);
    const output = (index: number) => this.createBuffer(`unused output ${index}`, 256, GPU_STORAGE);
    this.unusedOutputs = [output(0), output(1)];
    void device.lost.then((info) => {
      if (this.isDisposed) return; // whoever still waits is told of that, which came first
      this.lost = new GpuError(
        "device-lost",
        `The GPU device was lost (${info.reason}: ${info.message || "no reason given"}); load the model again on a new device.`,
      );
    });
  }

  /** Bytes of all buffers that were made here and are not destroyed yet. */
  get allocatedBytes(): number {
    return this.bytes;
  }

  /**
   * A zeroed buffer of at least `byteLength` bytes (rounded up to 4).
   * @throws GpuError `limit` when the adapter's limits forbid it. Whether the GPU had the memory shows later: in {@link settled}, at
   *   the next readback or at the end of {@link guard}.
   * @throws AbortError after {@link dispose}: what still runs then ends here or at its next readback.
   */
  createBuffer(label: string, byteLength: number, usage: GPUBufferUsageFlags): GPUBuffer {
    this.throwIfDisposed();
    const size = Math.max(16, Math.ceil(byteLength / 4) * 4);
    const { maxBufferSize, maxStorageBufferBindingSize } = this.device.limits;
    const limit = (usage & STORAGE) === 0 ? maxBufferSize : Math.min(maxBufferSize, maxStorageBufferBindingSize);
    if (size > limit) {
      throw new GpuError(
        "limit",
        `Buffer ${label} needs ${formatBytes(size)} but this adapter allows ${formatBytes(limit)} in one binding; use an adapter with larger limits or a smaller model or prompt.`,
      );
    }
    const buffer = this.watched({ label, byteLength: size }, () => this.device.createBuffer({ label, size, usage }));
    this.sizes.set(buffer, size);
    this.bytes += size;
    return buffer;
  }

  /** Destroys a buffer that was made here; a second call does nothing. */
  destroyBuffer(buffer: GPUBuffer): void {
    const size = this.sizes.get(buffer);
    if (size === undefined) return;
    this.sizes.delete(buffer);
    this.reads.delete(buffer);
    this.bytes -= size;
    buffer.destroy();
  }

  /** Makes a buffer that holds `data`. */
  createBufferWith(label: string, data: ArrayBufferView<ArrayBuffer>, usage: GPUBufferUsageFlags): GPUBuffer {
    const buffer = this.createBuffer(label, data.byteLength, usage | COPY_DST);
    this.write(buffer, data);
    return buffer;
  }

  /** Writes `data` at `byteOffset`; a tail of fewer than 4 bytes is padded with zeros. */
  write(buffer: GPUBuffer, data: ArrayBufferView<ArrayBuffer>, byteOffset = 0): void {
    const startMs = this.profiler === undefined ? 0 : performance.now();
    const whole = data.byteLength - (data.byteLength % 4);
    if (whole > 0) this.device.queue.writeBuffer(buffer, byteOffset, data.buffer, data.byteOffset, whole);
    if (whole < data.byteLength) {
      const tail = new Uint8Array(4);
      tail.set(new Uint8Array(data.buffer, data.byteOffset + whole, data.byteLength - whole));
      this.device.queue.writeBuffer(buffer, byteOffset + whole, tail);
    }
    this.profiler?.uploaded(startMs, data.byteLength);
  }

  /**
   * Runs `work`, which asks the GPU for memory, in an error scope of its own. The scope is opened and closed within one call, so that
   * it catches nothing of what runs at the same time.
   * @param need what the memory is for, as messages name it
   */
  watched<T>(need: { readonly label: string; readonly byteLength: number }, work: () => T): T {
    const bytesInUse = this.bytes;
    this.device.pushErrorScope("out-of-memory");
    try {
      return work();
    } finally {
      const verdict = this.device
        .popErrorScope()
        .then(
          (error) => error !== null && this.refuse(new OutOfMemoryError(need, bytesInUse)),
          () => undefined, // the device is lost, which is reported elsewhere
        )
        .then(() => {
          this.verdicts.delete(verdict);
        });
      this.verdicts.add(verdict);
    }
  }

  /**
   * Waits until the GPU has all memory that was asked for so far.
   * @throws GpuError `out-of-memory`, which names the first buffer that it had none for.
   */
  async settled(): Promise<void> {
    await Promise.all(this.verdicts);
    if (this.unreported !== undefined) throw this.unreported;
  }

  private refuse(refusal: OutOfMemoryError): void {
    this.refusals.push(refusal);
    this.unreported ??= refusal;
  }

  /**
   * Runs `work` inside error scopes. Scopes belong to the device: work of two models on one device at the same time may
   * be blamed on each other.
   * @throws GpuError `out-of-memory`, `device-lost`, or `shader` for a validation or internal error.
   */
  async guard<T>(what: string, work: () => T | Promise<T>): Promise<T> {
    this.throwIfLost();
    const numRefused = this.refusals.length;
    this.device.pushErrorScope("internal");
    this.device.pushErrorScope("validation");
    this.device.pushErrorScope("out-of-memory");
    let result: T | undefined;
    let failure: { readonly error: unknown } | undefined;
    try {
      result = await work();
    } catch (error) {
      failure = { error };
    }
    const outOfMemory = await this.device.popErrorScope();
    const validation = await this.device.popErrorScope();
    const internal = await this.device.popErrorScope();
    await Promise.all(this.verdicts);
    this.throwIfLost();
    const refusal = this.refusals[numRefused];
    if (refusal !== undefined || outOfMemory !== null) {
      this.unreported = undefined;
      if (failure?.error instanceof GpuError && failure.error.reason === "out-of-memory") throw failure.error;
      throw refusal ?? new OutOfMemoryError({ label: what, byteLength: undefined }, this.bytes);
    }
    if (failure !== undefined) throw failure.error;
    const problem = validation ?? internal;
    if (problem !== null) throw new GpuError("shader", `The GPU refused a command while ${what}: ${problem.message}`);
    return result as T; // set: work() returned, else failure was thrown
  }

  /**
   * Reads `byteLength` bytes of `source` back, waiting for all work submitted so far.
   * @throws GpuError `device-lost` when the device goes away meanwhile.
   */
  async readBuffer(source: GPUBuffer, byteLength: number, byteOffset = 0): Promise<ArrayBuffer> {
    const staging = this.createBuffer("readback", byteLength, MAP_READ | COPY_DST);
    try {
      const encoder = this.device.createCommandEncoder();
      encoder.copyBufferToBuffer(source, byteOffset, staging, 0, Math.ceil(byteLength / 4) * 4);
      this.device.queue.submit([encoder.finish()]);
      return await this.readMapped(staging, byteLength);
    } finally {
      this.destroyBuffer(staging);
    }
  }

  /**
   * Maps a readback buffer, copies its first bytes (all unless given) and unmaps it. {@link cancelRead} ends it early.
   * @throws GpuError `device-lost` when the device goes away meanwhile; AbortError when {@link dispose} is called.
   */
  async readMapped(buffer: GPUBuffer, byteLength?: number): Promise<ArrayBuffer> {
    this.throwIfLost();
    this.throwIfDisposed();
    const read = Symbol();
    const isCurrent = () => this.reads.get(buffer) === read;
    this.reads.set(buffer, read);
    const endWait = this.profiler?.waiting();
    try {
      await buffer.mapAsync(MAP_MODE_READ).catch((error: unknown) => {
        if (isCurrent()) this.reads.delete(buffer); // it is not mapped
        throw error;
      });
      await this.settled(); // what was computed without the memory is worth nothing
      endWait?.();
      if (!isCurrent()) throw new Error("the read was cancelled"); // the buffer may be mapped for a later one
      return buffer.getMappedRange().slice(0, byteLength);
    } catch (cause) {
      this.throwIfLost();
      this.throwIfDisposed();
      await this.settled(); // the memory for the readback itself
      throw new GpuError(
        "device-lost",
        `Reading back from the GPU failed (${messageOf(cause)}); load the model again.`,
        {
          cause,
        },
      );
    } finally {
      if (isCurrent()) this.cancelRead(buffer);
    }
  }

  /** Ends a {@link readMapped} that has not returned, which then throws; without one, nothing happens. */
  cancelRead(buffer: GPUBuffer): void {
    if (!this.reads.delete(buffer)) return; // Deno throws where a buffer is unmapped that is not mapped
    try {
      buffer.unmap();
    } catch {
      // Deno throws on a lost device, too, which whatever comes next reports.
    }
  }

  /** @throws GpuError `device-lost` when the device is gone. */
  throwIfLost(): void {
    if (this.lost !== undefined) throw this.lost;
  }

  /** @throws AbortError after {@link dispose}. */
  throwIfDisposed(): void {
    if (this.isDisposed) {
      throw new AbortError("The question", "because its model was disposed; load the model again to ask");
    }
  }

  /** Frees every buffer made here; the device itself stays with whoever made it. A second call does nothing. */
  dispose(): void {
    this.isDisposed = true;
    this.profiler?.detach();
    for (const buffer of [...this.sizes.keys()]) this.destroyBuffer(buffer);
  }
}

/** A GpuError `out-of-memory` with what was asked for. */
export class OutOfMemoryError extends GpuError {
  /** The buffer, or what was being done. */
  readonly label: string;
  /** Bytes of the buffer; undefined where the GPU did not say for which one it lacked memory. */
  readonly byteLength: number | undefined;
  /** Bytes of the buffers that the model had before. */
  readonly bytesInUse: number;

  constructor(
    { label, byteLength }: { readonly label: string; readonly byteLength: number | undefined },
    bytesInUse: number,
  ) {
    const what = byteLength === undefined ? `while ${label}` : `for ${label}, which needs ${formatBytes(byteLength)}`;
    super(
      "out-of-memory",
      `The GPU ran out of memory ${what}, with ${formatBytes(bytesInUse)} already in use; use a shorter prompt or context, fewer pictures, or a smaller dtype or model.`,
    );
    this.label = label;
    this.byteLength = byteLength;
    this.bytesInUse = bytesInUse;
  }
}

/** What ops choose their kernels by, and what they bind where a kernel declares a binding that the call does not use. */
export type KernelContext = Pick<Gpu, "device" | "isSoftware" | "tuning" | "unused" | "unusedOutputs">;

/** Makes buffers as {@link Gpu} does. */
export type BufferMaker = Pick<Gpu, "createBuffer" | "createBufferWith">;

// Numeric values of GPUBufferUsage and GPUMapMode: Node has no global of that name.
const MAP_READ = 0x0001;
const COPY_SRC = 0x0004;
const COPY_DST = 0x0008;
const UNIFORM = 0x0040;
const STORAGE = 0x0080;
const MAP_MODE_READ = 0x0001;

/** Usage of buffers that kernels read and write and that may be copied either way. */
export const GPU_STORAGE = STORAGE | COPY_SRC | COPY_DST;
/** Usage of small uniform buffers written from the CPU; they may be copied to be looked at. */
export const GPU_UNIFORM = UNIFORM | COPY_SRC | COPY_DST;
/** Usage of buffers that are mapped for reading. */
export const GPU_READBACK = MAP_READ | COPY_DST;

/** Whether an adapter runs on the CPU: SwiftShader, lavapipe (llvmpipe), Microsoft's WARP. */
export function isSoftwareAdapter(info: GPUAdapterInfo | undefined): boolean {
  if (info === undefined) return false; // hosts that do not tell are browsers with a GPU
  const text = `${info.vendor} ${info.architecture} ${info.device} ${info.description}`.toLowerCase();
  return info.isFallbackAdapter || /swiftshader|llvmpipe|lavapipe|software|basic render/.test(text);
}

/** 1536 → "1.5 KiB". */
export function formatBytes(bytes: number): string {
  const units = ["bytes", "KiB", "MiB", "GiB", "TiB"];
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${unit === 0 ? value : value.toFixed(1)} ${units[unit]}`;
}

function messageOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}
