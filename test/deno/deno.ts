// Runs scripts in Deno, from its npm package for this platform, with its built-in WebGPU on a software driver.

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openNodeAdapter } from "../../src/gpu/hosts/adapter.node.ts";
import { driverEnvironment } from "../../src/gpu/hosts/vulkan-drivers.node.ts";
import { denoExecutable as findDeno } from "../../tools/deno/executable.mjs";
import { type ProgramResult, runProgram } from "../setup/run-program.ts";

/** A software driver for Deno. */
export type Driver = "lavapipe" | "swiftshader";

/** SwiftShader where the platform has it, and lavapipe where the machine has one: a recent one, as Dawn tells. */
export async function usableDrivers(): Promise<readonly Driver[]> {
  const swiftShader = await driverEnvironment("swiftshader").catch(() => undefined);
  const lavapipe = await openNodeAdapter("lavapipe").catch(() => undefined);
  return [
    ...(swiftShader === undefined ? [] : ["swiftshader" as const]),
    ...(lavapipe === undefined ? [] : ["lavapipe" as const]),
  ];
}

/**
 * Runs a JavaScript or TypeScript file in Deno to its end. It may read files, and nothing else: no network, no writing.
 * @param args what the script finds in `Deno.args`.
 * @throws when the script fails; the message holds its stderr.
 */
export async function runInDeno(
  scriptPath: string,
  args: readonly string[] = [],
  options: { readonly driver?: Driver } = {},
): Promise<ProgramResult> {
  const variables = await driverEnvironment(options.driver ?? "swiftshader");
  const run = ["run", "--no-prompt", "--no-config", "--no-remote", "--no-npm", "--allow-read", scriptPath, ...args];
  const result = await deno(run, { env: { ...variables } });
  if (result.ending !== 0) throw new Error(`Deno ended with ${result.ending}:\n${result.stderr}${result.stdout}`);
  return result;
}

/** `deno ARGS` with a cache of its own that is empty at the start. @param options.env variables on top of this process's */
export async function deno(
  args: readonly string[],
  options: { readonly env?: Readonly<Record<string, string | undefined>> | undefined } = {},
): Promise<ProgramResult> {
  const cache = await mkdtemp(join(tmpdir(), "adaptvis-deno-"));
  try {
    return await runProgram(denoExecutable(), args, {
      env: { ...options.env, DENO_DIR: cache, DENO_NO_UPDATE_CHECK: "1", NO_COLOR: "1", FORCE_COLOR: undefined },
    });
  } finally {
    await rm(cache, { recursive: true, force: true });
  }
}

/** Deno's executable, which is there without npm's install scripts. @throws where the platform has none. */
export function denoExecutable(): string {
  const executable = findDeno();
  if (executable === undefined) throw new Error("Deno is not installed; run npm ci.");
  return executable;
}
