import type { Executor } from "./executor.ts";
import type { PreparedProgram } from "./prepared-program.ts";
import type { Program } from "./program.ts";

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
