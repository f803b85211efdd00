// Tokens on their way at once: answers do not depend on how many, nor on what an earlier answer left on its way.
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import type { AnswerOptions } from "../../src/answer.ts";
import { AbortError, InputError } from "../../src/errors.ts";
import { Program } from "../../src/gpu/program.ts";
import { matrixSizes, whole } from "../../src/gpu/tensor.ts";
import type { Llava } from "../../src/llava.ts";
import type { ModelInputs } from "../../src/models/inputs.ts";
import { decoderLayers } from "../../src/models/layers/decoder.ts";
import { createKeyValueCache, createScratch } from "../../src/models/layers/decoder-state.ts";
import type { LlamaLayerWeights } from "../../src/models/layers/decoder-weights.ts";
import { openTestDevice } from "../setup/device.ts";
import { goldenInputs, readTensorFile } from "../setup/golden.ts";
import { loadGoldenModel } from "../setup/golden-model.ts";
import { openTestGpu } from "../setup/run-kernel.ts";

async function withModel<T>(lookahead: number | undefined, use: (model: Llava) => Promise<T>): Promise<T> {
  const model = await loadGoldenModel("tiny-llava", { lookahead });
  try {
    return await use(model);
  } finally {
    model.dispose();
  }
}

const inputsOf = async (model: Llava) => goldenInputs(model, await readTensorFile("tiny-llava/expected.safetensors"));

test.each([1, 2, 3, 4])("%i tokens on their way: the same tokens, log-probabilities and texts", async (lookahead) => {
  const answerOf = (model: Llava, maxNewTokens: number) =>
    inputsOf(model).then((inputs) => model.answer(inputs, { maxNewTokens, ignoreEos: true }));
  // Alternatives are reported token by token, without any lookahead.
  const expected = await withModel(undefined, async (model) =>
    model.answer(await inputsOf(model), { maxNewTokens: 9, ignoreEos: true, topLogProbs: 1 }),
  );
  await withModel(lookahead, async (model) => {
    for (const maxNewTokens of [9, 1, 3]) {
      const { tokens } = await answerOf(model, maxNewTokens);
      expect(tokens.map(({ tokenId, logProb }) => ({ tokenId, logProb }))).toEqual(
        expected.tokens.slice(0, maxNewTokens).map(({ tokenId, logProb }) => ({ tokenId, logProb })),
      );
    }
  });
});

/** What became of the reads of the choice ring. */
interface RingReads {
  /** Reads from this one on are held back, as on a slow GPU. */
  heldFrom: number;
  /** This read returns once all others that were started by then have returned; -1 for none. */
  last: number;
  numStarted: number;
  /** Reads on their way that were not cancelled. */
  numOutstanding: number;
  numCancelled: number;
  /** Buffers unmapped that were not mapped, which Deno throws at. */
  numIdleUnmaps: number;
}

const NO_READS = { heldFrom: Infinity, last: -1, numStarted: 0, numOutstanding: 0, numCancelled: 0, numIdleUnmaps: 0 };

/** Watches the choice ring of every model that is loaded and asked within `work`. */
async function watchRing<T>(reads: RingReads, work: () => Promise<T>): Promise<T> {
  const { device } = await openTestDevice();
  const createBuffer = device.createBuffer.bind(device);
  const spy = vi.spyOn(device, "createBuffer").mockImplementation((descriptor) => {
    const buffer = createBuffer(descriptor);
    if (/^choice \d/.test(descriptor.label ?? "")) watchBuffer(buffer, reads);
    return buffer;
  });
  try {
    return await work();
  } finally {
    spy.mockRestore();
  }
}

function watchBuffer(buffer: GPUBuffer, reads: RingReads): void {
  const mapAsync = buffer.mapAsync.bind(buffer);
  const unmap = buffer.unmap.bind(buffer);
  let cancel: ((error: Error) => void) | undefined;
  let isMapped = false;
  buffer.mapAsync = async (mode) => {
    const index = reads.numStarted++;
    const isHeld = index >= reads.heldFrom;
    reads.numOutstanding++;
    const cancelled = new Promise<undefined>((_, reject) => {
      cancel = reject;
    });
    await Promise.race([mapAsync(mode), cancelled]);
    if (isHeld) await cancelled;
    if (index === reads.last) await expect.poll(() => reads.numOutstanding).toBe(1);
    reads.numOutstanding--;
    cancel = undefined;
    isMapped = true;
    return undefined;
  };
  buffer.unmap = () => {
    if (cancel !== undefined) {
      reads.numOutstanding--;
      reads.numCancelled++;
      cancel(new DOMException("unmapped", "AbortError"));
    } else if (!isMapped) reads.numIdleUnmaps++;
    cancel = undefined;
    isMapped = false;
    return unmap();
  };
}

