// The bench: its parts in order, each on the same device in the same run.

import type { Source } from "../checkpoint/source.ts";
import { AbortError, at, throwIfAborted } from "../errors.ts";
import type { Gpu } from "../gpu/device.ts";
import { measureFullSize } from "./full-size.ts";
import { BENCH_DTYPES, GEMM_CASE, GEMV_CASE, type KernelCase, kernelCases } from "./kernel-cases.ts";
import { ceilingsOf, type KernelFigure, measureKernel, measureShare } from "./kernels.ts";
import { modelCases } from "./model-cases.ts";
import { type ModelFigures, measureModel } from "./models.ts";
import { type DemoPicture, measureParity, PARITY_NAMES, type ParityResult } from "./parity.ts";
import type { PeerClient } from "./peer.ts";
import type { CheckpointSpec } from "./random-checkpoint.ts";
import { randomSource } from "./random-source.ts";
import { barsFor, type Ratio } from "./ratios.ts";
import type { BenchReport, Stamp } from "./report.ts";
import { measureRoofline, type Roofline } from "./roofline.ts";
import { measureScaling, SCALING_NAMES, type ScalingSeries } from "./scaling.ts";
import { measureStart, START_NAMES, type StartFigures, type StartProcess } from "./start.ts";
import { SWEEP_GROUPS, sweepCases } from "./sweep-cases.ts";
import { measureSweep, type SweepFigure } from "./sweeps.ts";
import { clocked, type TimingOptions } from "./timing.ts";
import { verdicts } from "./verdicts.ts";
import { winnersOf } from "./winners.ts";

/** What to run and how. */
export interface BenchOptions {
  /** Parts by name, or by a prefix that ends before a "/"; all when empty. */
  readonly only: readonly string[];
  /** Only kernel cases whose name contains this text; all when undefined. */
  readonly filter?: string | undefined;
  readonly isQuick: boolean;
  readonly rounds: number;
  /** An earlier run's on the same adapter; measured when undefined. */
  readonly roofline?: Roofline | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Called with the name of each part before it is measured. */
  readonly onProgress?: ((what: string) => void) | undefined;
  /** Called with each result as soon as it is measured. */
  readonly onResult?: ((result: BenchResult) => Promise<void>) | undefined;
}

/** One result of a run: a member of the report, or an element of one of its lists. */
export type BenchResult =
  | { readonly kind: "roofline"; readonly result: Roofline }
  | { readonly kind: "kernel"; readonly result: KernelFigure }
  | { readonly kind: "share"; readonly result: Ratio }
  | { readonly kind: "sweep"; readonly result: SweepFigure }
  | { readonly kind: "parity"; readonly result: ParityResult }
  | { readonly kind: "model"; readonly result: ModelFigures }
  | { readonly kind: "scaling"; readonly result: ScalingSeries }
  | { readonly kind: "start"; readonly result: StartFigures }
  | { readonly kind: "failure"; readonly result: BenchReport["failures"][number] };

/** What the bench needs of its host besides the GPU. */
export interface BenchHost {
  readonly stamp: Stamp;
  /** The folder of a random checkpoint, written if missing, or of the embedded one for undefined; and how to read it. */
  checkpoint(spec: CheckpointSpec | undefined): Promise<{ readonly folder: string; readonly open: () => Source }>;
  /** The pictures and questions of the embedded checkpoint's demo, decoded. @throws InputError where they cannot be. */
  demoPictures(): Promise<readonly DemoPicture[]>;
  readonly peers: readonly PeerClient[];
  readonly missingPeers: BenchReport["missingPeers"];
  /** Starts a process that asks one question; undefined where the host cannot. */
  readonly start?: StartProcess | undefined;
  /** Largest resident set of this process so far; null where the host does not report it. */
  peakRssBytes(): number | null;
}

/** Names of all parts. */
export function partNames(isSoftware: boolean): readonly string[] {
  const groups = kernelCases({ isSoftware, dtypes: BENCH_DTYPES }).map(kernelGroup);
  const models = modelCases({ isSoftware, isQuick: false }).map(({ name }) => name);
  return ["roofline", ...new Set(groups), "shares", ...models, ...SCALING_NAMES, ...START_NAMES, ...namedOnly()];
}

/** Parts that run only when selected by name. */
function namedOnly(): readonly string[] {
  return [...SWEEP_GROUPS.map(sweepPart), ...PARITY_NAMES];
}

function sweepPart(group: string): string {
  return `sweeps/${group}`;
}

/** Whether a part, or a part of it, is selected. */
export function isAsked(name: string, only: readonly string[]): boolean {
  if (only.length === 0) return true;
  return only.some((asked) => name === asked || name.startsWith(`${asked}/`) || asked.startsWith(`${name}/`));
}

/** Time limit for the rounds of one comparison, ms: a slow adapter runs fewer rounds, but at least one. */
const ROUNDS_BUDGET = { quick: 45_000, full: 300_000 } as const;

