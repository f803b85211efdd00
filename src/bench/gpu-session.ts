// One session on a GPU that is lent for minutes: what is measured in which order, and what its results say. Each step runs in a
// separate process (gpu-session-run.node.ts), so that a crash or a lost device costs one step only.
import { InputError, isObject } from "../errors.ts";
import { parseTuningTable, TUNABLE_NAMES } from "../gpu/ops/tuning.ts";
import type { TunableChoice, TunableName, TuningTable } from "../gpu/tunables.ts";
import type { BenchResult } from "./bench.ts";
import { missingRatio, type Ratio, rateRatio } from "./ratios.ts";
import type { Roofline } from "./roofline.ts";
import { NUM_LINEAR_LAYERS } from "./sweep-cases.ts";
import type { SweepFigure, VariantFigure } from "./sweeps.ts";
import { verdicts } from "./verdicts.ts";

/** One step of a session. */
export interface SessionStep {
  readonly name: string;
  /** Its share of the time that is left, among the steps that are left. */
  readonly weight: number;
  /** Arguments of the command line, without adapter and output files. */
  readonly args: readonly string[];
  /** Whether its results are relative to the roofline of the step "roofline". */
  readonly usesRoofline?: boolean;
  /** A program beside the command line that runs it instead; the step is left out where there is no such file. */
  readonly program?: string;
  /** A folder beside the command line that it needs; the step is left out where there is none. */
  readonly folder?: string;
}

/** The name of the step that others take the ceilings from. */
export const ROOFLINE_STEP = "roofline";
/** Steps with a toggle of Dawn's that are compared with the same sweeps without it. */
const SWEEPS_WITHOUT_CLAMPS = "sweeps, disable_robustness";
const SWEEPS_WITH_F16 = "sweeps, vulkan_enable_f16_on_nvidia";

const WITHOUT_CLAMPS = ["--dawn-toggle", "disable_robustness"];
const WITH_F16 = ["--dawn-toggle", "vulkan_enable_f16_on_nvidia"];
const bench = (...only: readonly string[]) => ["bench", "--quick", "--only", ...only];

/** The steps, the most important first. */
export const SESSION_STEPS: readonly SessionStep[] = [
  { name: "half-precision numbers", weight: 20, args: bench("parity/halves") },
  { name: "ids of the demo", weight: 25, args: bench("parity/demo") },
  { name: "ids of llava-110m", weight: 50, args: bench("parity/llava-110m") },
  { name: "kernel tests", weight: 60, args: [], program: "kernel-tests.mjs" },
  { name: ROOFLINE_STEP, weight: 45, args: bench("roofline") },
  { name: "sweeps of decode, f16", weight: 25, args: fullBench("sweeps/decode", "f16"), usesRoofline: true },
  { name: "sweeps of decode, q4", weight: 25, args: fullBench("sweeps/decode", "q4"), usesRoofline: true },
  { name: "sweeps of prefill", weight: 45, args: fullBench("sweeps/prefill"), usesRoofline: true },
  { name: "sweeps of attention", weight: 20, args: fullBench("sweeps/attention"), usesRoofline: true },
  { name: "sweeps of vision", weight: 15, args: fullBench("sweeps/vision"), usesRoofline: true },
  { name: "sweeps of decode, q8", weight: 20, args: fullBench("sweeps/decode", "q8"), usesRoofline: true },
  { name: "sweeps of decode, f32", weight: 5, args: fullBench("sweeps/decode", "f32"), usesRoofline: true },
  { name: "llava-110m", weight: 50, args: bench("models/llava-110m") },
  { name: "7B slice, f16", weight: 60, args: bench("models/llava-7b-slice") },
  { name: "7B slice, q4", weight: 30, args: bench("models/llava-7b-slice-q4") },
  { name: "7B slice, q8", weight: 30, args: bench("models/llava-7b-slice-q8") },
  { name: SWEEPS_WITHOUT_CLAMPS, weight: 30, args: [...WITHOUT_CLAMPS, ...bench("sweeps")], usesRoofline: true },
  {
    name: SWEEPS_WITH_F16,
    weight: 30,
    args: [...WITH_F16, ...bench("parity/halves", "sweeps")],
    usesRoofline: true,
  },
  {
    name: `${SWEEPS_WITHOUT_CLAMPS}, vulkan_enable_f16_on_nvidia`,
    weight: 20,
    args: [...WITHOUT_CLAMPS, ...WITH_F16, ...bench("sweeps")],
    usesRoofline: true,
  },
  { name: "peers", weight: 60, args: [...bench("models/llava-110m"), "--peers"], folder: "../tools/bench/peers" },
];

