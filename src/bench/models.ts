// Whole models, in turns with peers: load rate, vision tower, prefill, decode, and the cost of questions about pictures.

import { openCheckpoint } from "../checkpoint/checkpoint.ts";
import type { Source } from "../checkpoint/source.ts";
import { at, GpuError } from "../errors.ts";
import { Gpu } from "../gpu/device.ts";
import { SubmitExecutor } from "../gpu/executor.ts";
import type { WeightDtype } from "../gpu/tensor.ts";
import { Llava } from "../llava.ts";
import { requireMultimodal } from "../models/config.ts";
import { imageRuns, imageSpan, type ModelInputs } from "../models/inputs.ts";
import { PictureEncoder } from "../models/layers/picture-encoder.ts";
import { readArchitecture } from "../models/registry.ts";
import { loadWeights } from "../models/weights.ts";
import type { ModelCase, WeightForm } from "./model-cases.ts";
import type { PeerAnswer, PeerClient } from "./peer.ts";
import { IMAGE_TOKEN_ID } from "./random-checkpoint.ts";
import { type Spread, spreadOf } from "./statistics.ts";
import { clocked, flush, interleave, type RoundsOptions } from "./timing.ts";

/** A peer's figures for the same model. */
export interface PeerFigures {
  readonly name: string;
  /** Reasons for missing figures, one sentence each, by request. */
  readonly refusals: Readonly<Record<string, string>>;
  readonly loadMs: number | null;
  readonly visionMs: readonly number[];
  /** Tokens a second, by round. */
  readonly prefill: readonly number[];
  /** Tokens a second, by round. */
  readonly decode: readonly number[];
  /** Greedy ids from the same prompt: how many were compared, and how many agree before the first difference. */
  readonly agreement: { readonly numCompared: number; readonly numEqual: number } | null;
}

/** Cost of questions about a picture, by round: ms from the question to its token 1, 16 and 64. */
export interface QuestionFigures {
  readonly promptTokens: number;
  readonly imageTokens: number;
  readonly greedy: readonly QuestionTimes[];
  readonly adaptvis: readonly QuestionTimes[];
  /** First token under six factors, without a cache. */
  readonly sweep6Ms: readonly number[];
  /** An evaluation's question under one factor and under six: 8 tokens with attention maps, without a cache. */
  readonly evaluation1Ms: readonly number[];
  readonly evaluation6Ms: readonly number[];
  /** First token of a second question about the same picture. */
  readonly secondMs: readonly number[];
  /** Cells of a patching grid in the last row: 32, or as many as a smaller model has heads. */
  readonly patchedCells: number;
  /** The grid with both of its runs, without a cache. */
  readonly patchMs: readonly number[];
  /** Some of the same cells one at a time, each as an answer that is written to and shares nothing; measured once. */
  readonly naivePatch: { readonly cells: number; readonly ms: number };
}

/** Times of one answer, ms. */
export interface QuestionTimes {
  readonly token1: number;
  readonly token16: number;
  readonly token64: number;
}

/** One model's figures. */
export interface ModelFigures {
  readonly name: string;
  readonly description: string;
  readonly weights: WeightForm;
  readonly weightBytes: number;
  readonly loadMs: number;
  /** MB of 10^6 bytes per second, whether or not the files are in the system's cache. */
  readonly loadMbps: number;
  /** Time of `warmUp` after the load; later figures do not include it. */
  readonly warmUpMs: number;
  readonly visionMs: readonly number[];
  readonly prefillRows: number;
  /** Tokens a second, by round. */
  readonly prefill: readonly number[];
  readonly decodeTokens: number;
  /** Tokens a second, by round. */
  readonly decode: readonly number[];
  readonly questions: QuestionFigures | null;
  /** The GPU's time of each stage of one question, for a model that is measured once. */
  readonly stages?: readonly { readonly stage: string; readonly gpuMs: number }[];
  readonly gpuBytes: number;
  /** Largest resident set of this process so far; null where the host does not report it. */
  readonly peakRssBytes: number | null;
  readonly peers: readonly PeerFigures[];
}

