// Writes of a load wait for the GPU before more than STAGING_BYTES are on their way.
import { expect, test } from "vitest";
import { GPU_STORAGE, Gpu } from "../../src/gpu/device.ts";
import { STAGING_BYTES, Staging } from "../../src/models/staging.ts";
import { openTestDevice } from "../setup/device.ts";

const MIB = 2 ** 20;

/** A Gpu whose queue counts what is written and not yet waited for, and is done later than it really is. */
async function makeGpu() {
  const { device, isSoftware } = await openTestDevice();
  const counts = { written: 0, done: 0, most: 0, numWaits: 0 };
  const queue = new Proxy(device.queue, {
    get(target, name) {
      if (name === "writeBuffer") {
        return (...call: Parameters<GPUQueue["writeBuffer"]>) => {
          counts.written += call[4] ?? call[2].byteLength;
          counts.most = Math.max(counts.most, counts.written - counts.done);
          target.writeBuffer(...call);
        };
      }
      if (name === "onSubmittedWorkDone") {
        return async () => {
          counts.numWaits++;
          const { written } = counts;
          await target.onSubmittedWorkDone();
          await new Promise((resolve) => setTimeout(resolve, 2));
          counts.done = written;
        };
      }
      const value: unknown = Reflect.get(target, name);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
  const counting = new Proxy(device, {
    get(target, name) {
      if (name === "queue") return queue;
      const value: unknown = Reflect.get(target, name);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
  const gpu = new Gpu(counting, { isSoftware });
  return { gpu, counts };
}

test("two writers together stay within STAGING_BYTES and use most of it; the values arrive", async () => {
  const { gpu, counts } = await makeGpu();
  const staging = new Staging(gpu);
  const chunk = new Uint8Array(8 * MIB);
  const buffers = [0, 1].map((index) => gpu.createBuffer(`buffer ${index}`, 2 * chunk.byteLength, GPU_STORAGE));
  const write = async (buffer: GPUBuffer) => {
    for (let i = 0; i < 10; i++) await staging.write(buffer, chunk.fill(i), (i % 2) * chunk.byteLength);
    await staging.write(buffer, Uint8Array.of(1, 2, 3, 4, 5), 16);
  };
  await Promise.all(buffers.map(write));
  await staging.flush();
  expect(counts.written - counts.done).toBe(0);
  expect(counts.most).toBeLessThanOrEqual(STAGING_BYTES);
  expect(counts.most).toBeGreaterThan(STAGING_BYTES / 2);
  for (const buffer of buffers) {
    const [first, tail] = [await gpu.readBuffer(buffer, 8, 12), await gpu.readBuffer(buffer, 4, chunk.byteLength)];
    expect([...new Uint8Array(first).slice(4)]).toEqual([1, 2, 3, 4]);
    expect([...new Uint8Array(tail)]).toEqual([9, 9, 9, 9]);
  }
  gpu.dispose();
});

test("a write larger than that goes by itself", async () => {
  const { gpu, counts } = await makeGpu();
  const staging = new Staging(gpu);
  const buffer = gpu.createBuffer("large", STAGING_BYTES + 4 * MIB, GPU_STORAGE);
  for (const numBytes of [MIB, STAGING_BYTES + 4 * MIB, MIB]) await staging.write(buffer, new Uint8Array(numBytes));
  await staging.flush();
  expect(counts.most).toBe(STAGING_BYTES + 4 * MIB);
  gpu.dispose();
});

test("nothing is written into the buffers of a disposed Gpu", async () => {
  const { gpu, counts } = await makeGpu();
  const staging = new Staging(gpu);
  const buffer = gpu.createBuffer("data", 16, GPU_STORAGE);
  gpu.dispose();
  await expect(staging.write(buffer, new Uint8Array(16))).rejects.toThrow("disposed");
  expect(counts.written).toBe(0);
});
