// The kernels' tests as cases that a page can run one by one: vitest's own runner collects them.
import { collectTests, getFn, type Suite, type Test, type VitestRunner } from "@vitest/runner";
import { kernelTests } from "kernel-tests";
import { openTestDevice } from "./device.ts";
import { type CaseResult, recordCase } from "./recorder.ts";

/** One test of a kernel. */
export interface LiveCase {
  /** Its name and those of the groups that it is in. */
  readonly title: string;
  /** @param options.timed whether its first program's time is measured */
  run(options: { readonly timed: boolean }): Promise<CaseResult>;
}

/** What the page's GPU is called. @throws GpuError where there is none. */
export async function gpuName(): Promise<string> {
  return (await openTestDevice()).name;
}

const collected = new Map<string, Promise<readonly LiveCase[]>>();
let last: Promise<unknown> = Promise.resolve();

/** The tests of a kernel that this GPU can run. @throws Error for an unknown kernel, GpuError where there is no GPU. */
export function casesOf(kernel: string): Promise<readonly LiveCase[]> {
  let cases = collected.get(kernel);
  if (cases === undefined) {
    cases = oneByOne(() => collect(kernel));
    cases.catch(() => collected.delete(kernel));
    collected.set(kernel, cases);
  }
  return cases;
}

async function collect(kernel: string): Promise<readonly LiveCase[]> {
  const load = kernelTests[kernel];
  if (load === undefined) throw new Error(`${kernel}: there is no kernel of this name here.`);
  await openTestDevice();
  const [file] = await collectTests([{ filepath: kernel, testLocations: undefined }], runnerOf(load));
  const message = file?.result?.errors?.[0]?.message;
  if (file === undefined || message !== undefined) throw new Error(`${kernel}: its tests did not load: ${message}.`);
  const tests = testsOf(file, []);
  // A group that all of them are in says nothing.
  const isOneGroup = tests.every(({ path }) => path.length > 1 && path[0] === tests[0]?.path[0]);
  return tests.map(({ test, path }) => ({
    title: plainTitle(path.slice(isOneGroup ? 1 : 0).join(" · ")),
    run: (options) => oneByOne(() => recordCase(() => getFn(test)(), options)),
  }));
}

/** A title without the quotation marks that vitest puts around texts. */
function plainTitle(title: string): string {
  return title.replace(/'((?:[^'\\]|\\.)*)'/g, (quoted, text: string) =>
    /\w'\w/.test(quoted) ? quoted : text.replace(/\\(.)/g, "$1"),
  );
}

/** Tests share one device and one record of what they measure. */
function oneByOne<T>(work: () => Promise<T>): Promise<T> {
  const next = last.then(work, work);
  last = next;
  return next;
}

function testsOf(suite: Suite, path: readonly string[]): { readonly test: Test; readonly path: readonly string[] }[] {
  return suite.tasks.flatMap((task) => {
    if (task.mode !== "run") return [];
    const inner = [...path, task.name];
    return task.type === "test" ? [{ test: task, path: inner }] : testsOf(task, inner);
  });
}

function runnerOf(importFile: () => unknown): VitestRunner {
  return {
    config: {
      root: "/",
      setupFiles: [],
      name: undefined,
      passWithNoTests: true,
      testNamePattern: undefined,
      allowOnly: false,
      sequence: { seed: 0, hooks: "stack", setupFiles: "list", shuffle: false, concurrent: false },
      chaiConfig: { truncateThreshold: 1000 },
      maxConcurrency: 1,
      testTimeout: 120_000,
      hookTimeout: 120_000,
      retry: 0,
      includeTaskLocation: false,
      tags: [],
      tagsFilter: undefined,
      strictTags: false,
    },
    importFile,
    trace: (_name: string, ...rest: readonly unknown[]) => (rest.at(-1) as () => unknown)(), // its last argument is the work
  } as VitestRunner;
}
