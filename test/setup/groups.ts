// Which test files belong together: the CPU's, the hosts', the command's and the playground's (each run once) and the GPU's (run
// on every adapter).

const cpuFolders = ["app", "checkpoint", "preprocess", "unit", "evaluate", "fuzz", "store"];
const hostFolders = ["browser", "bundle", "deno", "hosts", "package", "playground"];
const commandFolders = ["cli", "bench", "docs", "serve", "soak"];
const pageFolders = ["e2e"];

/** A part of the suite that runs in one vitest process. `kernels` and `models` are the two parts of `gpu`. */
export type TestGroup = (typeof TEST_GROUPS)[number];

const TEST_GROUPS = ["all", "cpu", "hosts", "commands", "e2e", "gpu", "kernels", "models"] as const;

/** Whether a name out of the environment is a group's. */
export function isTestGroup(name: string | undefined): name is TestGroup {
  return TEST_GROUPS.some((group) => group === name);
}

/** vitest's `include` and `exclude` for a group, as patterns from the repository's root. */
export function includeOf(group: TestGroup): {
  include: string[];
  exclude: string[];
} {
  const all = ["test/**/*.test.ts"];
  const none: string[] = [];
  switch (group) {
    case "all":
      return { include: all, exclude: none };
    case "cpu":
      return { include: cpuFolders.map(testsUnder), exclude: none };
    case "hosts":
      return { include: hostFolders.map(testsUnder), exclude: none };
    case "commands":
      return { include: commandFolders.map(testsUnder), exclude: none };
    case "e2e":
      return { include: pageFolders.map(testsUnder), exclude: none };
    case "kernels":
      return { include: [testsUnder("kernels")], exclude: none };
    case "gpu":
      return { include: all, exclude: notOfGpu };
    case "models":
      return { include: all, exclude: [...notOfGpu, testsUnder("kernels")] };
  }
}

const notOfGpu = [...cpuFolders, ...hostFolders, ...commandFolders, ...pageFolders].map(testsUnder);

function testsUnder(folder: string): string {
  return `test/${folder}/**/*.test.ts`;
}
