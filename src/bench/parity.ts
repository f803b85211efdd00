// Checks the results of this adapter: half-precision numbers, and greedy and AdaptVis ids of whole models against those in
// expected-ids.ts.
import halvesWgsl from "../../shaders/bench/halves.wgsl";
import halvesNativeWgsl from "../../shaders/bench/halves-native.wgsl";
import { toF32 } from "../checkpoint/dtypes.ts";
import { GPU_STORAGE, type Gpu } from "../gpu/device.ts";
import { runOnce, SubmitExecutor } from "../gpu/executor.ts";
import { defineKernel, type Kernel } from "../gpu/kernel.ts";
import { Program } from "../gpu/program.ts";
import type { WeightDtype } from "../gpu/tensor.ts";
import { Llava } from "../llava.ts";
import { requireMultimodal } from "../models/config.ts";
import type { ModelInputs } from "../models/inputs.ts";
import type { RgbImage } from "../preprocess/image.ts";
import type { BenchHost } from "./bench.ts";
import { EXPECTED_IDS } from "./expected-ids.ts";
import { modelCases } from "./model-cases.ts";
import { seededPixels, textIds } from "./models.ts";
import { IMAGE_TOKEN_ID } from "./random-checkpoint.ts";

/** Names of the parts. */
export const PARITY_NAMES = ["parity/halves", "parity/demo", "parity/llava-110m"] as const;

/** Name of a part. */
export type ParityName = (typeof PARITY_NAMES)[number];

/** One comparison. */
export interface ParityCheck {
  readonly name: string;
  /** Token ids separated by spaces, or a count of wrong numbers. */
  readonly got: string;
  /** Empty where nothing is stored. */
  readonly expected: string;
  readonly isEqual: boolean;
}

/** The comparisons of one part. */
export interface ParityResult {
  readonly name: string;
  readonly checks: readonly ParityCheck[];
}

/** A question about a picture of the embedded checkpoint's demo. */
export interface DemoPicture {
  readonly name: string;
  readonly image: RgbImage;
  readonly question: string;
}

/** What a part needs. */
export interface ParityRun extends Pick<BenchHost, "checkpoint" | "demoPictures"> {
  readonly gpu: Gpu;
}

/** Runs one part. @throws CheckpointError, GpuError, InputError where pictures cannot be decoded. */
export async function measureParity(name: ParityName, run: ParityRun): Promise<ParityResult> {
  const parts = { "parity/halves": halves, "parity/demo": demo, "parity/llava-110m": llava110m };
  return { name, checks: await parts[name](run) };
}

const HALVES = defineKernel("bench/halves", halvesWgsl);
const HALVES_NATIVE = defineKernel("bench/halves-native", halvesNativeWgsl);
const NUM_HALVES = 2 ** 16;

/** Every half-precision number: unpacked as kernels do it and, where the adapter has shader-f16, computed with in f16. */
async function halves({ gpu }: ParityRun): Promise<readonly ParityCheck[]> {
  const kernels = [HALVES, ...(gpu.device.features.has("shader-f16") ? [HALVES_NATIVE] : [])];
  const bits = Uint16Array.from({ length: NUM_HALVES }, (_, index) => index);
  const expected = toF32(new Uint8Array(bits.buffer), "F16");
  const checks: ParityCheck[] = [];
  for (const kernel of kernels) {
    const wrong = countWrong(await runHalves(gpu, kernel), expected);
    checks.push({ name: kernel.name, got: `${wrong} wrong`, expected: "0 wrong", isEqual: wrong === 0 });
  }
  return checks;
}

async function runHalves(gpu: Gpu, kernel: Kernel): Promise<Float32Array> {
  const numbers = gpu.createBuffer("halves", NUM_HALVES * 4, GPU_STORAGE);
  try {
    const program = new Program("halves");
    program.dispatch(kernel, { bindings: { numbers }, grid: [NUM_HALVES / 128] });
    await gpu.guard("checking half-precision numbers", () => runOnce(new SubmitExecutor(gpu), program, "halves"));
    return new Float32Array(await gpu.readBuffer(numbers, NUM_HALVES * 4));
  } finally {
    gpu.destroyBuffer(numbers);
  }
}

