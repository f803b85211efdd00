// The engines of tools/bench on models of the tests: each gives the expected tokens, or a sentence that says why it cannot.
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { fileSource } from "../../src/checkpoint/file-source.node.ts";
import { driverEnvironment } from "../../src/gpu/hosts/vulkan-drivers.node.ts";
import type { WeightDtype } from "../../src/gpu/tensor.ts";
import { Llava } from "../../src/llava.ts";
import { adapterOfEnvironment, openTestDevice } from "../setup/device.ts";
import { GOLDEN, largestError, readTensorFile } from "../setup/golden.ts";
import { textShape, writeTextCheckpoint } from "./text-checkpoint.ts";

const bench = fileURLToPath(new URL("../../tools/bench", import.meta.url));
const isInstalled = existsSync(join(bench, "node_modules"));
/** Two engines add in different orders; what they compute wrongly differs by more than 1e-2. */
const CLOSE = 1e-3;

interface Answer {
  readonly ok: boolean;
  readonly reason?: string;
  readonly name?: string;
  readonly caveats?: readonly string[];
  readonly argmax?: number;
  readonly ids?: readonly number[];
  readonly logits?: readonly number[];
  readonly features?: readonly number[];
}
type Ask = (request: object) => Promise<Answer>;

/** Runs `work` with a peer's process, which exits after it. */
async function withPeer(args: readonly string[], work: (ask: Ask) => Promise<void>): Promise<void> {
  const adapter = adapterOfEnvironment();
  const env = adapter === "lavapipe" || adapter === "swiftshader" ? await driverEnvironment(adapter) : {};
  const child = spawn(process.execPath, args, { env: { ...process.env, ...env }, stdio: ["pipe", "pipe", "ignore"] });
  const ended = new Promise((resolve) => child.on("close", resolve));
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const ask: Ask = async (request) => {
    child.stdin.write(`${JSON.stringify({ id: 1, ...request })}\n`);
    return JSON.parse((await lines.next()).value ?? '{"ok":false,"reason":"The peer ended."}');
  };
  try {
    await work(ask);
    expect(await ask({ op: "exit" })).toEqual({ id: 1, ok: true });
  } finally {
    child.kill();
    await ended;
  }
}

const onnxruntime = (...args: readonly string[]): readonly string[] => [join(bench, "peers/onnxruntime.mjs"), ...args];
const llamaCpp = [join(bench, "peers/llama-cpp.mjs")];
const transformersJs = (...args: readonly string[]) => [join(bench, "peers/transformers-js.mjs"), ...args];
const wllama = (...args: readonly string[]) => [join(bench, "peers/wllama.mjs"), ...args];

