// Stands in for src/gpu/executor.ts in the tests that a page runs: programs run as there, and the page hears of them.
import { type Executor, SubmitExecutor } from "../../../../src/gpu/executor.ts";
import type { Program } from "../../../../src/gpu/program.ts";
import { openTestDevice } from "./device.ts";
import { dispatchesOf, firstValues, timeProgram } from "./program-run.ts";
import { recordRun, wantsTime } from "./recorder.ts";

export { SubmitExecutor };

/** As src/gpu/executor.ts; the first program of a case that is to be timed is run again for that. */
export async function runOnce(executor: Executor, program: Program, stage: string): Promise<void> {
  const { device } = await openTestDevice();
  const prepared = await executor.prepare(program);
  try {
    const inputs = await firstValues(device, prepared, "read-only-storage");
    await executor.run([{ program: prepared, stage }]);
    const outputs = await firstValues(device, prepared, "storage");
    const time = wantsTime() ? await timeProgram(device, prepared) : undefined;
    recordRun({ dispatches: dispatchesOf(prepared), inputs, outputs, time });
  } finally {
    prepared.dispose();
  }
}