/** Runs the bench. A part that fails is listed in the report, and the others continue. @throws AbortError */
export async function runBench(gpu: Gpu, host: BenchHost, options: BenchOptions): Promise<BenchReport> {
  return new BenchRun(gpu, host, options).run();
}

class BenchRun {
  private readonly gpu: Gpu;
  private readonly host: BenchHost;
  private readonly options: BenchOptions;
  private readonly timing: TimingOptions;
  private readonly failures: { part: string; message: string }[] = [];
  private readonly seconds: Record<string, number> = {};

  constructor(gpu: Gpu, host: BenchHost, options: BenchOptions) {
    this.gpu = gpu;
    this.host = host;
    this.options = options;
    this.timing = {
      targetMs: options.isQuick ? 100 : 300,
      minSamples: options.isQuick ? 3 : 5,
      signal: options.signal,
    };
  }

  async run(): Promise<BenchReport> {
    const { host, failures, seconds } = this;
    const roofline = await this.roofline();
    const kernels = roofline && this.asks("kernels") ? await this.kernels(roofline) : null;
    const shares = roofline && this.asks("shares") ? await this.shares(roofline) : [];
    const sweeps = roofline && this.isNamed("sweeps") ? await this.sweeps(roofline) : null;
    const parity = this.isNamed("parity") ? await this.parity() : null;
    const models = this.asks("models") ? await this.models() : null;
    const scaling = this.asks("scaling") ? await this.scaling(roofline) : null;
    const start = this.asks("start") ? await this.start() : null;
    const peers = host.peers.map(({ identity }) => identity);
    const found = { shares, models, roofline, missingPeers: host.missingPeers, hasPeers: peers.length > 0 };
    const ratios = verdicts(this.gpu.isSoftware, found);
    const winners = winnersOf(models, peers);
    const { stamp, missingPeers } = host;
    const measured = { roofline, kernels, sweeps, parity, models, scaling, start };
    return { stamp, ...measured, peers, missingPeers, ratios, winners, failures, seconds };
  }

  private isNamed(name: string): boolean {
    return this.options.only.length > 0 && this.asks(name);
  }

  private asks(name: string): boolean {
    return isAsked(name, this.options.only);
  }

  /** Runs one part; a failure becomes a line of the report. */
  private async part<Kind extends BenchResult["kind"], T extends (BenchResult & { kind: Kind })["result"]>(
    name: string,
    kind: Kind,
    work: () => Promise<T>,
  ): Promise<T | null> {
    const { options, failures } = this;
    throwIfAborted(options.signal, "The bench");
    options.onProgress?.(name);
    let result: T | null = null;
    const ms = await clocked(async () => {
      try {
        result = await work();
      } catch (error) {
        if (error instanceof AbortError) throw error;
        failures.push({ part: name, message: error instanceof Error ? error.message : String(error) });
      }
    });
    this.seconds[name] = ms / 1000;
    // Callers pass matching kinds and results.
    if (result !== null) await options.onResult?.({ kind, result } as unknown as BenchResult);
    else await options.onResult?.({ kind: "failure", result: at(failures, failures.length - 1) });
    return result;
  }

  private async roofline(): Promise<Roofline | null> {
    if (!["roofline", "kernels", "shares", "scaling"].some((name) => this.asks(name)) && !this.isNamed("sweeps"))
      return null;
    const { gpu, timing } = this;
    if (this.options.roofline !== undefined) return this.options.roofline;
    return this.part("roofline", "roofline", () =>
      gpu.guard("measuring the roofline", () => measureRoofline(gpu, timing)),
    );
  }

  private async kernels(roofline: Roofline): Promise<readonly KernelFigure[]> {
    const { gpu, timing } = this;
    const ceilings = ceilingsOf(roofline);
    const figures: KernelFigure[] = [];
    for (const kernel of this.askedKernels()) {
      const figure = await this.part(kernel.name, "kernel", () => measureKernel(gpu, kernel, { ceilings, timing }));
      if (figure !== null) figures.push(figure);
    }
    return figures;
  }

  private async shares(roofline: Roofline): Promise<readonly Ratio[]> {
    const { gpu, timing } = this;
    const { isSoftware } = gpu;
    const bars = barsFor(isSoftware);
    const cases = kernelCases({ isSoftware, dtypes: BENCH_DTYPES });
    const named = (start: string) => cases.find(({ name }) => name.startsWith(start));
    const dtype = isSoftware ? "f32" : "f16";
    const wanted = [
      { bar: bars.gemm, kernel: named(`${GEMM_CASE} ${dtype}`), of: "fma" as const },
      { bar: bars.gemv, kernel: named(`${GEMV_CASE} ${dtype}`), of: "read" as const },
      ...bars.decodeShares.map((share) => ({
        bar: share.bar,
        kernel: named(`llava-7b decode gate_proj 1 row 4096→11008 ${share.dtype}`),
        of: "read" as const,
      })),
    ];
    const ratios: Ratio[] = [];
    for (const { bar, kernel, of } of wanted) {
      if (kernel === undefined) continue; // reported as a bar without a figure
      const how = { roofline, timing, rounds: this.rounds() };
      const ratio = await this.part(bar.name, "share", () => measureShare(gpu, { bar, kernel, of }, how));
      if (ratio !== null) ratios.push(ratio);
    }
    return ratios;
  }