// reason: the engines are 650 MB, installed by hand with `npm ci --prefix tools/bench`
describe.skipIf(!isInstalled)("an installed peer", () => {
  let cacheDir: string;
  let textFolder: string;
  beforeAll(async () => {
    cacheDir = await mkdtemp(join(tmpdir(), "adaptvis-peers-"));
    textFolder = await writeTextCheckpoint({
      biases: true,
      ropeScaling: {
        rope_type: "llama3",
        factor: 8,
        low_freq_factor: 1,
        high_freq_factor: 4,
        original_max_position_embeddings: 64,
      },
    });
  });
  afterAll(async () => {
    await rm(cacheDir, { recursive: true, force: true });
    await rm(textFolder, { recursive: true, force: true });
  });

  test("ONNX Runtime's exact form and llama.cpp give our tokens, for more rows than the flash attention's threshold", async () => {
    const ids = promptOf(70);
    const ours = await ourTrace(textFolder, ids);
    const [first, ...rest] = ours.ids;
    for (const args of [onnxruntime("--attention", "exact"), onnxruntime("--provider", "cpu"), llamaCpp]) {
      await withPeer(args, async (ask) => {
        const load = { op: "load", dir: textFolder, cacheDir: join(cacheDir, "text"), maxPositions: 128 };
        expect(await ask(load)).toMatchObject({ ok: true });
        const prefill = await ask({ op: "prefill", ids, logits: true });
        expect(prefill.argmax).toBe(first);
        if (args !== llamaCpp) expect(largestError(prefill.logits ?? [], ours.logits)).toBeLessThan(CLOSE);
        const decoded = await ask({ op: "decode", firstToken: first, numTokens: rest.length });
        expect(decoded.ids).toEqual(rest);
      });
    }
  });

  test.each([
    ["onnxruntime-wasm", onnxruntime("--provider", "wasm", "--threads", "2")],
    ["onnxruntime-wasm-1-thread", onnxruntime("--provider", "wasm", "--threads", "1")],
    ["transformers.js-wasm", transformersJs("--threads", "2")],
    ["transformers.js-wasm-1-thread", transformersJs("--threads", "1")],
    ["transformers.js-node", transformersJs("--runtime", "node")],
    ["wllama", wllama("--threads", "2")],
    ["wllama-1-thread", wllama("--threads", "1")],
  ])("%s gives our tokens, again after a decode, and goes on from its own", async (name, args) => {
    const ids = promptOf(70);
    const ours = await ourTrace(textFolder, ids);
    const [first, ...rest] = ours.ids;
    await withPeer(args, async (ask) => {
      expect(await ask({ op: "hello" })).toMatchObject({ ok: true, name });
      const load = { op: "load", dir: textFolder, cacheDir: join(cacheDir, "text"), maxPositions: 128 };
      expect(await ask(load)).toMatchObject({ ok: true });
      for (let round = 0; round < 2; round++) {
        expect(await ask({ op: "prefill", ids })).toMatchObject({ ok: true, argmax: first });
        expect(await ask({ op: "decode", firstToken: first, numTokens: 4 })).toMatchObject({ ids: rest.slice(0, 4) });
      }
      const more = { op: "decode", firstToken: rest[3], numTokens: rest.length - 4 };
      expect(await ask(more)).toMatchObject({ ids: rest.slice(4) });
      expect(await ask({ op: "gemv", k: 32, n: 32 })).toMatchObject({ ok: name.startsWith("onnxruntime") });
    });
  });

  test.each(["q8", "q4"] as const)("peers that compute in f32 give our tokens from %s weights", async (dtype) => {
    const ids = promptOf(70);
    const ours = await ourTrace(textFolder, ids, dtype);
    const [first, ...rest] = ours.ids;
    for (const args of [onnxruntime("--provider", "wasm", "--threads", "1"), transformersJs("--threads", "1")]) {
      await withPeer(args, async (ask) => {
        const load = { op: "load", dir: textFolder, cacheDir: join(cacheDir, "text"), dtype, maxPositions: 128 };
        expect(await ask(load)).toMatchObject({ ok: true });
        expect(await ask({ op: "prefill", ids })).toMatchObject({ argmax: first });
        expect(await ask({ op: "decode", firstToken: first, numTokens: rest.length })).toMatchObject({ ids: rest });
      });
    }
  });

  test.each(["q8", "q4"] as const)(
    "peers that round activations begin with our tokens from %s weights",
    async (dtype) => {
      const ours = await ourTrace(textFolder, promptOf(70), dtype);
      const [first, ...rest] = ours.ids;
      for (const args of [onnxruntime("--provider", "cpu"), llamaCpp, wllama("--threads", "1")]) {
        await withPeer(args, async (ask) => {
          // On a GPU machine f16 activations are asked for; on a CPU the peer chooses its own.
          for (const asked of [dtype, `${dtype}f16`]) {
            const load = { op: "load", dir: textFolder, cacheDir: join(cacheDir, "text"), maxPositions: 128 };
            expect(await ask({ ...load, dtype: asked })).toMatchObject({ ok: true });
            expect(await ask({ op: "prefill", ids: promptOf(70) })).toMatchObject({ argmax: first });
            const { ids = [] } = await ask({ op: "decode", firstToken: first, numTokens: 6 });
            // 8-bit activations part from ours where two tokens are nearly as probable.
            expect({ numTokens: ids.length, ids: ids.slice(0, 3) }).toEqual({ numTokens: 6, ids: rest.slice(0, 3) });
          }
        });
      }
    },
  );

  test("ONNX Runtime and transformers.js give transformers' image features", async () => {
    const golden = await readTensorFile("tiny-llava/expected.safetensors");
    for (const args of [onnxruntime("--attention", "exact"), onnxruntime("--provider", "wasm"), transformersJs()]) {
      await withPeer(args, async (ask) => {
        const load = { op: "load", dir: join(GOLDEN, "tiny-llava"), cacheDir: join(cacheDir, "llava") };
        expect(await ask({ ...load, parts: ["vision"] })).toMatchObject({ ok: true });
        const vision = await ask({ op: "vision", pixels: numbersOf(golden, "pixel_values"), features: true });
        expect(largestError(vision.features ?? [], numbersOf(golden, "image_features"))).toBeLessThan(CLOSE);
      });
    }
  });

  test("what cannot be answered is refused in a sentence, and the peer goes on", async () => {
    await withPeer(onnxruntime("--provider", "cpu", "--attention", "exact"), async (ask) => {
      expect(await ask({ op: "hello" })).toMatchObject({ ok: true, name: "onnxruntime-cpu-exact" });
      expect(await ask({ op: "dance" })).toMatchObject({ ok: false, reason: "The peer has no operation dance." });
      expect(await ask({ op: "decode", numTokens: 1, firstToken: 1 })).toMatchObject({ reason: "No model is loaded." });
      const load = { op: "load", dir: textFolder, cacheDir: join(cacheDir, "text"), maxPositions: 16 };
      expect(await ask({ ...load, attention: "loose" })).toMatchObject({ ok: false });
      expect(await ask({ ...load, dtype: "f8" })).toMatchObject({ ok: false });
      expect(await ask({ ...load, parts: ["vision"] })).toMatchObject({
        reason: "The checkpoint has no vision tower.",
      });
      expect(await ask({ ...load, dir: join(GOLDEN, "llama-text-tied") })).toMatchObject({
        reason: "GroupQueryAttention takes heads whose size is a multiple of 16, this model's is 8.",
      });
      expect(await ask(load)).toMatchObject({ ok: true });
      expect(await ask({ op: "prefill", ids: promptOf(17) })).toMatchObject({
        reason: "17 positions do not fit the 16 that were asked for.",
      });
    });
  });
});

