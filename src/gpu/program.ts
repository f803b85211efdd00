// A recorded list of dispatches and copies. Recording makes bind groups and parameters once; encoding replays them, so
// that a decode step costs no allocation and no pipeline creation.
import { GpuError } from "../errors.ts";
import { GPU_UNIFORM, type Gpu } from "./device.ts";
import { type Constant, fitsType, type Kernel, type Pipeline } from "./kernel.ts";
import type { DispatchInfo, Profiler } from "./profile/profiler.ts";

/** A buffer, or a part of one that starts at a multiple of 256 bytes. */
export type Binding =
  | GPUBuffer
  | {
      readonly buffer: GPUBuffer;
      readonly offset: number;
      readonly size: number;
    };

/** One call of a kernel. */
export interface Dispatch {
  readonly constants?: Readonly<Record<string, Constant>>;
  /** One buffer for every binding that the kernel declares, by name; `params` is filled from `params` below. */
  readonly bindings: Readonly<Record<string, Binding>>;
  /** One number for every member of the kernel's `struct Params`. */
  readonly params?: Readonly<Record<string, number>>;
  /** Workgroups in x, y, z. */
  readonly grid: readonly [number, number?, number?];
}

/** One recorded call of a kernel. */
export interface DispatchCommand {
  readonly pipeline: Pipeline;
  readonly kernel: Kernel;
  readonly call: Dispatch;
  /** Where in the model: what {@link Program.at} said last. */
  readonly place: string;
  readonly grid: readonly [number, number, number];
  readonly entries: GPUBindGroupEntry[];
  readonly paramsBinding: number | undefined;
  readonly params: ArrayBuffer | undefined;
  bindGroup: GPUBindGroup | undefined;
  /** For the profiler; undefined without one. */
  readonly info: DispatchInfo | undefined;
}

/** One recorded copy. */
export interface CopyCommand {
  readonly source: GPUBuffer;
  readonly sourceOffset: number;
  readonly target: GPUBuffer;
  readonly targetOffset: number;
  readonly size: number;
}

const UNIFORM_STRIDE = 256; // minUniformBufferOffsetAlignment of the WebGPU defaults

/** Records kernel calls, then encodes them as often as wanted. */
export class Program {
  private readonly gpu: Gpu;
  readonly label: string;
  /** What was recorded so far. */
  readonly commands: (DispatchCommand | CopyCommand)[] = [];
  private place = "";
  private arena: GPUBuffer | undefined;
  private numParams = 0;
  private readonly startMs: number;

  constructor(gpu: Gpu, label: string) {
    this.gpu = gpu;
    this.label = label;
    this.startMs = gpu.profiler === undefined ? 0 : performance.now();
  }

  /** Dispatches recorded so far. */
  get numDispatches(): number {
    return this.commands.filter((command) => "pipeline" in command).length;
  }

  /** Says where in the model the following calls belong, such as "layers.3.mlp.down_proj": for explanations only. */
  at(place: string): this {
    this.place = place;
    return this;
  }

  /**
   * Records one kernel call.
   * @throws GpuError `shader` when a binding or parameter is missing or unknown, `limit` when the grid is too large.
   */
  dispatch(kernel: Kernel, call: Dispatch): void {
    const grid = [call.grid[0], call.grid[1] ?? 1, call.grid[2] ?? 1] as const;
    const maximum = this.gpu.device.limits.maxComputeWorkgroupsPerDimension;
    if (grid.some((size) => !Number.isInteger(size) || size < 1 || size > maximum)) {
      throw new GpuError(
        "limit",
        `${kernel.name}: a grid of ${grid.join(" × ")} workgroups was asked for, 1 to ${maximum} a dimension are possible; use a shorter prompt.`,
      );
    }
    const entries: GPUBindGroupEntry[] = [];
    for (const [name, { binding }] of kernel.bindings) {
      if (name === "params") continue;
      const bound = call.bindings[name];
      if (bound === undefined) throw new GpuError("shader", `${kernel.name}: no buffer for binding ${name}.`);
      entries.push({
        binding,
        resource: "buffer" in bound ? bound : { buffer: bound },
      });
    }
    for (const name of Object.keys(call.bindings)) {
      if (!kernel.bindings.has(name)) throw new GpuError("shader", `${kernel.name}: no binding named ${name}.`);
    }
    const paramsBinding = kernel.bindings.get("params")?.binding;
    if (paramsBinding !== undefined) this.numParams++;
    const { constants = {}, params = {} } = call;
    this.commands.push({
      pipeline: this.gpu.pipelines.get(kernel, constants),
      kernel,
      call,
      place: this.place,
      grid,
      entries,
      paramsBinding,
      params: paramsBinding === undefined ? undefined : packParams(kernel, params),
      bindGroup: undefined,
      info: this.gpu.profiler && { stage: this.label, kernel: kernel.name, constants, params, grid },
    });
  }

  /** Records a copy of `size` bytes (offsets and size multiples of 4); it splits the compute pass. */
  copy(
    source: GPUBuffer,
    target: GPUBuffer,
    options: { size: number; sourceOffset?: number; targetOffset?: number },
  ): void {
    const { size, sourceOffset = 0, targetOffset = 0 } = options;
    this.commands.push({ source, sourceOffset, target, targetOffset, size });
  }