function fullBench(only: string, dtype?: string): readonly string[] {
  return ["bench", "--rounds", "3", ...(dtype === undefined ? [] : ["--filter", ` ${dtype}`]), "--only", only];
}

/** How a step ended. */
export type StepEnding = "done" | "failed" | "crashed" | "time" | "left out";

/** One step's results. */
export interface StepResult {
  readonly name: string;
  readonly args: readonly string[];
  readonly ending: StepEnding;
  /** One sentence on why the step failed; empty if it succeeded. */
  readonly message: string;
  readonly seconds: number;
  readonly limitSeconds: number;
  /** What the bench wrote with `--lines`. */
  readonly results: readonly SessionResult[];
}

/** A line of a step: a result of the bench, or the machine and versions it was measured with. */
export type SessionResult =
  | BenchResult
  | { readonly kind: "stamp"; readonly result: object }
  | { readonly kind: "tests"; readonly result: TestCounts };

/** The tests of one file. */
export interface TestCounts {
  readonly file: string;
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
  readonly failures: readonly { readonly name: string; readonly message: string }[];
}

/** All results of a session: the content of its file. */
export interface GpuSession {
  readonly format: 1;
  /** ISO 8601 */
  readonly date: string;
  /** What `adaptvis doctor --json` printed. */
  readonly doctor: object;
  /** Environment variables that led to the driver, where any had to be set. */
  readonly driver: Readonly<Record<string, string>>;
  readonly budgetSeconds: number;
  readonly steps: readonly StepResult[];
  readonly bars: readonly Ratio[];
  /** Null where no sweep was measured. */
  readonly tuning: TuningTable | null;
}

/**
 * Reads a session's steps out of parsed JSON.
 * @throws InputError when it is not a session's file.
 */
export function parseSteps(json: unknown): readonly StepResult[] {
  const refuse = (problem: string): never => {
    throw new InputError(`GPU session: ${problem}; expected a file that adaptvis gpu-session wrote.`);
  };
  if (!isObject(json)) return refuse("expected an object");
  if (json.format !== 1) return refuse(`expected format 1, got ${JSON.stringify(json.format)}`);
  const { steps } = json;
  if (!Array.isArray(steps)) return refuse("expected a list steps");
  const isStep = (step: unknown) => isObject(step) && typeof step.name === "string" && Array.isArray(step.results);
  if (!steps.every(isStep)) return refuse("expected steps of {name, results}");
  return steps as StepResult[]; // the rest is as the same program wrote it
}

/** A file name of an adapter: "NVIDIA H100 80GB HBM3" → "nvidia-h100-80gb-hbm3". */
export function cardName(device: string): string {
  const name = device
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, "-")
    .replace(/^-+|-+$/g, "");
  return name === "" ? "unknown-card" : name;
}

/** Results of one kind, of all steps or of one. */
function resultsOf<Kind extends SessionResult["kind"]>(
  steps: readonly StepResult[],
  kind: Kind,
  step?: string,
): readonly (SessionResult & { readonly kind: Kind })["result"][] {
  return steps
    .filter(({ name }) => step === undefined || name === step)
    .flatMap(({ results }) => results.flatMap((line) => (line.kind === kind ? [line.result] : []))) as never;
}

/** The sweeps without toggles, each once. */
function plainSweeps(steps: readonly StepResult[]): readonly SweepFigure[] {
  return resultsOf(
    steps.filter(({ args }) => !args.includes("--dawn-toggle")),
    "sweep",
  );
}

/** A candidate must take less than this share of the default's time, so that noise does not decide. */
const CLEARLY = 0.97;

/**
 * The tuning table derived from the sweeps: for each choice, the correct candidate with the shortest time relative to the default,
 * averaged over the shapes; null without sweeps.
 */
