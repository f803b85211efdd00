// When the GPU has no memory left, a load ends at the first buffer, a question ends in a sentence, and both leave everything usable.
import { expect, test } from "vitest";
import type { AnswerOptions } from "../../src/answer.ts";
import { openCheckpoint } from "../../src/checkpoint/checkpoint.ts";
import { fileSource } from "../../src/checkpoint/file-source.node.ts";
import type { Source } from "../../src/checkpoint/source.ts";
import { GpuError } from "../../src/errors.ts";
import { formatBytes, Gpu } from "../../src/gpu/device.ts";
import type { WeightDtype } from "../../src/gpu/tensor.ts";
import { Llava } from "../../src/llava.ts";
import { readArchitecture } from "../../src/models/registry.ts";
import { weightMemory } from "../../src/models/weight-table.ts";
import { loadWeights } from "../../src/models/weights.ts";
import { openTestDevice, withErrorScopes } from "../setup/device.ts";
import { GOLDEN, goldenInputs, readTensorFile } from "../setup/golden.ts";
import { type MemoryNeed, scarceDevice } from "../setup/scarce-memory.ts";

/** Loads llava-next's weights on a device without memory for the need at `place`. */
async function loadWithout(place: number, dtype: WeightDtype | undefined) {
  const { device, isSoftware } = await openTestDevice();
  let isFull = false;
  let numReadsAfter = 0;
  const scarce = scarceDevice(device, (_, index) => {
    if (index === place) isFull = true;
    return index === place;
  });
  const files = fileSource(`${GOLDEN}/llava-next`);
  const source: Source = {
    ...files,
    read(...range) {
      if (isFull) numReadsAfter++;
      return files.read(...range);
    },
  };
  const gpu = new Gpu(scarce.device, { isSoftware });
  const empty = gpu.allocatedBytes;
  const checkpoint = await openCheckpoint(source);
  const architecture = readArchitecture(checkpoint.config);
  const failure: unknown = await withErrorScopes(device, () =>
    loadWeights(checkpoint, architecture, { gpu, dtype }).then(
      () => undefined,
      (error: unknown) => error,
    ),
  );
  const numBytes = gpu.allocatedBytes - empty;
  await checkpoint.close();
  gpu.dispose();
  const memory = (form: WeightDtype | undefined) => formatBytes(weightMemory(checkpoint, architecture, form));
  return { failure, numBytes, numReadsAfter, needs: scarce.needs, memory };
}

function failureOf(need: MemoryNeed | undefined): RegExp {
  if (need === undefined) throw new Error("the load asked for less than expected");
  const name = need.kind === "buffer" ? need.label : `the copy of ${need.label}`;
  const text = `The GPU ran out of memory while loading the weights: ${name} needs ${formatBytes(need.byteLength)} and the weights `;
  return new RegExp(
    `^${text.replace(/[.+[\]]/g, "\\$&")}[^;]+ in all[^;]*, with [^;]+ already in use; [^;]*use a smaller model\\.$`,
  );
}

test.each(["f32", "q4"] as const)("%s: a load without memory at one of ten places ends there", async (dtype) => {
  const whole = await loadWithout(-1, dtype);
  expect(whole.failure).toBeUndefined();
  const isBuffer = ({ kind }: MemoryNeed) => kind === "buffer";
  const numBuffers = whole.needs.findIndex((need) => !isBuffer(need));
  const first = 3; // after the Gpu's own
  const spread = (from: number, to: number, count: number) =>
    Array.from({ length: count }, (_, index) => Math.round(from + ((to - from) * index) / (count - 1)));
  const places = [...spread(first, numBuffers - 1, 6), ...spread(numBuffers, whole.needs.length - 1, 4)];
  for (const place of places) {
    const { failure, numBytes, numReadsAfter, needs } = await loadWithout(place, dtype);
    const what = `without memory at place ${place} of ${whole.needs.length}`;
    expect(failure, what).toBeInstanceOf(GpuError);
    expect(failure, what).toMatchObject({
      reason: "out-of-memory",
      message: expect.stringMatching(failureOf(needs[place])),
    });
    expect(numBytes, what).toBe(0);
    if (place >= numBuffers) continue; // of a write, it shows only when the next is about to be made
    expect(needs, what).toHaveLength(place + 1);
    expect(numReadsAfter, what).toBe(0);
  }
});