/** Our greedy tokens after a prompt without a picture, and the first one's logits. */
async function ourTrace(
  folder: string,
  ids: readonly number[],
  dtype?: WeightDtype,
): Promise<{ readonly ids: readonly number[]; readonly logits: ArrayLike<number> }> {
  const { device } = await openTestDevice();
  const model = await Llava.load(fileSource(folder), { device, dtype });
  const inputs = {
    inputIds: Int32Array.from(ids),
    images: [],
  } as const;
  const { tensors } = await model.trace(inputs, { maxNewTokens: 12 });
  const named = (name: string): ArrayLike<number> => {
    const tensor = tensors.find((candidate) => candidate.name === name);
    if (tensor === undefined || tensor.data instanceof BigInt64Array) throw new Error(`The trace has no ${name}.`);
    return tensor.data;
  };
  return { ids: Array.from(named("generated_ids")), logits: named("logits") };
}

function promptOf(length: number): readonly number[] {
  return Array.from({ length }, (_, i) => (i * 37 + 5) % textShape.vocabSize);
}

function numbersOf(file: Awaited<ReturnType<typeof readTensorFile>>, name: string): readonly number[] {
  const tensor = file.tensors.get(name);
  if (tensor === undefined) throw new Error(`The golden has no tensor ${name}.`);
  return Array.from(tensor.data);
}
