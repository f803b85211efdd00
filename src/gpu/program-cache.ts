import type { Gpu } from "./device.ts";
import { Program } from "./program.ts";

/** Programs that are recorded at the first use and replayed afterwards. */
export class ProgramCache {
  private readonly gpu: Gpu;
  private readonly programs = new Map<string, Program>();

  constructor(gpu: Gpu) {
    this.gpu = gpu;
  }

  /** The program under `key`, finished; profiles call it `label`. @throws as {@link Program.finish}. */
  async get(key: string, record: (program: Program) => void, label = key): Promise<Program> {
    const known = this.programs.get(key);
    if (known !== undefined) return known;
    const program = new Program(this.gpu, label);
    record(program);
    await program.finish();
    this.programs.set(key, program);
    return program;
  }

  /** Frees one program; unknown keys are no error. */
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