test.each([
  [undefined, /the weights (.+) in all, with .+; load them in dtype "q8" \((.+)\) or "q4" \((.+)\) \(--dtype/],
  ["q8", /the weights (.+) in all in q8, with .+; load them in dtype "(q4)" \((.+)\) \(--dtype/],
  ["q4", /the weights (.+) in all in (q4), with .+ already in use; (use a smaller model)\.$/],
] as const)("dtype %s: the sentence has the smaller forms and what they need", async (dtype, pattern) => {
  const { failure, memory } = await loadWithout(9, dtype);
  const found = pattern.exec(String(failure));
  const expected = { q8: ["q4", memory("q4")], q4: ["q4", "use a smaller model"] };
  expect(found?.slice(1)).toEqual([
    memory(dtype),
    ...(dtype === undefined ? [memory("q8"), memory("q4")] : expected[dtype]),
  ]);
});

test("a question without memory ends in one sentence, and the next is answered as ever", async () => {
  const { device } = await openTestDevice();
  let place = -1;
  let start = 0;
  const { device: short, needs } = scarceDevice(
    device,
    ({ kind }, index) => kind === "buffer" && index - start === place,
  );
  const model = await Llava.load(fileSource(`${GOLDEN}/tiny-llava`), { device: short, cacheBytes: 2 ** 20 });
  const weightBytes = model.gpu.allocatedBytes;
  const inputs = goldenInputs(model, await readTensorFile("tiny-llava/expected.safetensors"));
  const options: AnswerOptions = { method: "adaptvis", maxNewTokens: 4, ignoreEos: true };
  const ask = async () => {
    start = needs.length;
    const answer = await model.answer(inputs, { ...options, reusePrefix: false });
    return answer.tokens.map(({ tokenId, logProb }) => [tokenId, logProb]);
  };
  const expected = await ask();
  const isBuffer = needs.slice(start).map(({ kind }) => kind === "buffer");
  model.clearCaches();
  const buffers = [...isBuffer.keys()].filter((index) => isBuffer[index]);
  const usedBytes = model.gpu.allocatedBytes;
  expect(usedBytes).toBeGreaterThan(weightBytes);
  for (const share of [0, 0.1, 0.3, 0.5, 0.7, 0.9, 1]) {
    // A failure frees what questions share, so that the next one allocates all of it again, as the first did.
    for (const at of new Set([0, share])) {
      place = buffers[Math.round(at * (buffers.length - 1))] ?? Number.NaN;
      const failure: unknown = await ask().catch((error: unknown) => error);
      const need = needs[start + place];
      place = -1;
      const text = `The GPU ran out of memory for ${need?.label}, which needs ${formatBytes(need?.byteLength ?? 0)}, with `;
      expect(failure, `place ${at}`).toMatchObject({
        name: "GpuError",
        reason: "out-of-memory",
        message: expect.stringMatching(/^[^;]+ already in use; use a shorter [^;]+\.$/),
      });
      expect(String(failure)).toContain(text);
      expect(model.gpu.allocatedBytes, `place ${at}`).toBe(weightBytes);
    }
    expect(await ask()).toEqual(expected);
    model.clearCaches();
    expect(model.gpu.allocatedBytes).toBe(usedBytes);
  }
  model.dispose();
  expect(model.gpu.allocatedBytes).toBe(0);
});

test("a session whose turn found no memory answers it when asked again", async () => {
  const { device } = await openTestDevice();
  let isFull = false;
  const short = scarceDevice(device, ({ label }) => isFull && label.endsWith(" keys"));
  const model = await Llava.load(fileSource(`${GOLDEN}/tiny-llava`), { device: short.device });
  const inputs = goldenInputs(model, await readTensorFile("tiny-llava/expected.safetensors"));
  const session = model.session();
  const ask = async (maxNewTokens: number) => {
    const { tokens } = await session.answer(inputs, { maxNewTokens, ignoreEos: true }).answer;
    return tokens.slice(0, 4).map(({ tokenId }) => tokenId);
  };
  const expected = await ask(4);
  isFull = true;
  await expect(ask(300)).rejects.toMatchObject({ reason: "out-of-memory" }); // more slots than the cache has
  isFull = false;
  expect(await ask(4)).toEqual(expected);
  session.close();
  model.dispose();
});

test("answers of a batch without memory end in one sentence each, and the next are answered as ever", async () => {
  const { device } = await openTestDevice();
  let place = -1;
  let start = 0;
  let numRefused = 0;
  const { device: short, needs } = scarceDevice(device, (_, index) => {
    if (index - start !== place) return false;
    numRefused++;
    return true;
  });
  const model = await Llava.load(fileSource(`${GOLDEN}/tiny-llava`), { device: short });
  const weightBytes = model.gpu.allocatedBytes;
  const inputs = goldenInputs(model, await readTensorFile("tiny-llava/expected.safetensors"));
  const ask = async (maxNewTokens: number) => {
    using session = model.session({ batched: true });
    const answer = await session.answer(inputs, { maxNewTokens, ignoreEos: true, reusePrefix: false }).answer;
    return answer.tokens.map(({ tokenId }) => tokenId);
  };
  const lengths = [12, 20, 16, 8];
  const askAll = async () => {
    start = needs.length;
    return Promise.allSettled(lengths.map(ask));
  };
  const expected = await askAll();
  expect(expected.map(({ status }) => status)).toEqual(lengths.map(() => "fulfilled"));
  const asked = needs.slice(start);
  model.clearCaches();
  const ofBatch = asked.flatMap(({ label }, index) => (label.startsWith("layers.") ? [index] : []));
  const places = [0, 0.5].map((share) => Math.floor(share * (asked.length - 1)));
  for (const at of [...places, ofBatch.at(-1) ?? 0]) {
    place = at;
    const before = numRefused;
    const answers = await askAll();
    place = -1;
    for (const [index, answer] of answers.entries()) {
      if (answer.status === "fulfilled") expect(answer, `place ${at}`).toEqual(expected[index]);
      else expect(answer.reason, `place ${at}`).toMatchObject({ name: "GpuError", reason: "out-of-memory" });
    }
    // Which answers wait for which others differs from run to run, and so does the number of needs.
    if (numRefused > before)
      expect(
        answers.some(({ status }) => status === "rejected"),
        `place ${at}`,
      ).toBe(true);
    model.clearCaches();
    expect(await askAll(), `after place ${at}`).toEqual(expected);
    model.clearCaches();
  }
  expect(numRefused).toBeGreaterThan(1);
  expect(model.gpu.allocatedBytes).toBeGreaterThan(weightBytes);
  model.dispose();
  expect(model.gpu.allocatedBytes).toBe(0);
});