export function sessionTuning(steps: readonly StepResult[]): TuningTable | null {
  const [stamp] = steps.flatMap(({ results }) =>
    results.flatMap((line) => (line.kind === "stamp" ? [line.result] : [])),
  );
  const key: unknown = stamp === undefined ? undefined : Reflect.get(stamp, "tuningKey");
  const sweeps = plainSweeps(steps);
  const choices: Partial<Record<TunableName, TunableChoice>> = {};
  for (const name of TUNABLE_NAMES) {
    const best = bestChoice(
      sweeps.filter(({ tunable }) => tunable === name),
      name,
    );
    if (best !== undefined) choices[name] = best;
  }
  if (typeof key !== "string" || Object.keys(choices).length === 0) return null;
  return parseTuningTable({ format: 1, key, choices });
}

function bestChoice(sweeps: readonly SweepFigure[], name: TunableName): TunableChoice | undefined {
  const [first] = sweeps;
  if (first === undefined) return undefined;
  const costs = first.variants.flatMap(({ name: variant, choice }) => {
    const times = sweeps.map((sweep) => relativeTime(sweep, variant));
    if (choice === null || !isCandidate(name, choice) || times.includes(undefined)) return [];
    const mean = times.reduce<number>((sum, time) => sum + Number(time), 0) / times.length;
    return [{ choice, mean }];
  });
  const [fallback, ...others] = costs;
  const [best] = others.sort((a, b) => a.mean - b.mean);
  return best !== undefined && fallback !== undefined && best.mean < CLEARLY * fallback.mean
    ? best.choice
    : fallback?.choice;
}

/** A case sweeps the tiles of both choices of matmul-tiled; a table may only name a choice's own. */
function isCandidate(name: TunableName, choice: TunableChoice): boolean {
  try {
    parseTuningTable({ format: 1, key: "", choices: { [name]: choice } });
    return true;
  } catch {
    return false;
  }
}

/** Time of a correct variant relative to the first one; undefined if it did not run or was wrong. */
function relativeTime({ variants }: SweepFigure, name: string): number | undefined {
  const variant = variants.find((each) => each.name === name);
  const [first] = variants;
  if (variant === undefined || first === undefined || !variant.isSame) return undefined;
  return variant.ms.median / first.ms.median;
}

/** The bars that a session on a GPU is judged by, met or missed; open where their figures are missing. */
export function sessionBars(steps: readonly StepResult[]): readonly Ratio[] {
  // Without a finished roofline step, later steps measure the roofline themselves.
  const [roofline] = [...resultsOf(steps, "roofline", ROOFLINE_STEP), ...resultsOf(steps, "roofline")];
  const sweeps = plainSweeps(steps);
  const decode = (dtype: string, wanted: number) =>
    shareBar({ name: `decode-7b-${dtype}-share-of-read`, wanted }, { group: "decode", dtype, of: "read" });
  const shareBar = (bar: Wanted, share: ShareOf) => shareRatio(bar, { ...share, sweeps, roofline });
  const models = [...resultsOf(steps, "model", "peers"), ...resultsOf(steps, "model")];
  const peers = verdicts(false, { shares: [], models, missingPeers: [] });
  const peerBar = (name: string, wanted: number): Ratio => {
    const found = peers.find((ratio) => ratio.name === name);
    if (found === undefined) return missingRatio({ name, wanted }, "This was not measured.");
    return { ...found, wanted, isMet: found.ratio === null ? null : found.ratio >= wanted };
  };
  return [
    parityBar(steps),
    testsBar(steps),
    decode("f16", 0.7),
    decode("q4", 0.45),
    shareBar({ name: "prefill-7b-f16-share-of-fma", wanted: 0.6 }, { group: "prefill", dtype: "f16", of: "fma" }),
    peerBar("decode-over-onnxruntime", 1.5),
    peerBar("prefill-over-onnxruntime", 1),
    withoutF16(sweeps, resultsOf(steps, "sweep", SWEEPS_WITH_F16)),
  ];
}