/** Where a model comes from and which peers run it. */
export interface ModelRun {
  readonly device: GPUDevice;
  readonly isSoftware: boolean;
  readonly open: () => Source;
  /** The checkpoint's folder, for peers. */
  readonly folder: string;
  readonly peers: readonly PeerClient[];
  readonly rounds: RoundsOptions;
  readonly peakRssBytes: () => number | null;
}

/** Measures one model. @throws CheckpointError, GpuError or AbortError. */
export async function measureModel(model: ModelCase, run: ModelRun): Promise<ModelFigures> {
  const peers = model.hasPeers ? run.peers.map((client) => new PeerRun(client)) : [];
  for (const peer of peers) await peer.load(run.folder, peerDtype(model, run));
  try {
    const visionMs = await measureVision(model, run, peers);
    let weightBytes = 0;
    let llava: Llava | undefined;
    const loadMs = await clocked(async () => {
      llava = await Llava.load(run.open(), {
        device: run.device,
        adapterClass: run.isSoftware ? "cpu" : "gpu",
        dtype: model.quantized,
        onProgress: ({ totalBytes }) => {
          weightBytes = totalBytes;
        },
      });
      await flush(llava.gpu);
    });
    if (llava === undefined) throw new GpuError("shader", `${model.name} was not loaded.`);
    const { signal } = run.rounds;
    try {
      const warm = llava;
      const warmUpMs = await clocked(() => warm.warmUp({ signal }));
      const text = await measureText(llava, model, { peers, rounds: run.rounds });
      const questions = model.asksQuestions ? await measureQuestions(llava, model, run.rounds) : null;
      return {
        name: model.name,
        description: model.description,
        weights: model.weights,
        weightBytes,
        loadMs,
        loadMbps: weightBytes / loadMs / 1000,
        warmUpMs,
        visionMs,
        prefillRows: model.prefillRows,
        decodeTokens: model.decodeTokens,
        ...text,
        questions,
        gpuBytes: llava.gpu.allocatedBytes,
        peakRssBytes: run.peakRssBytes(),
        peers: peers.map((peer) => peer.figures()),
      };
    } finally {
      llava.dispose();
    }
  } finally {
    for (const peer of peers) await peer.unload();
  }
}

/** The dtype to ask a peer for: the weights' form and, on a GPU, f16 activations. */
function peerDtype({ quantized }: ModelCase, { isSoftware }: ModelRun): string {
  return `${quantized ?? ""}${isSoftware ? (quantized === undefined ? "f32" : "") : "f16"}`;
}

/** Encodes random pictures one after the other. */
async function measureVision(model: ModelCase, run: ModelRun, peers: readonly PeerRun[]): Promise<readonly number[]> {
  return withEncoder({ ...run, dtype: model.quantized }, async (gpu, { encoder, numPixels }) => {
    const pixels = seededPixels(numPixels);
    const encode = () =>
      clocked(async () => {
        const features = await encoder.encode(pixels, { executor: new SubmitExecutor(gpu) });
        await flush(gpu);
        gpu.destroyBuffer(features);
      });
    await encode(); // compiles
    const { ours } = await interleave(
      { ours: encode, ...Object.fromEntries(peers.map((peer) => [`peer ${peer.name}`, () => peer.vision()])) },
      run.rounds,
    );
    return ours ?? [];
  });
}

