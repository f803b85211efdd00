// npm run -s bundle: one archive that runs the bench on a Linux machine (x86-64) with a GPU's driver and nothing else installed.
//   --out FILE           where to write it; by default dist/adaptvis-VERSION-linux-x64.tar.xz
//   --node FILE          the Node to carry, an official build; by default the one that runs this
//   --level 0…9          how hard xz works; by default 6 (about a minute)
//   --peers              a second archive beside it, *-peers-*, with ONNX Runtime to compare with; unpack it over the first
//   --without-pictures   without sharp (7 MB): the bench needs no picture, the command then refuses picture files
// The same sources, Node, packages and xz give the same bytes. Exit code: 0 done, 1 a part is missing or it is too large, 2 usage.

import { spawn } from "node:child_process";
import {
  createWriteStream,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join, resolve } from "node:path";
import process from "node:process";
import { pipeline } from "node:stream/promises";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { inspectNode } from "./node-binary.mjs";
import { manifestOf } from "./packages.mjs";
import { requirePeers, stage, stagePeers } from "./stage.mjs";

const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
const mebibyte = 2 ** 20;
const limitBytes = 40 * mebibyte;
/** A fixed time for every entry; tar warns of the epoch itself as implausible. */
const entryTime = new Date("2000-01-01T00:00:00Z");

const { version, engines } = manifestOf(root);
const name = `adaptvis-${version}-linux-x64`;
const options = readOptions();
if (options !== undefined) await main(options);

async function main({ out, nodeFile, level, pictures, peers }) {
  const scratch = mkdtempSync(join(tmpdir(), "adaptvis-bundle-"));
  try {
    if (peers) requirePeers(root);
    const node = inspectNode(nodeFile, { least: engines.node.replace(/[^\d.]/g, "") });
    const folder = join(scratch, name);
    const note = (text) => process.stderr.write(`bundle: ${text}\n`);
    await stage(folder, { root, node, pictures, note });
    const remedy = pictures ? "--without-pictures or a smaller Node (--node FILE)" : "a smaller Node (--node FILE)";
    const size = await archiveWithin(scratch, out, { level, remedy });
    for (const [path, bytes] of contents(folder)) process.stdout.write(`${mib(bytes).padStart(10)}  ${path}\n`);
    process.stdout.write(`${mib(size).padStart(10)}  ${out} (Node ${node.version})\n`);
    if (!peers) return;
    rmSync(folder, { recursive: true });
    await stagePeers(folder, { root, note });
    const peersOut = out.replace(/(-linux-x64)?\.tar\.xz$/, "-peers$1.tar.xz");
    const peersSize = await archiveWithin(scratch, peersOut, { level, remedy: "a higher --level" });
    process.stdout.write(`${mib(peersSize).padStart(10)}  ${peersOut}\n`);
  } catch (error) {
    process.stderr.write(`bundle: ${error.message}\n`);
    process.exitCode = 1;
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

/** Writes the archive of the folder in `scratch`. @returns its bytes. @throws Error when it is too large; nothing is written then. */
async function archiveWithin(scratch, out, { level, remedy }) {
  const partial = `${out}.partial`;
  try {
    mkdirSync(dirname(out), { recursive: true });
    await archive(scratch, partial, level);
    const { size } = statSync(partial);
    if (size >= limitBytes) {
      throw new Error(`the archive has ${mib(size)}, ${mib(limitBytes)} or more: take ${remedy}, or a higher --level`);
    }
    renameSync(partial, out);
    return size;
  } finally {
    rmSync(partial, { force: true });
  }
}

function readOptions() {
  try {
    const { values } = parseArgs({
      options: {
        out: { type: "string", default: join(root, "dist", `${name}.tar.xz`) },
        node: { type: "string", default: process.execPath },
        level: { type: "string", default: "6" },
        peers: { type: "boolean", default: false },
        "without-pictures": { type: "boolean", default: false },
      },
    });
    if (!/^[0-9]$/.test(values.level)) throw new Error(`--level ${values.level}: expected a digit from 0 to 9`);
    if (existsSync(values.out) && statSync(values.out).isDirectory())
      throw new Error(`--out ${values.out} is a folder`);
    const pictures = !values["without-pictures"];
    const { node: nodeFile, level, peers } = values;
    if (peers && !values.out.endsWith(".tar.xz"))
      throw new Error(`--out ${values.out}: with --peers it must end in .tar.xz`);
    return { out: resolve(values.out), nodeFile, level, pictures, peers };
  } catch (error) {
    process.stderr.write(`bundle: ${error.message.split("\n")[0]}\n`);
    process.exitCode = 2;
    return undefined;
  }
}

/** Packs the one folder in `folder`, sorted, as nobody's, at a fixed time. */
async function archive(folder, file, level) {
  const { pack } = await import("tar-fs");
  const tar = pack(folder, {
    entries: [name], // without an entry for "." itself, which would change the folder that it is unpacked in
    sort: true,
    map: (header) => {
      const isExecutable = header.type === "directory" || (header.mode & 0o100) !== 0;
      return { ...header, mode: isExecutable ? 0o755 : 0o644, mtime: entryTime, uid: 0, gid: 0, uname: "", gname: "" };
    },
  });
  // The filter for x86 machine code saves 4 %. One thread, since xz cuts the data into blocks for more.
  const xz = spawn("xz", ["--x86", `--lzma2=preset=${level}`, "--threads=1", "--stdout"], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  const ended = new Promise((resolve, reject) => {
    xz.on("error", () => reject(new Error("xz is not installed: it packs the archive")));
    xz.on("close", (code) => (code === 0 ? resolve() : reject(new Error(`xz ended with exit code ${code}`))));
  });
  // Without xz all three fail, and its own sentence tells why.
  const [packed, ...written] = await Promise.allSettled([
    ended,
    pipeline(tar, xz.stdin),
    pipeline(xz.stdout, createWriteStream(file)),
  ]);
  const failed = [packed, ...written].find(({ status }) => status === "rejected");
  if (failed !== undefined) throw failed.reason;
}

/** The parts with their unpacked sizes: top-level files, and folders one or two levels down. */
function contents(folder) {
  return readdirSync(folder)
    .sort()
    .flatMap((entry) => {
      const path = join(folder, entry);
      const inside = entry === "app" ? readdirSync(path).sort() : [];
      if (inside.length > 0) return inside.map((part) => [`${entry}/${part}`, bytesOf(join(path, part))]);
      return [[basename(path), bytesOf(path)]];
    });
}

function bytesOf(path) {
  const stats = statSync(path);
  if (!stats.isDirectory()) return stats.size;
  return readdirSync(path).reduce((sum, entry) => sum + bytesOf(join(path, entry)), 0);
}

function mib(bytes) {
  return `${(bytes / mebibyte).toFixed(2)} MiB`;
}
