// Turns the dispatches of an answer into explained passes while they run.
import type { Gpu } from "../gpu/device.ts";
import type { Executor, StagedProgram } from "../gpu/executor.ts";
import type { Kernel } from "../gpu/kernel.ts";
import { PreparedProgram } from "../gpu/prepared-program.ts";
import type { Binding, DispatchCommand, Program } from "../gpu/program.ts";
import type { ModelConfig } from "../models/config.ts";
import type { ExplainedKernel, ExplainedPass, PassTensor, PassValues } from "./explained-pass.ts";
import { fixedWorkgroupSize, kernelHeader, weightDtypeOf, workgroupSize } from "./kernel-text.ts";
import { type BoundTensors, neededBinding, type PassCall } from "./pass-call.ts";
import { PassRunner, type ReadValues } from "./pass-runner.ts";
import { tensorsOf } from "./pass-tensors.ts";
import { pictureOf, statisticsOf, type TensorView } from "./pass-values.ts";
import { wordsOf } from "./pass-words.ts";

/** What is recorded and for which answer. */
export interface RecorderOptions {
  readonly readsValues: boolean;
  readonly onPass: ((pass: ExplainedPass) => void) | undefined;
  readonly signal: AbortSignal | undefined;
}

/** A part of a binding that a pass writes. */
interface Output {
  readonly binding: string;
  readonly label: string;
  readonly buffer: Binding;
  readonly view: TensorView;
}

/** Runs and records one answer; to be disposed of. */
export class PassRecorder implements Executor {
  /** No pass past the answer's end is explained. */
  readonly maxLookahead = 1;
  readonly passes: ExplainedPass[] = [];
  readonly kernels: Record<string, ExplainedKernel> = {};
  private readonly gpu: Gpu;
  private readonly config: ModelConfig;
  private readonly options: RecorderOptions;
  private readonly runner: PassRunner;
  private readonly keys = new Map<Kernel, string>();

  constructor(gpu: Gpu, config: ModelConfig, options: RecorderOptions) {
    this.gpu = gpu;
    this.config = config;
    this.options = options;
    this.runner = new PassRunner(gpu, options.signal);
  }

  /** @throws as {@link PreparedProgram.prepare}. */
  prepare(program: Program): Promise<PreparedProgram> {
    return PreparedProgram.prepare(this.gpu, program);
  }

  /** Runs and records programs that would be submitted together. @throws as `PassRunner.run`. */
  async run(programs: readonly StagedProgram[]): Promise<void> {
    // What decides where kernels write does not change between the passes of one submit.
    const known = new Map<GPUBuffer, Uint32Array<ArrayBuffer>>();
    for (const { program, stage } of programs) {
      await this.runner.run(program, async ({ command }, dispatch) => {
        const call = await this.callOf(command, known);
        const bound = tensorsOf(call, this.config);
        const outputs = this.options.readsValues ? outputsOf(command, bound) : [];
        const { values, gpuMs } = await dispatch(outputs);
        this.add(stage, { command, call, bound, gpuMs, outputs, values });
      });
    }
  }

  /** Frees what reading back took. */
  dispose(): void {
    this.runner.dispose();
  }

  private async callOf(command: DispatchCommand, known: Map<GPUBuffer, Uint32Array<ArrayBuffer>>): Promise<PassCall> {
    const { kernel, grid, place } = command;
    const { constants = {}, params = {}, bindings } = command.call;
    const needed = neededBinding(kernel.name, constants);
    const binding = needed && bindings[needed];
    let words = new Uint32Array(0);
    if (binding !== undefined) {
      const { buffer } = partOf(binding);
      words = known.get(buffer) ?? (await this.runner.readWords(buffer));
      known.set(buffer, words);
    }
    return { kernel, constants, params, grid, place, words };
  }

  private add(
    stage: string,
    pass: {
      readonly command: DispatchCommand;
      readonly call: PassCall;
      readonly bound: BoundTensors;
      readonly outputs: readonly Output[];
      readonly values: readonly ReadValues[];
      readonly gpuMs: number | undefined;
    },
  ): void {
    const { call, command, gpuMs } = pass;
    const { kernel, place, grid, constants } = call;
    const step = stepParams(call);
    const explained: ExplainedPass = {
      index: this.passes.length,
      stage,
      place,
      what: wordsOf(call, step),
      kernel: this.keyOf(kernel),
      grid,
      workgroupSize: workgroupSize(kernel, constants) ?? [0, 0, 0],
      constants,
      params: { ...call.params, ...step },
      gpuMs,
      tensors: passTensors(command, pass.bound),
      outputs: pass.outputs.map((output, index) => passValues(output, pass.values[index] ?? new Float32Array(0))),
    };
    this.passes.push(explained);
    this.options.onPass?.(explained);
  }

  /** The kernel's name, or one with the dtype of its weights where another variant has the name already. */
  private keyOf(kernel: Kernel): string {
    const known = this.keys.get(kernel);
    if (known !== undefined) return known;
    const names = [kernel.name, `${kernel.name} (${weightDtypeOf(kernel)})`];
    const free = names.find((name) => this.kernels[name] === undefined);
    const key = free ?? `${names[1]} ${this.keys.size}`;
    this.keys.set(kernel, key);
    this.kernels[key] = {
      name: kernel.name,
      wgsl: kernel.code,
      header: kernelHeader(kernel),
      workgroupSize: fixedWorkgroupSize(kernel),
    };
    return key;
  }
}

function outputsOf({ call }: DispatchCommand, bound: BoundTensors): Output[] {
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

function passTensors({ kernel, call }: DispatchCommand, bound: BoundTensors): readonly PassTensor[] {
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

function passValues({ binding, label, view }: Output, values: ReadValues): PassValues {
  const { shape, dtype } = view;
  return { binding, label, shape, dtype, ...statisticsOf(values), picture: pictureOf(values, shape) };
}

function partOf(binding: Binding): { readonly buffer: GPUBuffer; readonly byteLength: number } {
  return "buffer" in binding
    ? { buffer: binding.buffer, byteLength: binding.size }
    : { buffer: binding, byteLength: binding.size };
}

/** What `struct Step` says to an attention or rotation kernel; see models/layers/step.ts for the words' order. */
function stepParams({ kernel, constants, words, params }: PassCall): Readonly<Record<string, number>> {
  if (neededBinding(kernel.name, constants) !== "step") return {};
  const [positionStart = 0, , , , spanStart = 0, spanEnd = 0, scaledStart = 0, scaledEnd = 0] = words;
  const position = { "step.positionStart": positionStart };
  const end = positionStart + (params.numRows ?? 1);
  const scaled = [Math.max(scaledStart, positionStart), Math.min(scaledEnd, end)] as const;
  const isScaled = kernel.name.startsWith("attention-") && spanStart < spanEnd && scaled[0] < scaled[1];
  if (!isScaled) return position;
  return {
    ...position,
    "step.spanStart": spanStart,
    "step.spanEnd": spanEnd,
    "step.scaledStart": scaled[0],
    "step.scaledEnd": scaled[1],
    "step.factor": new Float32Array(words.buffer)[12] ?? 1,
  };
}