/** Loads a checkpoint's weights for its picture encoder alone and runs `work` with it. */
export async function withEncoder<T>(
  run: Pick<ModelRun, "device" | "isSoftware" | "open"> & { readonly dtype?: WeightDtype | undefined },
  work: (gpu: Gpu, vision: { readonly encoder: PictureEncoder; readonly numPixels: number }) => Promise<T>,
): Promise<T> {
  const gpu = new Gpu(run.device, { isSoftware: run.isSoftware });
  try {
    const checkpoint = await openCheckpoint(run.open());
    try {
      const architecture = readArchitecture(checkpoint.config);
      const { pictures } = await loadWeights(checkpoint, architecture, { gpu, dtype: run.dtype });
      if (pictures === undefined) throw new RangeError("open: the checkpoint has no vision.");
      const encoder = new PictureEncoder(gpu, architecture.config.text, pictures);
      return await gpu.guard("measuring the vision tower", () =>
        work(gpu, { encoder, numPixels: pictures.tileLength }),
      );
    } finally {
      await checkpoint.close();
    }
  } finally {
    gpu.dispose();
  }
}

async function measureText(
  llava: Llava,
  model: ModelCase,
  { peers, rounds }: { readonly peers: readonly PeerRun[]; readonly rounds: RoundsOptions },
): Promise<{ readonly prefill: readonly number[]; readonly decode: readonly number[] }> {
  const ids = textIds(model.prefillRows, 1);
  const inputs = llava.processor.fromTensors({ inputIds: ids, pixelValues: undefined });
  const answer = (maxNewTokens: number, reusePrefix: boolean) =>
    llava.answer(inputs, { maxNewTokens, reusePrefix, ignoreEos: true });
  const warm = await answer(model.decodeTokens + 1, false);
  const ourIds = warm.tokens.map(({ tokenId }) => tokenId);
  const runs: Record<string, () => Promise<number>> = {
    prefill: async () => (1000 * ids.length) / (await clocked(() => answer(1, false))),
    decode: async () => {
      // Both runs have the same first step; the difference is the decode loop.
      const one = await clocked(() => answer(1, true));
      const all = await clocked(() => answer(model.decodeTokens + 1, true));
      return (1000 * model.decodeTokens) / Math.max(all - one, 1e-3);
    },
  };
  for (const peer of peers) {
    runs[`peer ${peer.name}`] = () => peer.text(ids, { numTokens: model.decodeTokens, ourIds });
  }
  const { prefill = [], decode = [] } = await interleave(runs, rounds);
  return { prefill, decode };
}