describe.each([2, 3, 4])("with %i tokens on their way, each outstanding read is cancelled once after", (lookahead) => {
  const reads = { ...NO_READS };
  const options = { maxNewTokens: 9, ignoreEos: true };
  let model: Llava;
  let inputs: ModelInputs;
  let free: readonly number[];
  beforeAll(async () => {
    await watchRing(reads, async () => {
      model = await loadGoldenModel("tiny-llava", { lookahead });
      inputs = await inputsOf(model);
      free = (await model.answer(inputs, options)).tokens.map(({ tokenId }) => tokenId);
    });
    expect(new Set(free.slice(0, 3)).size).toBe(3); // so that the third comes no earlier as an end token
  });
  afterAll(() => model.dispose());

  /** Answers with the reads after `numTokens` held back, or done early; whatever ends the answer has to come with those tokens. */
  const answerHeld = async (
    numTokens: number,
    {
      eosTokenId,
      later = "held",
      ...end
    }: AnswerOptions & { readonly eosTokenId?: number | undefined; readonly later?: "held" | "early" },
  ) => {
    Object.assign(reads, NO_READS, later === "held" ? { heldFrom: numTokens } : { last: numTokens - 1 });
    const processor = Object.create(model.processor, {
      eosTokenIds: { value: [eosTokenId] },
      textStream: { value: () => ({ push: () => "x", flush: () => "" }) },
    }) as Llava["processor"];
    const speaking = Object.create(model, { processor: { value: processor } }) as Llava;
    try {
      return (await speaking.answer(inputs, { maxNewTokens: 9, ...end })).finishReason;
    } finally {
      const numPending = lookahead - 1;
      expect(reads).toMatchObject({
        numStarted: numTokens + numPending,
        numOutstanding: 0,
        numCancelled: later === "held" ? numPending : 0,
        numIdleUnmaps: 0,
      });
      Object.assign(reads, NO_READS);
      const { tokens } = await model.answer(inputs, options);
      expect(tokens.map(({ tokenId }) => tokenId)).toEqual(free);
    }
  };

  test.each([1, 2, 3])("an abort at token %i", async (numTokens) => {
    const stop = new AbortController();
    let numSeen = 0;
    const onToken = () => void (++numSeen === numTokens && stop.abort());
    await expect(answerHeld(numTokens, { signal: stop.signal, onToken })).rejects.toThrow(AbortError);
  });

  test.each([1, 2, 3])("the caller's error at token %i", async (numTokens) => {
    let numSeen = 0;
    const onToken = () => {
      if (++numSeen === numTokens) throw new RangeError("the caller's own");
    };
    await expect(answerHeld(numTokens, { onToken })).rejects.toThrow("the caller's own");
  });

  test.each([1, 2, 3])("an end token as token %i", async (numTokens) => {
    expect(await answerHeld(numTokens, { eosTokenId: free[numTokens - 1] })).toBe("eos");
  });

  test("an end token, an abort and the caller's error after the later reads are done", async () => {
    expect(await answerHeld(1, { eosTokenId: free[0], later: "early" })).toBe("eos");
    const onToken = () => {
      throw new RangeError("the caller's own");
    };
    await expect(answerHeld(1, { later: "early", onToken })).rejects.toThrow("the caller's own");
    const stop = new AbortController();
    const aborting = { signal: stop.signal, onToken: () => stop.abort() };
    await expect(answerHeld(1, { later: "early", ...aborting })).rejects.toThrow(AbortError);
  });

  test.each([1, 2, 3])("a stop string with token %i", async (numTokens) => {
    expect(await answerHeld(numTokens, { stop: ["x".repeat(numTokens)] })).toBe("stop");
  });
});

test.each([0, 5, 1.5])("a lookahead of %d is refused", async (lookahead) => {
  await expect(loadGoldenModel("tiny-llava", { lookahead })).rejects.toThrow(InputError);
});

test("a decode step is eight dispatches a layer at most, on either class of adapter", async () => {
  const gpu = await openTestGpu();
  const [hidden, inner, heads] = [64, 96, 4];
  const matrix = (rows: number, columns: number) => ({
    weight: {
      name: "test",
      dtype: "f32" as const,
      ...matrixSizes([whole(rows)], whole(columns)),
      pieces: [{ buffer: gpu.unused, rowStart: 0, numRows: rows }],
    },
    bias: undefined,
  });
  const layer: LlamaLayerWeights = {
    inputLayernorm: gpu.unused,
    selfAttn: { qkvProj: matrix(3 * hidden, hidden), oProj: matrix(hidden, hidden) },
    postAttentionLayernorm: gpu.unused,
    mlp: { gateUpProj: matrix(2 * inner, hidden), downProj: matrix(hidden, inner) },
  };
  const model = await loadGoldenModel("tiny-llava");
  const text = { ...model.config.text, hiddenSize: hidden, intermediateSize: inner, numAttentionHeads: heads };
  model.dispose();
  const oneLayer = { ...text, numKeyValueHeads: heads, headDim: hidden / heads, numHiddenLayers: 1 };
  for (const isSoftware of [true, false]) {
    const classed = Object.create(gpu, { isSoftware: { value: isSoftware } }) as typeof gpu;
    const buffers = { createBuffer: () => gpu.unused, createBufferWith: () => gpu.unused };
    const size = { numRows: 1, promptRows: 1, batchRows: 1, editBytes: 16 };
    const scratch = createScratch(buffers, oneLayer, { ...size, activationDtype: "f32" });
    const cache = createKeyValueCache(buffers, oneLayer, { capacity: 256, dtype: "f32" });
    const weights = {
      embedTokens: matrix(8, hidden).weight,
      layers: [layer],
      norm: gpu.unused,
      lmHead: matrix(8, hidden),
    };
    const program = new Program("count");
    decoderLayers(program, classed, {
      decoder: { text: oneLayer, weights, scratch },
      cache,
      numRows: 1,
      isDecode: true,
      isEdited: false,
    });
    expect(program.numDispatches).toBeLessThanOrEqual(8);
  }
});
