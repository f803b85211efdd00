// A recorded list of dispatches and copies: plain data, made without a device. An Executor prepares it and runs it.
import { GpuError } from "../errors.ts";
import type { Describe } from "./describe.ts";
import { type Constant, fitsType, type Kernel } from "./kernel.ts";

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
  /** What is bound and written, for explanations: evaluated only there. */
  readonly describe?: Describe;
}

/** One recorded call of a kernel. */
export interface DispatchCommand {
  readonly kernel: Kernel;
  readonly call: Dispatch;
  /** Where in the model: as given to {@link Program.at}. */
  readonly place: string;
  /** What comes out, in a few words: as given there. */
  readonly what: string;
  readonly grid: readonly [number, number, number];
  /** The bytes of the kernel's `struct Params`; undefined for a kernel without. */
  readonly params: ArrayBuffer | undefined;
}

/** One recorded copy. */
export interface CopyCommand {
  readonly source: GPUBuffer;
  readonly sourceOffset: number;
  readonly target: GPUBuffer;
  readonly targetOffset: number;
  readonly size: number;
}

/** Records kernel calls and copies. */
export class Program {
  readonly label: string;
  /** What was recorded so far. */
  readonly commands: (DispatchCommand | CopyCommand)[] = [];
  /** `performance.now()` at the start of the recording. */
  readonly startMs = performance.now();
  private place = "";
  private what = "";

  constructor(label: string) {
    this.label = label;
  }

  /** Dispatches recorded so far. */
  get numDispatches(): number {
    return this.commands.filter(isDispatch).length;
  }

  /**
   * Says where in the model the following calls belong, such as "layers.3.mlp.down_proj", and what comes out of them, in a
   * few words: for explanations only.
   */
  at(place: string, what = ""): this {
    this.place = place;
    this.what = what;
    return this;
  }

  /**
   * Records one kernel call.
   * @throws GpuError `shader` when a binding or parameter is missing or unknown.
   */
  dispatch(kernel: Kernel, call: Dispatch): void {
    for (const name of kernel.bindings.keys()) {
      if (name !== "params" && call.bindings[name] === undefined) {
        throw new GpuError("shader", `${kernel.name}: no buffer for binding ${name}.`);
      }
    }
    for (const name of Object.keys(call.bindings)) {
      if (!kernel.bindings.has(name)) throw new GpuError("shader", `${kernel.name}: no binding named ${name}.`);
    }
    this.commands.push({
      kernel,
      call,
      place: this.place,
      what: this.what,
      grid: [call.grid[0], call.grid[1] ?? 1, call.grid[2] ?? 1],
      params: kernel.bindings.has("params") ? packParams(kernel, call.params ?? {}) : undefined,
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
}

/** Whether a command of a program calls a kernel; the others copy. */
export function isDispatch(command: DispatchCommand | CopyCommand): command is DispatchCommand {
  return "kernel" in command;
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
