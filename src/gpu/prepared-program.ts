// A program that is ready to run on one device: its pipelines compiled, its bind groups and parameters made once, so that
// a replay costs no allocation and no pipeline creation.
import { GpuError } from "../errors.ts";
import { GPU_UNIFORM, type Gpu } from "./device.ts";
import type { Pipeline } from "./kernel.ts";
import type { DispatchInfo } from "./profile/profiler.ts";
import { type CopyCommand, type DispatchCommand, isDispatch, type Program } from "./program.ts";

/** A dispatch that can be encoded. */
export interface PreparedDispatch {
  readonly command: DispatchCommand;
  readonly pipeline: GPUComputePipeline;
  readonly bindGroup: GPUBindGroup;
  /** For the profiler; undefined without one. */
  readonly info: DispatchInfo | undefined;
}

const UNIFORM_STRIDE = 256; // minUniformBufferOffsetAlignment of the WebGPU defaults

/** A program with its pipelines and bind groups; to be disposed of. */
export class PreparedProgram {
  readonly program: Program;
  /** In the order of the program's commands. */
  readonly commands: readonly (PreparedDispatch | CopyCommand)[];
  private readonly gpu: Gpu;
  private readonly arena: GPUBuffer | undefined;

  private constructor(
    gpu: Gpu,
    program: Program,
    parts: {
      readonly commands: readonly (PreparedDispatch | CopyCommand)[];
      readonly arena: GPUBuffer | undefined;
    },
  ) {
    this.gpu = gpu;
    this.program = program;
    this.commands = parts.commands;
    this.arena = parts.arena;
  }

  /**
   * Waits for all pipelines and makes bind groups and the parameter buffer.
   * @throws GpuError `shader` when a kernel does not compile or a constant is missing or unknown, `limit` when a grid is too
   * large.
   */
  static async prepare(gpu: Gpu, program: Program): Promise<PreparedProgram> {
    const { profiler } = gpu;
    const { label, startMs } = program;
    const pipelines = requestPipelines(gpu, program);
    profiler?.add("record", label, startMs);
    const waitMs = profiler === undefined ? 0 : performance.now();
    await Promise.all([...pipelines.values()].map(({ ready }) => ready));
    profiler?.add("pipelines", label, waitMs);
    const bindMs = profiler === undefined ? 0 : performance.now();
    const params = paramsOf(program);
    const arena =
      params.byteLength === 0 ? undefined : gpu.createBuffer(`${label} params`, params.byteLength, GPU_UNIFORM);
    let offset = 0;
    const commands = program.commands.map((command): PreparedDispatch | CopyCommand => {
      if (!isDispatch(command)) return command;
      const pipeline = pipelines.get(command);
      if (pipeline?.handle === undefined) throw new GpuError("shader", `${label}: a pipeline is missing.`);
      const part = command.params && arena ? { buffer: arena, offset, size: command.params.byteLength } : undefined;
      if (part !== undefined) offset += UNIFORM_STRIDE;
      return {
        command,
        pipeline: pipeline.handle,
        bindGroup: gpu.device.createBindGroup({
          label: command.kernel.name,
          layout: pipeline.layout,
          entries: entriesOf(command, part),
        }),
        info: profiler && infoOf(label, command),
      };
    });
    if (arena !== undefined) gpu.write(arena, params);
    profiler?.add("record", label, bindMs);
    return new PreparedProgram(gpu, program, { commands, arena });
  }

  /** Appends the recorded commands to `encoder`. */
  encode(encoder: GPUCommandEncoder): void {
    const { profiler } = this.gpu;
    const { label } = this.program;
    let pass: GPUComputePassEncoder | undefined;
    for (const command of this.commands) {
      if (!("pipeline" in command)) {
        pass?.end();
        pass = undefined;
        const { source, sourceOffset, target, targetOffset, size } = command;
        encoder.copyBufferToBuffer(source, sourceOffset, target, targetOffset, size);
        continue;
      }
      const timestampWrites = command.info && profiler?.dispatching(command.info);
      if (timestampWrites !== undefined) {
        // A pass of the dispatch's own, because only passes can be timed.
        pass?.end();
        pass = encoder.beginComputePass({ label: `${label}: ${command.command.kernel.name}`, timestampWrites });
      }
      pass ??= encoder.beginComputePass({ label });
      pass.setPipeline(command.pipeline);
      pass.setBindGroup(0, command.bindGroup);
      pass.dispatchWorkgroups(...command.command.grid);
    }
    pass?.end();
  }

  /** Frees the parameter buffer; a second call does nothing. */
  dispose(): void {
    if (this.arena !== undefined) this.gpu.destroyBuffer(this.arena);
  }
}

/**
 * Starts compiling the pipelines of a program that are not compiled yet; nothing waits for them.
 * @throws GpuError `shader` when a constant is missing or unknown, `limit` when a grid is too large.
 */
export function requestPipelines(gpu: Gpu, program: Program): ReadonlyMap<DispatchCommand, Pipeline> {
  const maximum = gpu.device.limits.maxComputeWorkgroupsPerDimension;
  const pipelines = new Map<DispatchCommand, Pipeline>();
  for (const command of program.commands) {
    if (!isDispatch(command)) continue;
    const { kernel, call, grid } = command;
    if (grid.some((size) => !Number.isInteger(size) || size < 1 || size > maximum)) {
      throw new GpuError(
        "limit",
        `${kernel.name}: a grid of ${grid.join(" × ")} workgroups was asked for, 1 to ${maximum} a dimension are possible; use a shorter prompt.`,
      );
    }
    pipelines.set(command, gpu.pipelines.get(kernel, call.constants ?? {}));
  }
  return pipelines;
}

/** The parameters of all dispatches, one every 256 bytes. */
function paramsOf({ commands }: Program): Uint8Array<ArrayBuffer> {
  const all = commands.flatMap((command) => (isDispatch(command) && command.params ? [command.params] : []));
  const data = new Uint8Array(all.length * UNIFORM_STRIDE);
  for (const [index, params] of all.entries()) data.set(new Uint8Array(params), index * UNIFORM_STRIDE);
  return data;
}

function entriesOf({ kernel, call }: DispatchCommand, params: GPUBufferBinding | undefined): GPUBindGroupEntry[] {
  const entries: GPUBindGroupEntry[] = [];
  for (const [name, { binding }] of kernel.bindings) {
    const bound = name === "params" ? params : call.bindings[name];
    if (bound === undefined) throw new GpuError("shader", `${kernel.name}: no buffer for binding ${name}.`);
    entries.push({ binding, resource: "buffer" in bound ? bound : { buffer: bound } });
  }
  return entries;
}

function infoOf(stage: string, { kernel, call, grid }: DispatchCommand): DispatchInfo {
  const { constants = {}, params = {} } = call;
  return { stage, kernel: kernel.name, constants, params, grid };
}
