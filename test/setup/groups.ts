// Which test files belong together: the CPU's, the hosts', the playground's (each run once) and the GPU's (run on every adapter).

const cpuFolders = ["app", "checkpoint", "preprocess", "unit", "evaluate"];
const hostFolders = ["browser", "bundle", "deno", "hosts", "package", "playground"];
const pageFolders = ["e2e"];

/** A part of the suite that runs in one vitest process. `kernels` is the part of `gpu` that the fast check runs. */
export type TestGroup = "all" | "cpu" | "hosts" | "e2e" | "gpu" | "kernels";

/** Whether a name out of the environment is a group's. */
export function isTestGroup(name: string | undefined): name is TestGroup {
  return name === "all" || name === "cpu" || name === "hosts" || name === "e2e" || name === "gpu" || name === "kernels";
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
    case "e2e":
      return { include: pageFolders.map(testsUnder), exclude: none };
    case "kernels":
      return { include: [testsUnder("kernels")], exclude: none };
    case "gpu":
      return {
        include: all,
        exclude: [...cpuFolders, ...hostFolders, ...pageFolders].map(testsUnder),
      };
  }
}

function testsUnder(folder: string): string {
  return `test/${folder}/**/*.test.ts`;
}