  /**
   * Waits for all pipelines and makes bind groups and the parameter buffer.
   * @throws GpuError `shader` when a kernel does not compile.
   */
  async finish(): Promise<this> {
    const { profiler } = this.gpu;
    const dispatches = this.commands.filter((command) => "pipeline" in command);
    profiler?.add("record", this.label, this.startMs);
    const waitMs = profiler === undefined ? 0 : performance.now();
    await Promise.all(dispatches.map(({ pipeline }) => pipeline.ready));
    profiler?.add("pipelines", this.label, waitMs);
    const bindMs = profiler === undefined ? 0 : performance.now();
    if (this.numParams > 0 && this.arena === undefined) {
      this.arena = this.gpu.createBuffer(`${this.label} params`, this.numParams * UNIFORM_STRIDE, GPU_UNIFORM);
    }
    const data = new Uint8Array(this.numParams * UNIFORM_STRIDE);
    let offset = 0;
    for (const command of dispatches) {
      const entries = [...command.entries];
      if (command.paramsBinding !== undefined && command.params !== undefined && this.arena !== undefined) {
        data.set(new Uint8Array(command.params), offset);
        const resource = {
          buffer: this.arena,
          offset,
          size: command.params.byteLength,
        };
        entries.push({ binding: command.paramsBinding, resource });
        offset += UNIFORM_STRIDE;
      }
      command.bindGroup = this.gpu.device.createBindGroup({
        label: command.kernel.name,
        layout: command.pipeline.layout,
        entries,
      });
    }
    if (this.arena !== undefined) this.gpu.write(this.arena, data);
    profiler?.add("record", this.label, bindMs);
    return this;
  }

  /** Appends the recorded commands to `encoder`; {@link finish} must have resolved. */
  encode(encoder: GPUCommandEncoder): void {
    const { profiler } = this.gpu;
    let pass: GPUComputePassEncoder | undefined;
    for (const command of this.commands) {
      if (!("pipeline" in command)) {
        pass?.end();
        pass = undefined;
        const { source, sourceOffset, target, targetOffset, size } = command;
        encoder.copyBufferToBuffer(source, sourceOffset, target, targetOffset, size);
        continue;
      }
      if (command.pipeline.handle === undefined || command.bindGroup === undefined) {
        throw new GpuError("shader", `${this.label}: encoded before finish().`);
      }
      if (profiler !== undefined && command.info !== undefined) {
        pass = this.beginProfiledPass(encoder, { pass, profiler, info: command.info });
      }
      pass ??= encoder.beginComputePass({ label: this.label });
      pass.setPipeline(command.pipeline.handle);
      pass.setBindGroup(0, command.bindGroup);
      pass.dispatchWorkgroups(...command.grid);
    }
    pass?.end();
  }

  /** A pass of the dispatch's own where the device can time it; else the one there is. */
  private beginProfiledPass(
    encoder: GPUCommandEncoder,
    at: {
      readonly pass: GPUComputePassEncoder | undefined;
      readonly profiler: Profiler;
      readonly info: DispatchInfo;
    },
  ): GPUComputePassEncoder | undefined {
    const timestampWrites = at.profiler.dispatching(at.info);
    if (timestampWrites === undefined) return at.pass;
    at.pass?.end();
    return encoder.beginComputePass({ label: `${this.label}: ${at.info.kernel}`, timestampWrites });
  }

  /** Runs the program once, from {@link finish} to {@link dispose}. */
  async submitOnce(): Promise<void> {
    try {
      await this.finish();
      await this.submit();
    } finally {
      this.dispose();
    }
  }

  /**
   * Encodes and submits the program behind those in `before`, all at once.
   * @returns what has to be awaited while the Gpu has a replay; undefined without one
   */
  submit(before: readonly Program[] = []): Promise<void> | undefined {
    const { profiler, device, replay } = this.gpu;
    if (replay !== undefined) return replay([...before, this]);
    const startMs = profiler === undefined ? 0 : performance.now();
    const encoder = device.createCommandEncoder({ label: this.label });
    for (const program of before) program.encode(encoder);
    this.encode(encoder);
    const commands = encoder.finish();
    const submitMs = profiler === undefined ? 0 : performance.now();
    device.queue.submit([commands]);
    profiler?.submitted(this.label, startMs, submitMs);
    return undefined;
  }

  /** Frees the parameter buffer. */
  dispose(): void {
    if (this.arena !== undefined) this.gpu.destroyBuffer(this.arena);
    this.arena = undefined;
  }
}

function packParams(kernel: Kernel, values: Readonly<Record<string, number>>): ArrayBuffer {
  for (const name of Object.keys(values)) {
    if (!kernel.params.some((field) => field.name === name)) {
      throw new GpuError("shader", `${kernel.name}: no parameter named ${name}.`);
    }
  }
  // A uniform struct of scalars: 4 bytes a member, the whole rounded up to 16.
  const data = new DataView(new ArrayBuffer(Math.max(16, Math.ceil(kernel.params.length / 4) * 16)));
  kernel.params.forEach(({ name, type }, index) => {
    const value = values[name];
    if (value === undefined) throw new GpuError("shader", `${kernel.name}: no value for ${name}.`);
    if (!fitsType(value, type)) {
      throw new GpuError("shader", `${kernel.name}: parameter ${name} expects ${type}, got ${value}.`);
    }
    if (type === "f32") data.setFloat32(index * 4, value, true);
    else data.setUint32(index * 4, value >>> 0, true);
  });
  return data.buffer;
}