async function measureQuestions(llava: Llava, model: ModelCase, rounds: RoundsOptions): Promise<QuestionFigures> {
  const { vision } = requireMultimodal(llava.config);
  const pixelValues = seededPixels(vision.numChannels * vision.imageSize ** 2);
  const ask = (seed: number): ModelInputs => {
    const inputIds = [...textIds(2, seed + 1), IMAGE_TOKEN_ID, ...textIds(model.questionTokens - 2, seed)];
    return llava.processor.fromTensors({ inputIds, pixelValues });
  };
  const first = ask(10);
  const second = { ...ask(20), inputIds: secondIds(first.inputIds, ask(20).inputIds, imageSpan(first)[1]) };
  const timed = async (method: "greedy" | "adaptvis"): Promise<QuestionTimes> => {
    const started = performance.now();
    const times: number[] = [];
    await llava.answer(first, {
      method,
      maxNewTokens: 64,
      ignoreEos: true,
      reusePrefix: false,
      onToken: () => times.push(performance.now() - started),
    });
    return { token1: at(times, 0), token16: at(times, 15), token64: at(times, 63) };
  };
  const once = async (work: () => Promise<unknown>): Promise<QuestionTimes> => {
    const ms = await clocked(work);
    return { token1: ms, token16: ms, token64: ms };
  };
  const factors = [0.5, 0.8, 1, 1.2, 1.5, 2];
  const evaluate = async (arms: readonly number[]) => {
    using session = llava.session();
    const methods = arms.map((factor) => ({ method: "scaling" as const, factor }));
    const options = { maxNewTokens: 8, ignoreEos: true, reusePrefix: false, attention: true };
    return await session.answerEach(first, methods, options); // before the session is closed
  };
  const grid = patchedCells(llava);
  const corrupted: ModelInputs = {
    ...first,
    images: first.images.map((image) => ({ ...image, pixelValues: image.pixelValues.map((value) => -value) })),
  };
  const patch = () => {
    llava.clearCaches(); // both pictures are encoded, and both prompts run
    return llava.patch(first, corrupted, {
      part: "head",
      token: 8,
      against: 9,
      layers: grid.layers,
      heads: grid.heads,
    });
  };
  const runs = {
    greedy: () => timed("greedy"),
    // Directly after the first question, about the same picture.
    second: () => once(() => llava.answer(second, { maxNewTokens: 1, ignoreEos: true })),
    adaptvis: () => timed("adaptvis"),
    sweep: () => once(() => llava.sweep(first, factors, { maxNewTokens: 1, ignoreEos: true, reusePrefix: false })),
    evaluation1: () => once(() => evaluate(factors.slice(0, 1))),
    evaluation6: () => once(() => evaluate(factors)),
    patch: () => once(patch),
  };
  const {
    greedy,
    second: seconds,
    adaptvis,
    sweep,
    evaluation1,
    evaluation6,
    patch: patched,
  } = await interleave(runs, rounds);
  const numCells = grid.layers.length * grid.heads.length;
  const naiveCells = Math.min(numCells, 8);
  const naiveMs = await clocked(() => patchOneByOne(llava, { clean: first, corrupted, numCells: naiveCells }));
  return {
    promptTokens: first.inputIds.length,
    imageTokens: imageRuns(first).reduce((sum, [start, end]) => sum + end - start, 0),
    greedy,
    adaptvis,
    sweep6Ms: sweep.map(({ token1 }) => token1),
    evaluation1Ms: evaluation1.map(({ token1 }) => token1),
    evaluation6Ms: evaluation6.map(({ token1 }) => token1),
    secondMs: seconds.map(({ token1 }) => token1),
    patchedCells: numCells,
    patchMs: patched.map(({ token1 }) => token1),
    naivePatch: { cells: naiveCells, ms: naiveMs },
  };
}

/** Layers and heads whose product is 32, as far as the model has them. */
function patchedCells({ config: { text } }: Llava): { readonly layers: number[]; readonly heads: number[] } {
  const numLayers = Math.min(text.numHiddenLayers, 8);
  const numHeads = Math.min(text.numAttentionHeads, Math.floor(32 / numLayers));
  const range = (length: number) => Array.from({ length }, (_, index) => index);
  return { layers: range(numLayers), heads: range(numHeads) };
}

/** What a grid costs without sharing: the clean run is read, and each cell is a whole run that is written to. */
async function patchOneByOne(
  llava: Llava,
  of: { readonly clean: ModelInputs; readonly corrupted: ModelInputs; readonly numCells: number },
): Promise<void> {
  const { clean, corrupted, numCells } = of;
  const { numHiddenLayers } = llava.config.text;
  const whole = { maxNewTokens: 1, ignoreEos: true, reusePrefix: false };
  const positions = [corrupted.inputIds.length - 1];
  const read = Array.from({ length: numHiddenLayers }, (_, layer) => ({ place: `layers.${layer}.hidden_states` }));
  const { reads } = await llava.answer(clean, { ...whole, read });
  for (let cell = 0; cell < numCells; cell++) {
    const { place, data } = at(reads, cell % numHiddenLayers);
    await llava.answer(corrupted, { ...whole, write: [{ place, positions, values: data }] });
  }
}

/** The same beginning and picture, followed by other words. */
function secondIds(first: Int32Array, second: Int32Array, imageEnd: number): Int32Array<ArrayBuffer> {
  const ids = Int32Array.from(second);
  ids.set(first.subarray(0, imageEnd));
  return ids;
}