/** Smallest normal half: WGSL lets a device replace smaller ones by 0. */
const LEAST_NORMAL = 2 ** -14;

/** Finite numbers that are not as expected; WGSL leaves infinities and NaNs open. */
export function countWrong(values: Float32Array, expected: Float32Array): number {
  return expected.reduce((count, wanted, index) => {
    const value = values[index];
    const isRight = value === wanted || (Math.abs(wanted) < LEAST_NORMAL && value === 0) || !Number.isFinite(wanted);
    return isRight ? count : count + 1;
  }, 0);
}

/** The embedded checkpoint's demo, greedily and with AdaptVis. */
async function demo(run: ParityRun): Promise<readonly ParityCheck[]> {
  const pictures = await run.demoPictures();
  return withModel(run, { spec: undefined }, async (llava) => {
    const checks: ParityCheck[] = [];
    for (const { name, image, question } of pictures) {
      for (const method of ["greedy", "adaptvis"] as const) {
        const { tokens } = await llava.ask({ image, question, method, maxNewTokens: 16 });
        checks.push(idsCheck(`demo ${name} ${method}`, tokens));
      }
    }
    return checks;
  });
}

const TEXT_TOKENS = 24;
const PICTURE_TOKENS = 8;

/** The random checkpoint of 110 M parameters in f16: a prompt of text in three forms of weights, a picture by both methods. */
async function llava110m(run: ParityRun): Promise<readonly ParityCheck[]> {
  const model = modelCases({ isSoftware: false, isQuick: true }).find(({ name }) => name === "models/llava-110m");
  if (model === undefined) throw new RangeError("models: expected models/llava-110m.");
  const checks: ParityCheck[] = [];
  for (const dtype of ["f16", "q8", "q4"] as const) {
    const found = await withModel(run, { spec: model.spec, dtype }, async (llava) => {
      const text = llava.processor.fromTensors({ inputIds: textIds(model.prefillRows, 1), pixelValues: undefined });
      const options = { ignoreEos: true, reusePrefix: false } as const;
      const { tokens } = await llava.answer(text, { ...options, maxNewTokens: TEXT_TOKENS });
      const texts = [idsCheck(`llava-110m ${dtype} text`, tokens)];
      if (dtype !== "f16") return texts;
      const inputs = pictureInputs(llava, model.questionTokens);
      for (const method of ["greedy", "adaptvis"] as const) {
        const answer = await llava.answer(inputs, { ...options, method, maxNewTokens: PICTURE_TOKENS });
        texts.push(idsCheck(`llava-110m ${dtype} picture ${method}`, answer.tokens));
      }
      return texts;
    });
    checks.push(...found);
  }
  return checks;
}

function pictureInputs(llava: Llava, numTokens: number): ModelInputs {
  const { vision } = requireMultimodal(llava.config);
  const inputIds = [...textIds(2, 11), IMAGE_TOKEN_ID, ...textIds(numTokens - 2, 10)];
  const pixelValues = seededPixels(vision.numChannels * vision.imageSize ** 2);
  return llava.processor.fromTensors({ inputIds, pixelValues });
}

function idsCheck(name: string, tokens: readonly { readonly tokenId: number }[]): ParityCheck {
  const got = tokens.map(({ tokenId }) => tokenId).join(" ");
  const expected = EXPECTED_IDS[name] ?? "";
  return { name, got, expected, isEqual: got === expected };
}

async function withModel<T>(
  { gpu, checkpoint }: ParityRun,
  model: { readonly spec: Parameters<BenchHost["checkpoint"]>[0]; readonly dtype?: WeightDtype },
  work: (llava: Llava) => Promise<T>,
): Promise<T> {
  const { open } = await checkpoint(model.spec);
  const adapterClass = gpu.isSoftware ? "cpu" : "gpu";
  const llava = await Llava.load(open(), { device: gpu.device, adapterClass, dtype: model.dtype });
  try {
    return await work(llava);
  } finally {
    llava.dispose();
  }
}
