// Starts the packaged headless Chromium (npm @sparticuz/chromium) with WebGPU on SwiftShader.
// Needs no system libraries beyond Node's own: those that Chromium lacks on a minimal Debian come in the same package.

import { createReadStream, createWriteStream } from "node:fs";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { createBrotliDecompress } from "node:zlib";
import { type Browser, chromium } from "playwright-core";
import { unpackOnce } from "../../src/gpu/hosts/cache-folder.node.ts";
import { findChromiumPackage, unpackBrotliTar } from "../../src/gpu/hosts/swiftshader.node.ts";

/** Launches Chromium; close it when done. @throws GpuError when the package is not installed. */
export async function launchChromium(): Promise<Browser> {
  const { executable, libraries } = await unpackChromium();
  return await chromium.launch({
    executablePath: executable,
    args: ["--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader", "--no-sandbox", "--no-zygote"],
    env: { ...process.env, LD_LIBRARY_PATH: libraries },
  });
}

/** Unpacks Chromium, its SwiftShader and the libraries that a minimal system lacks, once. */
async function unpackChromium(): Promise<{ readonly executable: string; readonly libraries: string }> {
  const { version, archives } = await findChromiumPackage();
  const folder = await unpackOnce(`chromium-${version}`, async (target) => {
    await pipeline(
      createReadStream(join(archives, "chromium.br")),
      createBrotliDecompress(),
      createWriteStream(join(target, "chromium"), { mode: 0o755 }),
    );
    await unpackBrotliTar(join(archives, "swiftshader.tar.br"), target);
    await unpackBrotliTar(join(archives, "al2023.tar.br"), target);
  });
  return { executable: join(folder, "chromium"), libraries: `${join(folder, "lib")}:${folder}` };
}
