// What runs programs: submitted as they are here; explain has an executor that runs them dispatch by dispatch.
import type { Gpu } from "./device.ts";
import { PreparedProgram } from "./prepared-program.ts";
import type { Program } from "./program.ts";

/** A prepared program with the stage of the answer it is run for. */
export interface StagedProgram {
  readonly program: PreparedProgram;
  /** For people, such as "prefill" or "decode step 3": named by whoever runs the program. */
  readonly stage: string;
}

/** Runs programs on one device. */
export interface Executor {
  /** Most tokens that may be on their way at once. */
  readonly maxLookahead: number;
  /**
   * Waits for the program's pipelines and makes what a run needs; to be disposed of.
   * @throws GpuError as {@link PreparedProgram.prepare}.
   */
  prepare(program: Program): Promise<PreparedProgram>;
  /**
   * Runs programs one after the other, together where it can.
   * @returns what has to be awaited; undefined where nothing has to
   */
  run(programs: readonly StagedProgram[]): Promise<void> | undefined;
}

/** Submits programs: those of one run in one command buffer. */
export class SubmitExecutor implements Executor {
  readonly maxLookahead = Number.POSITIVE_INFINITY;
  private readonly gpu: Gpu;

  constructor(gpu: Gpu) {
    this.gpu = gpu;
  }

  /** As {@link PreparedProgram.prepare}. */
  prepare(program: Program): Promise<PreparedProgram> {
    return PreparedProgram.prepare(this.gpu, program);
  }

  /** Encodes and submits; returns before the GPU has run anything. */
  run(programs: readonly StagedProgram[]): undefined {
    const { profiler, device } = this.gpu;
    const label = programs.at(-1)?.program.program.label ?? "";
    const startMs = profiler === undefined ? 0 : performance.now();
    const encoder = device.createCommandEncoder({ label });
    for (const { program } of programs) program.encode(encoder);
    const commands = encoder.finish();
    const submitMs = profiler === undefined ? 0 : performance.now();
    device.queue.submit([commands]);
    profiler?.submitted(label, startMs, submitMs);
  }
}

/** Prepares a program, runs it once and disposes of it. @throws as {@link Executor.prepare}. */
export async function runOnce(executor: Executor, program: Program, stage: string): Promise<void> {
  const prepared = await executor.prepare(program);
  try {
    await executor.run([{ program: prepared, stage }]);
  } finally {
    prepared.dispose();
  }
}

/** Programs that are recorded at the first use and replayed afterwards. */
export class ProgramCache {
  private readonly programs = new Map<string, PreparedProgram>();

  /** The program under `key`, prepared; recorded where it is not there yet. @throws as {@link Executor.prepare}. */
  async get(executor: Executor, key: string, record: () => Program): Promise<PreparedProgram> {
    const known = this.programs.get(key);
    if (known !== undefined) return known;
    const program = await executor.prepare(record());
    this.programs.set(key, program);
    return program;
  }

  /** Frees one program; does nothing for an unknown key. */
  forget(key: string): void {
    this.programs.get(key)?.dispose();
    this.programs.delete(key);
  }

  /** Frees all of them, as their buffers are about to go. */
  dispose(): void {
    for (const program of this.programs.values()) program.dispose();
    this.programs.clear();
  }
}
