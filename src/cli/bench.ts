// adaptvis bench: the speed of the engine on this machine, by kernel and as a whole, against its roofline and other engines.

import { existsSync } from "node:fs";
import { appendFile } from "node:fs/promises";
import { join } from "node:path";
import type { Command } from "commander";
import { type BenchHost, type BenchOptions, isAsked, partNames, runBench } from "../bench/bench.ts";
import { benchCacheFolder, cachedCheckpoint, stampRun } from "../bench/host.node.ts";
import { speedOf } from "../bench/machine-speed.ts";
import type { DemoPicture } from "../bench/parity.ts";
import { startPeers } from "../bench/peer-process.node.ts";
import { reportTables } from "../bench/report.ts";
import { reportHtml } from "../bench/report-html.node.ts";
import type { Roofline } from "../bench/roofline.ts";
import { openStarter } from "../bench/start-process.node.ts";
import { fileSource } from "../checkpoint/file-source.node.ts";
import { readFileText } from "../checkpoint/read-file.node.ts";
import { writeFileWhole } from "../checkpoint/write-file.node.ts";
import { InputError, isObject } from "../errors.ts";
import { Gpu, requestGpuDevice } from "../gpu/device.ts";
import type { OpenedAdapter } from "../gpu/hosts/adapter-choice.node.ts";
import { driverEnvironment } from "../gpu/hosts/vulkan-drivers.node.ts";
import { tuningKey } from "../gpu/ops/tuning.ts";
import { readImageFile } from "../preprocess/decode-image.node.ts";
import { checkOutput, someText, wholeFrom } from "./checks.ts";
import { readQuestions } from "./demo.ts";
import { embeddedModel, examplePicture, examples, packageFolder, packageVersion } from "./package-files.ts";
import { defineCommand, type Session, styled, table, UsageError } from "./session.ts";
import { keepSpeed } from "./speed-cache.ts";

/** Parsed options of `bench`. */
interface BenchFlags {
  readonly only?: readonly string[];
  readonly filter?: string;
  readonly quick?: boolean;
  readonly list?: boolean;
  readonly rounds?: number;
  readonly peers?: string;
  readonly report?: string;
  readonly html?: string;
  readonly lines?: string;
  readonly roofline?: string;
}

const DEFAULT_ROUNDS = { quick: 2, full: 5 } as const;

/** What a fresh process is asked about the first picture of the demo. */
const START_QUESTION = "Where is the ball in relation to the robot? Answer with left, right, front or behind.";

/** `adaptvis bench`. */
export const benchCommand = defineCommand("bench", describeBench, bench);

/** Describes `bench` to commander. */
function describeBench(command: Command): Command {
  return command
    .description("Measure the speed of this machine: roofline, kernels, whole models, scaling and start.")
    .option("--only <names...>", "parts to run, by name or prefix (see --list), separated by commas or spaces")
    .option("--filter <text>", "only kernel cases whose name contains this text", someText)
    .option("--quick", "a shorter run with fewer cases and rounds")
    .option("--rounds <n>", "maximum rounds per comparison (default: 5, with --quick 2)", wholeFrom(1, 100))
    .option("--peers <dir>", "folder of programs that run other engines for comparison", someText)
    .option("--list", "print the names of all parts and exit")
    .option("--report <file>", "write the report as JSON to a file; same as --json <file>", someText)
    .option("--lines <file>", "append each result to a file as a line of JSON, as soon as it is measured", someText)
    .option("--roofline <file>", "take the roofline of an earlier report instead of measuring it", someText)
    .option("--html <file>", "write the report as a single HTML file with plots", someText)
    .addHelpText(
      "after",
      examples(() => ["bench --list", "bench --quick --json bench.json", "bench --only roofline,kernels"]),
    );
}

/**
 * Rewrites `bench --json FILE` to `bench --report FILE`. For every command, --json alone writes to stdout; bench takes no
 * operands, so an argument after --json can only be a file.
 */
export function withReportFile(args: readonly string[]): readonly string[] {
  const takesValue = (arg: string | undefined) => arg === "--adapter" || arg === "--dawn-toggle";
  const command = args.findIndex((arg, index) => !arg.startsWith("-") && !takesValue(args[index - 1]));
  if (args[command] !== "bench") return args;
  return args.flatMap((arg, index) => {
    const next = args[index + 1];
    if (arg === "--json" && next !== undefined && !next.startsWith("-") && index > command) {
      return ["--report"];
    }
    return arg.startsWith("--json=") ? ["--report", arg.slice("--json=".length)] : [arg];
  });
}

