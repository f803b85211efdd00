// Finds the executable in Deno's package for this platform, which npm has installed where there is one.

import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import process from "node:process";

/** The executable's path; undefined on platforms that Deno has no package for, such as Linux with musl. */
export function denoExecutable() {
  const { platform, arch } = process;
  const name = platform === "linux" ? `${platform}-${arch}-glibc` : `${platform}-${arch}`;
  try {
    const manifest = createRequire(import.meta.url).resolve(`@deno/${name}/package.json`);
    const path = join(dirname(manifest), platform === "win32" ? "deno.exe" : "deno");
    return existsSync(path) ? path : undefined;
  } catch {
    return undefined;
  }
}