  private async sweeps(roofline: Roofline): Promise<readonly SweepFigure[]> {
    const { gpu } = this;
    const { filter, isQuick, only } = this.options;
    const how = { ceilings: ceilingsOf(roofline), rounds: this.rounds(), isQuick };
    const figures: SweepFigure[] = [];
    for (const sweep of sweepCases(gpu)) {
      const isLeftOut = (isQuick && !sweep.isQuick) || (filter !== undefined && !sweep.name.includes(filter));
      if (isLeftOut || !isAsked(sweepPart(sweep.group), only)) continue;
      const figure = await this.part(sweep.name, "sweep", () => measureSweep(gpu, sweep, how));
      if (figure !== null) figures.push(figure);
    }
    return figures;
  }

  private async parity(): Promise<readonly ParityResult[]> {
    const { gpu, host } = this;
    const results: ParityResult[] = [];
    for (const name of PARITY_NAMES) {
      if (!this.asks(name)) continue;
      const result = await this.part(name, "parity", () => measureParity(name, { gpu, ...host }));
      if (result !== null) results.push(result);
    }
    return results;
  }

  private async models(): Promise<readonly ModelFigures[]> {
    const { gpu, host, options } = this;
    const figures: ModelFigures[] = [];
    for (const model of modelCases({ isSoftware: gpu.isSoftware, isQuick: options.isQuick })) {
      const isOnlyByName = (options.isQuick && !model.isQuick) || model.isFullSize === true;
      const isLeftOut = isOnlyByName && !options.only.includes(model.name);
      if (isLeftOut || !this.asks(model.name)) continue;
      const figure = await this.part(model.name, "model", async () => {
        const run = {
          device: gpu.device,
          isSoftware: gpu.isSoftware,
          rounds: this.rounds(),
          peakRssBytes: () => host.peakRssBytes(),
        };
        const { spec } = model;
        if (model.isFullSize && spec !== undefined) {
          const embedded = await host.checkpoint(undefined);
          return measureFullSize(model, { ...run, open: () => randomSource(spec, embedded.open()) });
        }
        return measureModel(model, { ...run, ...(await host.checkpoint(spec)), peers: host.peers });
      });
      if (figure !== null) figures.push(figure);
    }
    return figures;
  }

  private async scaling(roofline: Roofline | null): Promise<readonly ScalingSeries[]> {
    const { gpu, options, timing } = this;
    const curves: ScalingSeries[] = [];
    for (const name of SCALING_NAMES) {
      if (!this.asks(name)) continue;
      const curve = await this.part(name, "scaling", () =>
        measureScaling(name, {
          device: gpu.device,
          isSoftware: gpu.isSoftware,
          isQuick: options.isQuick,
          ceilings: roofline && ceilingsOf(roofline),
          timing,
        }),
      );
      if (curve !== null) curves.push(curve);
    }
    return curves;
  }

  /** The models of the same names, each in fresh processes; a quick run starts only the embedded one. */
  private async start(): Promise<readonly StartFigures[]> {
    const { host, options } = this;
    const { start } = host;
    if (start === undefined) return [];
    const models = modelCases({ isSoftware: this.gpu.isSoftware, isQuick: options.isQuick });
    const figures: StartFigures[] = [];
    for (const name of START_NAMES) {
      const model = models.find((each) => each.name === name.replace("start/", "models/"));
      const isLeftOut = options.isQuick && model?.spec !== undefined && !options.only.includes(name);
      if (model === undefined || isLeftOut || !this.asks(name)) continue;
      const figure = await this.part(name, "start", async () => {
        const { folder } = await host.checkpoint(model.spec);
        return measureStart(name, folder, { start, rounds: this.rounds() });
      });
      if (figure !== null) figures.push(figure);
    }
    return figures;
  }

  private rounds() {
    const { options } = this;
    const budgetMs = options.isQuick ? ROUNDS_BUDGET.quick : ROUNDS_BUDGET.full;
    return { rounds: options.rounds, budgetMs, signal: options.signal };
  }

  private askedKernels(): readonly KernelCase[] {
    const { filter, isQuick, only } = this.options;
    return kernelCases({ isSoftware: this.gpu.isSoftware, dtypes: BENCH_DTYPES }).filter(
      (kernel) =>
        isAsked(kernelGroup(kernel), only) &&
        (kernel.isQuick || !isQuick || filter !== undefined) &&
        (filter === undefined || kernel.name.includes(filter)),
    );
  }
}

function kernelGroup({ name }: KernelCase): string {
  return `kernels/${name.split(" ")[0]}`;
}
