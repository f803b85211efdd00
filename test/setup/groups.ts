// Which test files belong together: the CPU's, the hosts', the command's and the playground's (each run once) and the GPU's (run
// on every adapter).

const cpuFolders = ["app", "checkpoint", "preprocess", "unit", "evaluate", "fuzz", "store"];
const runtimeFolders = ["browser", "deno", "hosts", "playground"];
const packageFolders = ["bundle", "package"];
const cliFolders = ["cli"];
const serverFolders = ["serve", "soak"];
const toolFolders = ["bench", "docs"];
const pageFolders = ["e2e"];

const hostFolders = [...runtimeFolders, ...packageFolders];
const commandFolders = [...cliFolders, ...serverFolders, ...toolFolders];

/**
 * A part of the suite that runs in one vitest process. `kernels` and `models` are the two parts of `gpu`; `cli`, `servers` and `tools`
 * those of `commands`; `runtimes` and `packages` those of `hosts`.
 */
export type TestGroup = (typeof TEST_GROUPS)[number];

const ONCE_GROUPS = ["cpu", "hosts", "runtimes", "packages", "commands", "cli", "servers", "tools", "e2e"] as const;
const TEST_GROUPS = ["all", ...ONCE_GROUPS, "gpu", "kernels", "models"] as const;

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
    case "runtimes":
      return { include: runtimeFolders.map(testsUnder), exclude: none };
    case "packages":
      return { include: packageFolders.map(testsUnder), exclude: none };
    case "commands":
      return { include: commandFolders.map(testsUnder), exclude: none };
    case "cli":
      return { include: cliFolders.map(testsUnder), exclude: none };
    case "servers":
      return { include: serverFolders.map(testsUnder), exclude: none };
    case "tools":
      return { include: toolFolders.map(testsUnder), exclude: none };
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
