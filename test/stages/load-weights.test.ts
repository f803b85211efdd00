// Weights are allocated before any is read, and a load that fails leaves nothing behind.
import { expect, test } from "vitest";
import { openCheckpoint } from "../../src/checkpoint/checkpoint.ts";
import { fileSource } from "../../src/checkpoint/file-source.node.ts";
import type { Source } from "../../src/checkpoint/source.ts";
import { AbortError } from "../../src/errors.ts";
import { Gpu } from "../../src/gpu/device.ts";
import { readArchitecture } from "../../src/models/registry.ts";
import { weightMemory } from "../../src/models/weight-table.ts";
import { type LoadWeightsOptions, loadWeights } from "../../src/models/weights.ts";
import { openTestDevice } from "../setup/device.ts";
import { GOLDEN } from "../setup/golden.ts";
import { quantizedSource } from "../setup/quantized-source.ts";

async function load(options: Omit<LoadWeightsOptions, "gpu">, source: Source = fileSource(`${GOLDEN}/llava-next`)) {
  const { device, isSoftware } = await openTestDevice();
  const gpu = new Gpu(device, { isSoftware });
  const before = gpu.allocatedBytes;
  const checkpoint = await openCheckpoint(source);
  const architecture = readArchitecture(checkpoint.config);
  const bytes = () => gpu.allocatedBytes - before;
  const loading = loadWeights(checkpoint, architecture, { ...options, gpu });
  const failure: unknown = await loading.then(
    () => undefined,
    (error: unknown) => error,
  );
  const result = { failure, bytes: bytes(), wanted: weightMemory(checkpoint, architecture, options.dtype) };
  await checkpoint.close();
  gpu.dispose();
  return result;
}

test("onAllocated comes once, with every buffer, before the first byte is read", async () => {
  const events: string[] = [];
  const { failure, bytes, wanted } = await load({
    onAllocated: ({ llama, pictures }) => {
      expect(llama.embedTokens.pieces.length).toBeGreaterThan(0);
      expect(pictures?.filler).toBeDefined();
      events.push("allocated");
    },
    onProgress: ({ loadedBytes, totalBytes }) => events.push(loadedBytes === totalBytes ? "whole" : "part"),
  });
  expect(failure).toBeUndefined();
  expect(bytes).toBe(wanted);
  expect([events[0], events.at(-1)]).toEqual(["allocated", "whole"]);
  expect(events.filter((event) => event === "allocated")).toHaveLength(1);
});

test("an error of onAllocated frees everything", async () => {
  const thrown = await load({
    onAllocated: () => {
      throw new RangeError("the caller's own");
    },
  });
  expect(thrown).toMatchObject({ failure: new RangeError("the caller's own"), bytes: 0 });
});

test.each(["as in the file", "converted", "packed here", "packed in the file"] as const)(
  "an abort after any chunk frees everything and ends the reads; weights %s",
  async (path) => {
    const dtype = path === "converted" ? "f16" : path === "packed here" ? "q8" : undefined;
    const folder = `${GOLDEN}/llava-next`;
    const files = path === "packed in the file" ? await quantizedSource(folder, "q4") : fileSource(folder);
    let numReads = 0;
    let numRunning = 0;
    const source: Source = {
      ...files,
      async read(path, start, end, signal) {
        if (signal?.aborted !== true) numReads++; // else it throws at once
        numRunning++;
        try {
          return await files.read(path, start, end, signal);
        } finally {
          numRunning--;
        }
      },
    };
    let numChunks = 0;
    expect(await load({ dtype, onProgress: () => numChunks++ }, source)).toMatchObject({ failure: undefined });
    for (const last of [0, 1, 2, Math.floor(numChunks / 3), Math.floor(numChunks / 2), numChunks - 1]) {
      const controller = new AbortController();
      let numSeen = 0;
      let numReadsThen = 0;
      const stop = () => {
        controller.abort();
        numReadsThen = numReads;
      };
      const aborted = await load(
        {
          dtype,
          signal: controller.signal,
          onAllocated: () => (last === 0 ? stop() : undefined),
          onProgress: () => (++numSeen === last ? stop() : undefined),
        },
        source,
      );
      expect(aborted.failure, `after chunk ${last} of ${numChunks}`).toBeInstanceOf(AbortError);
      expect(aborted.bytes).toBe(0);
      expect([numRunning, numReads - numReadsThen]).toEqual([0, 0]);
    }
    expect(await load({ dtype }, source)).toMatchObject({ failure: undefined });
  },
);

test.each([
  ["f32", 2],
  ["q8", 1],
] as const)(
  "%s: so many tensors are read at once: %i; after one that fails, no other is begun",
  async (dtype, most) => {
    const files = fileSource(`${GOLDEN}/llava-next`);
    const counts = { running: 0, most: 0, begun: 0, begunAtFailure: 0 };
    const counting = (failingRead: number): Source => ({
      ...files,
      async read(path, start, end, signal) {
        if (!path.endsWith(".safetensors") || start === 0) return files.read(path, start, end, signal);
        counts.begun++;
        counts.running++;
        counts.most = Math.max(counts.most, counts.running);
        const isFailing = counts.begun === failingRead;
        try {
          const bytes = await files.read(path, start, end, signal);
          if (!isFailing) return bytes;
          counts.begunAtFailure = counts.begun;
          throw new RangeError("the disk's own");
        } finally {
          counts.running--;
        }
      },
    });
    expect(await load({ dtype }, counting(0))).toMatchObject({ failure: undefined });
    expect(counts.most).toBe(most);
    const failingRead = counts.begun + 12; // in the middle of a second load
    const { failure, bytes } = await load({ dtype }, counting(failingRead));
    expect(failure).toEqual(new RangeError("the disk's own"));
    expect(bytes).toBe(0);
    // The other one of two ends with its matrix, which may be stacked of three tensors.
    expect(counts.begun - counts.begunAtFailure).toBeLessThanOrEqual(most === 2 ? 2 : 0);
    expect(counts.running).toBe(0);
  },
);
