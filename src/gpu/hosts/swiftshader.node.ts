// SwiftShader, Google's Vulkan driver for CPUs, out of the optional npm package @sparticuz/chromium: no root, no system package.
// Its files are unpacked once into a cache folder of the user's.

import { createReadStream } from "node:fs";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { pipeline } from "node:stream/promises";
import { createBrotliDecompress } from "node:zlib";
import { GpuError } from "../../errors.ts";
import { unpackOnce } from "./cache-folder.node.ts";
import { isMissingPackage } from "./missing-package.node.ts";

/** Where the unpacked SwiftShader lies. */
export interface SwiftShaderFiles {
  readonly folder: string;
  /** The Vulkan loader that comes with it, for systems without one. */
  readonly loader: string;
  /** The manifest that names the driver to a Vulkan loader. */
  readonly icdFile: string;
}

/** The installed @sparticuz/chromium. */
export interface ChromiumPackage {
  readonly version: string;
  /** The folder of its compressed archives. */
  readonly archives: string;
}

/** What gives a Linux without SwiftShader an adapter, for messages. */
export const MESA = "Mesa's Vulkan drivers, 23 or newer (Debian, Ubuntu, Fedora: mesa-vulkan-drivers)";

const driverFiles = ["libvulkan.so.1", "libvk_swiftshader.so", "vk_swiftshader_icd.json"];

/**
 * Unpacks SwiftShader unless that was done before.
 * @throws GpuError `no-adapter` when this platform has none or the package is not installed.
 */
export async function unpackSwiftShader(): Promise<SwiftShaderFiles> {
  if (process.platform !== "linux" || process.arch !== "x64") {
    throw new GpuError(
      "no-adapter",
      `SwiftShader comes for linux x64 only, this is ${process.platform} ${process.arch}; install ${process.platform === "linux" ? MESA : "a GPU's driver"}.`,
    );
  }
  const chromium = await findChromiumPackage();
  const folder = await unpackOnce(`swiftshader-${chromium.version}`, (target) =>
    unpackBrotliTar(join(chromium.archives, "swiftshader.tar.br"), target, {
      keep: driverFiles,
    }),
  );
  return {
    folder,
    loader: join(folder, "libvulkan.so.1"),
    icdFile: join(folder, "vk_swiftshader_icd.json"),
  };
}

/**
 * Finds the optional package that carries SwiftShader and Chromium.
 * @throws GpuError `no-adapter` when it is not installed.
 */
export async function findChromiumPackage(): Promise<ChromiumPackage> {
  let entry: string;
  try {
    entry = createRequire(import.meta.url).resolve("@sparticuz/chromium");
  } catch (cause) {
    throw new GpuError(
      "no-adapter",
      `SwiftShader's package @sparticuz/chromium is not installed; run npm install @sparticuz/chromium tar-fs, or install ${MESA}.`,
      { cause },
    );
  }
  const packageFolder = dirname(dirname(dirname(entry))); // the entry is build/cjs/index.cjs or build/esm/index.js
  const manifest: unknown = JSON.parse(await readFile(join(packageFolder, "package.json"), "utf8"));
  const version = manifest instanceof Object && "version" in manifest ? String(manifest.version) : "unknown";
  return { version, archives: join(packageFolder, "bin") };
}

/** Unpacks the files of a `.tar.br`, all or those named in `keep`. */
export async function unpackBrotliTar(
  archive: string,
  folder: string,
  { keep }: { readonly keep?: readonly string[] } = {},
): Promise<void> {
  const { extract } = await import("tar-fs").catch((cause: unknown) => {
    if (!isMissingPackage(cause, "tar-fs")) throw cause;
    const message = `${archive} is unpacked by the npm package tar-fs, which is not installed: run npm install tar-fs.`;
    throw new GpuError("no-adapter", message, { cause });
  });
  const options = {
    ignore: (path: string) => keep !== undefined && !keep.some((name) => path === join(folder, name)),
    chown: false, // else root would give the files to the archive's user; @types/tar-fs lacks the option
  };
  await pipeline(createReadStream(archive), createBrotliDecompress(), extract(folder, options));
}