/** Runs `bench`. */
async function bench(session: Session, flags: BenchFlags): Promise<void> {
  const only = (flags.only ?? []).flatMap((names) => names.split(",")).map((name) => name.trim());
  if (flags.list === true) {
    session.print(`${partNames(false).join("\n")}\n`);
    session.result({ parts: partNames(false) });
    return;
  }
  const unknown = only.find((name) => !partNames(false).some((part) => isAsked(part, [name])));
  if (unknown !== undefined) {
    throw new UsageError(`--only ${unknown}: unknown part; adaptvis bench --list prints the names.`);
  }
  await checkOutput("--report", flags.report, []);
  await checkOutput("--html", flags.html, [flags.report]);
  await checkOutput("--lines", flags.lines, [flags.report, flags.html]);
  if (flags.peers !== undefined && !existsSync(flags.peers)) {
    throw new InputError(`${flags.peers} does not exist: --peers expects a folder of programs.`);
  }
  const opened = await session.openAdapter();
  session.note(`adaptvis: running on ${opened.description}`);
  const device = await requestGpuDevice(opened.adapter);
  const gpu = new Gpu(device, { isSoftware: opened.isSoftware });
  const isQuick = flags.quick === true;
  const named = {
    only,
    filter: flags.filter,
    isQuick,
    rounds: flags.rounds ?? DEFAULT_ROUNDS[isQuick ? "quick" : "full"],
  };
  const { lines } = flags;
  const appendLine = async (line: object) => {
    if (lines !== undefined) await appendFile(lines, `${JSON.stringify(line)}\n`);
  };
  const options: BenchOptions = {
    ...named,
    roofline: flags.roofline === undefined ? undefined : await readRoofline(flags.roofline),
    onResult: appendLine,
    signal: session.signal,
    onProgress: (what) => session.note(styled("dim", `adaptvis bench: ${what}`, process.stderr)),
  };
  const { peers, missing } =
    flags.peers === undefined
      ? { peers: [], missing: [] }
      : await startPeers(flags.peers, { env: await peerEnvironment(opened), isQuick: flags.quick === true });
  const { dawnToggles } = session;
  const starter = await openStarter({
    command: join(packageFolder(), "dist", "cli.js"),
    options: ["--adapter", session.adapter, ...dawnToggles.flatMap((toggle) => ["--dawn-toggle", toggle])],
    picture: examplePicture(embeddedModel()),
    question: START_QUESTION,
    signal: session.signal,
  });
  try {
    const run = { folder: packageFolder(), version: packageVersion(), options: { ...named, dawnToggles } };
    const stamp = stampRun(opened, { ...run, tuningKey: tuningKey(device) });
    await appendLine({ kind: "stamp", result: stamp });
    const versions = Object.fromEntries(peers.map(({ identity }) => [identity.name, identity.version]));
    const host: BenchHost = {
      stamp: { ...stamp, versions: { ...stamp.versions, ...versions } },
      checkpoint: async (spec) => {
        const places = { cacheFolder: benchCacheFolder(), tokenizerFolder: embeddedModel() };
        const folder = spec === undefined ? embeddedModel() : await cachedCheckpoint(spec, places);
        return { folder, open: () => fileSource(folder) };
      },
      demoPictures,
      peers,
      missingPeers: missing,
      start: starter.start,
      peakRssBytes: () => process.resourceUsage().maxRSS * 1024,
    };
    const report = await runBench(gpu, host, options);
    const { roofline, kernels } = report;
    const speed = roofline && kernels && speedOf(tuningKey(device), roofline, kernels);
    if (speed) session.note(`adaptvis: the speed of the adapter, for plan, is ${await keepSpeed(speed)}`);
    for (const { title, head, rows } of reportTables(report)) {
      session.print(`${styled("bold", title)}\n${table(head, rows).join("\n")}\n\n`);
    }
    if (report.winners.length > 0) session.print(`${report.winners.map(({ sentence }) => sentence).join("\n")}\n`);
    session.result(report);
    if (flags.report !== undefined) await writeFileWhole(flags.report, `${JSON.stringify(report, undefined, 1)}\n`);
    if (flags.html !== undefined) await writeFileWhole(flags.html, await reportHtml(report));
  } finally {
    for (const peer of peers) await peer.close();
    await starter.close();
    gpu.dispose();
    device.destroy();
  }
}

/** The roofline of an earlier run's report. @throws InputError when the file has none. */
async function readRoofline(path: string): Promise<Roofline> {
  const refuse = (problem: string, cause?: unknown) =>
    new InputError(`${path} ${problem}: --roofline expects a report that bench --json wrote.`, { cause });
  const text = await readFileText(path).catch((cause: unknown) => {
    throw refuse("cannot be read", cause);
  });
  let report: unknown;
  try {
    report = JSON.parse(text);
  } catch (cause) {
    throw refuse("is not JSON", cause);
  }
  const roofline = isObject(report) ? report.roofline : undefined;
  if (!isObject(roofline) || !isObject(roofline.read) || !isObject(roofline.fma)) throw refuse("has no roofline");
  return roofline as unknown as Roofline; // the rest is as the same program wrote it
}

/** The embedded checkpoint's demo, decoded. */
async function demoPictures(): Promise<readonly DemoPicture[]> {
  const folder = join(embeddedModel(), "demo");
  const pictures: DemoPicture[] = [];
  for (const { image, question } of await readQuestions(join(folder, "demo.json"))) {
    pictures.push({ name: image, image: await readImageFile(join(folder, image), { applyExif: true }), question });
  }
  return pictures;
}

/** Environment variables that make a peer's Vulkan use the same adapter. */
async function peerEnvironment({ kind }: OpenedAdapter): Promise<Record<string, string>> {
  return kind === "lavapipe" || kind === "swiftshader" ? { ...(await driverEnvironment(kind)) } : {};
}