/** Checks of half-precision numbers and token ids that are equal, over all of them. */
function parityBar(steps: readonly StepResult[]): Ratio {
  const bar = { name: "parity", wanted: 1 };
  const checks = resultsOf(steps, "parity").flatMap((part) => part.checks);
  if (checks.length === 0) return missingRatio(bar, "No check ended.");
  const different = checks.filter(({ isEqual }) => !isEqual).map(({ name }) => name);
  return rateRatio(bar, {
    ours: [checks.length - different.length],
    theirs: [checks.length],
    unit: "checks",
    reason: different.length === 0 ? "All are equal." : `Different: ${different.join(", ")}.`,
  });
}

/** Kernels' tests that passed, over all that ended. */
function testsBar(steps: readonly StepResult[]): Ratio {
  const bar = { name: "kernel-tests", wanted: 1 };
  const files = resultsOf(steps, "tests");
  const sum = (counts: readonly number[]) => counts.reduce((total, count) => total + count, 0);
  const [passed, failed] = [sum(files.map((file) => file.passed)), sum(files.map((file) => file.failed))];
  if (passed + failed === 0) return missingRatio(bar, "No test ended.");
  const broken = files.filter((file) => file.failed > 0).map(({ file }) => file);
  const reason = broken.length === 0 ? `${files.length} files.` : `Failures in ${broken.join(", ")}.`;
  return rateRatio(bar, { ours: [passed], theirs: [passed + failed], unit: "tests", reason });
}

interface Wanted {
  readonly name: string;
  readonly wanted: number;
}

interface ShareOf {
  readonly group: keyof typeof NUM_LINEAR_LAYERS;
  readonly dtype: string;
  readonly of: "read" | "fma";
}

/** Share of a ceiling over all cases of a token or prompt, weighted by how often each runs, with the best correct variant. */
function shareRatio(
  bar: Wanted,
  share: ShareOf & { readonly sweeps: readonly SweepFigure[]; readonly roofline: Roofline | undefined },
): Ratio {
  const { group, dtype, of, sweeps, roofline } = share;
  const cases = sweeps.filter((sweep) => sweep.group === group && sweep.dtype === dtype && sweep.uses > 0);
  if (roofline === undefined || cases.length === 0) {
    return missingRatio(
      bar,
      roofline === undefined ? "The roofline was not measured." : `${group} in ${dtype} was not measured.`,
    );
  }
  const numLayers = NUM_LINEAR_LAYERS[group];
  if (cases.length < numLayers) {
    return missingRatio(bar, `Only ${cases.length} of ${numLayers} linear layers were measured in ${dtype}.`);
  }
  let work = 0;
  let ms = 0;
  for (const sweep of cases) {
    const best = bestVariant(sweep);
    if (best === undefined) return missingRatio(bar, `${sweep.name}: no kernel ran and was right.`);
    work += sweep.uses * (of === "read" ? sweep.bytes : sweep.flops);
    ms += sweep.uses * best.ms.median;
  }
  return rateRatio(bar, {
    ours: [work / (ms * 1e6)],
    theirs: [(of === "read" ? roofline.read : roofline.fma).rate.median],
    unit: of === "read" ? "GB/s" : "GFLOP/s",
    reason: `${cases.length} linear layers of LLaVA-1.5-7B, each as often as it runs and under its best constants.`,
  });
}

/** The fastest variant with correct results. */
function bestVariant({ variants }: SweepFigure): VariantFigure | undefined {
  return variants.filter(({ isSame }) => isSame).sort((a, b) => a.ms.median - b.ms.median)[0];
}

/** Speed without shader-f16 relative to the speed with it, over all cases measured both ways. */
function withoutF16(plain: readonly SweepFigure[], withF16: readonly SweepFigure[]): Ratio {
  const bar = { name: "without-shader-f16-over-with", wanted: 0.9 };
  const pairs = withF16.flatMap((other) => {
    const same = plain.find(({ name }) => name === other.name);
    const [ours, theirs] = [same && bestVariant(same), bestVariant(other)];
    return ours === undefined || theirs === undefined ? [] : [[ours.ms.median, theirs.ms.median] as const];
  });
  if (pairs.length === 0) return missingRatio(bar, "No case was measured both without and with shader-f16.");
  return rateRatio(bar, {
    ours: pairs.map(([ours]) => 1 / ours),
    theirs: pairs.map(([, theirs]) => 1 / theirs),
    unit: "runs/ms",
    reason: `Medians of ${pairs.length} cases; the spread is that of the cases.`,
  });
}