/** A peer while one model is measured. */
class PeerRun {
  private readonly client: PeerClient;
  private readonly refusals: Record<string, string> = {};
  private loadMs: number | null = null;
  private readonly visionMs: number[] = [];
  private readonly prefillRates: number[] = [];
  private readonly decodeRates: number[] = [];
  private agreement: PeerFigures["agreement"] = null;

  constructor(client: PeerClient) {
    this.client = client;
  }

  get name(): string {
    return this.client.identity.name;
  }

  async load(dir: string, dtype: string): Promise<void> {
    const model = { dir, dtype, parts: ["llama", "vision"], maxPositions: 1024 } as const;
    this.loadMs = this.take("load", await this.client.load(model))?.ms ?? null;
    // The first run compiles, as adaptvis' does.
    if (this.loadMs !== null) this.take("vision", await this.client.vision());
  }

  /** Encodes one picture; the peer measures the time itself. */
  async vision(): Promise<number> {
    if (this.isRefused("vision")) return 0;
    const answer = this.take("vision", await this.client.vision());
    if (answer !== undefined) this.visionMs.push(answer.ms);
    return 0;
  }

  /** A prefill and the decoding after it; the first round is not counted because it compiles. */
  async text(
    ids: readonly number[],
    run: { readonly numTokens: number; readonly ourIds: readonly number[] },
  ): Promise<number> {
    const numRuns = this.prefillRates.length === 0 ? 2 : 1;
    for (let i = 0; i < numRuns && !this.isRefused("prefill"); i++) {
      const counts = numRuns === 1 || i === 1;
      const prefill = this.take("prefill", await this.client.prefill(ids));
      if (prefill === undefined) return 0;
      if (counts) this.prefillRates.push((1000 * ids.length) / prefill.ms);
      if (this.isRefused("decode")) return 0;
      const decode = this.take(
        "decode",
        await this.client.decode({ numTokens: run.numTokens, firstToken: prefill.argmax }),
      );
      if (decode === undefined) return 0;
      if (counts) this.decodeRates.push((1000 * run.numTokens) / decode.ms);
      this.agreement = compareIds(run.ourIds, [prefill.argmax, ...decode.ids]);
    }
    return 0;
  }

  async unload(): Promise<void> {
    await this.client.unload();
  }

  figures(): PeerFigures {
    return {
      name: this.name,
      refusals: this.refusals,
      loadMs: this.loadMs,
      visionMs: this.visionMs,
      prefill: this.prefillRates,
      decode: this.decodeRates,
      agreement: this.agreement,
    };
  }

  private isRefused(what: string): boolean {
    return this.refusals.load !== undefined || this.refusals[what] !== undefined;
  }

  private take<T>(what: string, answer: PeerAnswer<T>): T | undefined {
    if (answer.ok) return answer;
    this.refusals[what] ??= answer.reason;
    return undefined;
  }
}

/** Number of tokens before two greedy continuations differ. */
export function compareIds(
  ours: readonly number[],
  theirs: readonly number[],
): { readonly numCompared: number; readonly numEqual: number } {
  const numCompared = Math.min(ours.length, theirs.length);
  let numEqual = 0;
  while (numEqual < numCompared && ours[numEqual] === theirs[numEqual]) numEqual++;
  return { numCompared, numEqual };
}

/** Seeded text ids that every bench tokenizer has, without special tokens. */
export function textIds(length: number, seed: number): number[] {
  return Array.from({ length }, (_, index) => 8 + ((index * 7919 + seed * 104_729) % 400));
}

/** Seeded pixel values around 0. */
export function seededPixels(length: number): Float32Array<ArrayBuffer> {
  return Float32Array.from({ length }, (_, index) => Math.sin(index * 12.9898) * 1.5);
}

/** The spread of some rounds; undefined without rounds. */
export function roundsSpread(rounds: readonly number[]): Spread | undefined {
  return rounds.length === 0 ? undefined : spreadOf(rounds);
}
