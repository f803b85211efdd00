import { describe, expect, test, vi } from "vitest";
import { create } from "webgpu";
import { AbortError, GpuError } from "../../src/errors.ts";
import {
  formatBytes,
  GPU_READBACK,
  GPU_STORAGE,
  Gpu,
  isSoftwareAdapter,
  requestGpuDevice,
} from "../../src/gpu/device.ts";
import { openNodeAdapter } from "../../src/gpu/hosts/adapter.node.ts";
import type { Constant } from "../../src/gpu/kernel.ts";
import { ACTIVATIONS } from "../../src/gpu/ops/activations.ts";
import { ALL_KERNELS } from "../../src/gpu/ops/kernels.ts";
import { adapterOfEnvironment, openTestDevice } from "../setup/device.ts";
import { scarceDevice } from "../setup/scarce-memory.ts";

/** Dawn checks shaders, constants and limits before a driver compiles anything; its null backend does only that. Held for as long as its devices live. */
const nullGpu = create(["backend=null"]);

/** The test device with its own ledger, and with the methods in `changes` instead of its own. */
async function makeGpu(changes: Partial<GPUDevice> = {}): Promise<Gpu> {
  const { device } = await openTestDevice();
  const changed = new Proxy(device, {
    get(target, name) {
      const value: unknown = Reflect.get(changes, name) ?? Reflect.get(target, name);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
  return new Gpu(changed);
}

/** A device of its own, for tests that end it. */
async function makeOwnGpu(): Promise<Gpu> {
  const { adapter } = await openNodeAdapter(adapterOfEnvironment());
  return new Gpu(await requestGpuDevice(adapter));
}

describe("the ledger", () => {
  test("counts what is made, in whole f32s, and what is destroyed, once", async () => {
    const gpu = await makeGpu();
    const before = gpu.allocatedBytes;
    const small = gpu.createBuffer("small", 1, GPU_STORAGE);
    expect(small.size).toBe(16);
    const odd = gpu.createBuffer("odd", 1001, GPU_STORAGE);
    expect(odd.size).toBe(1004);
    expect(gpu.allocatedBytes).toBe(before + 16 + 1004);
    gpu.destroyBuffer(odd);
    gpu.destroyBuffer(odd);
    expect(gpu.allocatedBytes).toBe(before + 16);
    gpu.dispose();
    expect(gpu.allocatedBytes).toBe(0);
    gpu.dispose();
    gpu.destroyBuffer(small);
    expect(gpu.allocatedBytes).toBe(0);
  });

  test("does not touch buffers of others", async () => {
    const [gpu, other] = [await makeGpu(), await makeGpu()];
    const buffer = other.createBuffer("other's", 64, GPU_STORAGE);
    const before = gpu.allocatedBytes;
    gpu.destroyBuffer(buffer);
    expect(gpu.allocatedBytes).toBe(before);
    other.write(buffer, Uint32Array.of(5));
    expect(new Uint32Array(await other.readBuffer(buffer, 4))).toEqual(Uint32Array.of(5));
    other.dispose();
    gpu.dispose();
  });

  test("reading back leaves nothing behind", async () => {
    const gpu = await makeGpu();
    const buffer = gpu.createBuffer("data", 64, GPU_STORAGE);
    const before = gpu.allocatedBytes;
    await gpu.readBuffer(buffer, 64);
    expect(gpu.allocatedBytes).toBe(before);
    gpu.dispose();
  });
});

describe("limits", () => {
  test("a storage buffer above the binding limit is refused in a sentence, one below is not", async () => {
    const gpu = await makeGpu();
    const { maxStorageBufferBindingSize, maxBufferSize } = gpu.device.limits;
    const limit = Math.min(maxStorageBufferBindingSize, maxBufferSize);
    const before = gpu.allocatedBytes;
    const make = () => gpu.createBuffer("lm_head", limit + 1, GPU_STORAGE);
    expect(make).toThrow(GpuError);
    expect(make).toThrow(
      `Buffer lm_head needs ${formatBytes(limit + 4)} but this adapter allows ${formatBytes(limit)} in one binding; use an adapter with larger limits or a smaller model or prompt.`,
    );
    expect(gpu.allocatedBytes).toBe(before);
    gpu.dispose();
  });

  test("a buffer that is never bound may be as large as buffers can be", async () => {
    const { device } = await openTestDevice();
    const small = () => device.createBuffer({ size: 16, usage: GPU_STORAGE });
    const gpu = await makeGpu({ createBuffer: small });
    const { maxBufferSize } = device.limits;
    // Some adapters' limit is no multiple of 4, the size of all buffers.
    expect(() => gpu.createBuffer("readback", maxBufferSize - 3, GPU_READBACK)).not.toThrow();
    expect(() => gpu.createBuffer("readback", maxBufferSize + 4, GPU_READBACK)).toThrow(GpuError);
  });

  test("requestGpuDevice raises the limits to the adapter's and takes the features that it has", async () => {
    const { adapter } = await openNodeAdapter(adapterOfEnvironment());
    const device = await requestGpuDevice(adapter);
    expect(device.limits.maxBufferSize).toBe(adapter.limits.maxBufferSize);
    expect(device.limits.maxStorageBufferBindingSize).toBe(adapter.limits.maxStorageBufferBindingSize);
    expect(device.limits.maxComputeWorkgroupStorageSize).toBe(adapter.limits.maxComputeWorkgroupStorageSize);
    expect(device.features.has("subgroups")).toBe(adapter.features.has("subgroups"));
    device.destroy();
  });

  test("an adapter that refuses is a no-adapter error", async () => {
    const { adapter } = await openNodeAdapter(adapterOfEnvironment());
    const refusing = new Proxy(adapter, {
      get: (target, name) =>
        name === "requestDevice" ? () => Promise.reject(new Error("busy")) : Reflect.get(target, name),
    });
    await expect(requestGpuDevice(refusing)).rejects.toThrow(
      new GpuError(
        "no-adapter",
        "The adapter refused a device (busy); an adapter gives one device only: request it again, or another one.",
      ),
    );
  });

  test.each([
    { title: "no feature", needsSubgroups: false },
    { title: "subgroups, where it says that it needs them", needsSubgroups: true },
  ])("every kernel is valid on a device with WebGPU's default limits and $title", async ({ needsSubgroups }) => {
    const requiredFeatures: GPUFeatureName[] = needsSubgroups ? ["subgroups"] : [];
    const adapter = await nullGpu.requestAdapter();
    if (adapter === null) throw new Error("Dawn has no null backend");
    const device = await adapter.requestDevice({ requiredFeatures });
    const gpu = new Gpu(device);
    const constants: Record<string, Constant> = {
      ...{ HAS_BIAS: true, ADD_TO_OUTPUT: true, ACTIVATION: ACTIVATIONS.gelu },
      ...{ CAUSAL: true, BLOCKED: true, CAPTURE: true, EDIT: true, WINDOWED: true },
      ...{
        NUM_HEADS: 4,
        NUM_KEY_VALUE_HEADS: 2,
        GROUP: 2,
        HEAD_DIM: 32,
        PADDED_HEAD_DIM: 32,
        BITS: 4,
        ROWS: 4,
        SLICES: 2,
        IS_PADDED: true,
        BATCH: 1,
      },
    };
    const kernels = ALL_KERNELS.filter(({ code }) => code.includes("enable subgroups;") === needsSubgroups);
    expect(kernels.length).toBeGreaterThan(0);
    await gpu.guard("compiling", () =>
      Promise.all(
        kernels.map((kernel) => {
          const needed = [...kernel.overrides].filter(([, { hasDefault }]) => !hasDefault);
          const values = needed.map(([name]): [string, Constant] => [name, constants[name] ?? Number.NaN]);
          return gpu.pipelines.get(kernel, Object.fromEntries(values)).ready;
        }),
      ),
    );
    device.destroy();
  });
});

describe("write and readBuffer", () => {
  test("a tail of fewer than 4 bytes is written with zeros behind it, and read without them", async () => {
    const gpu = await makeGpu();
    const buffer = gpu.createBufferWith("data", new Uint8Array(16).fill(9), GPU_STORAGE);
    gpu.write(buffer, Uint8Array.of(1, 2, 3, 4, 5), 4);
    expect(new Uint8Array(await gpu.readBuffer(buffer, 5, 4))).toEqual(Uint8Array.of(1, 2, 3, 4, 5));
    expect(new Uint8Array(await gpu.readBuffer(buffer, 16))).toEqual(
      Uint8Array.of(9, 9, 9, 9, 1, 2, 3, 4, 5, 0, 0, 0, 9, 9, 9, 9),
    );
    gpu.dispose();
  });

  test.each([1, 2, 3, 6, 7])("%d bytes out of the middle of an array", async (length) => {
    const gpu = await makeGpu();
    const data = Uint8Array.from({ length: 12 }, (_, index) => index + 1).subarray(3, 3 + length);
    const buffer = gpu.createBufferWith("data", data, GPU_STORAGE);
    expect(new Uint8Array(await gpu.readBuffer(buffer, length))).toEqual(data);
    gpu.dispose();
  });

  test("a new buffer holds zeros", async () => {
    const gpu = await makeGpu();
    const buffer = gpu.createBuffer("zeros", 40, GPU_STORAGE);
    expect(new Uint8Array(await gpu.readBuffer(buffer, 40))).toEqual(new Uint8Array(40));
    gpu.dispose();
  });
});

/** Counts unmaps of a buffer that is neither mapped nor about to be, at which Deno throws. */
function countIdleUnmaps(buffer: GPUBuffer): () => number {
  const unmap = buffer.unmap.bind(buffer);
  let numIdle = 0;
  buffer.unmap = () => {
    if (buffer.mapState === "unmapped") numIdle++;
    return unmap();
  };
  return () => numIdle;
}

describe("readMapped and cancelRead", () => {
  test("a read that is over, failed or never begun is not cancelled, and one on its way is", async () => {
    const gpu = await makeGpu();
    const buffer = gpu.createBuffer("staging", 16, GPU_READBACK);
    const numIdleUnmaps = countIdleUnmaps(buffer);
    gpu.cancelRead(buffer);
    gpu.write(buffer, Float32Array.of(1, 2, 3, 4));
    expect([...new Float32Array(await gpu.readMapped(buffer, 12))]).toEqual([1, 2, 3]);
    gpu.cancelRead(buffer);
    const cancelled = gpu.readMapped(buffer);
    gpu.cancelRead(buffer);
    await expect(cancelled).rejects.toThrow(GpuError);
    gpu.cancelRead(buffer);
    expect(new Float32Array(await gpu.readMapped(buffer))).toEqual(Float32Array.of(1, 2, 3, 4));
    expect(buffer.mapState).toBe("unmapped");
    gpu.destroyBuffer(buffer);
    gpu.cancelRead(buffer);
    expect(numIdleUnmaps()).toBe(0);
    gpu.dispose();
  });

  test("a cancelled read that still waits takes nothing from the next one", async () => {
    let isWaiting = false;
    const gpu = await makeGpu();
    const buffer = gpu.createBuffer("staging", 16, GPU_READBACK);
    const numIdleUnmaps = countIdleUnmaps(buffer);
    let release = () => {};
    const settled = vi.spyOn(gpu, "settled").mockImplementationOnce(() => {
      isWaiting = true;
      return new Promise((resolve) => {
        release = resolve;
      });
    });
    const first = gpu.readMapped(buffer);
    await expect.poll(() => isWaiting).toBe(true);
    gpu.cancelRead(buffer);
    gpu.write(buffer, Float32Array.of(5, 6, 7, 8));
    settled.mockImplementationOnce(async () => {
      release(); // the second is mapped now
      await expect(first).rejects.toThrow(GpuError);
    });
    expect(new Float32Array(await gpu.readMapped(buffer))).toEqual(Float32Array.of(5, 6, 7, 8));
    expect(numIdleUnmaps()).toBe(0);
    gpu.dispose();
  });

  test("a host that cannot unmap a buffer of a lost device, such as Deno, hides no other error", async () => {
    const gpu = await makeGpu();
    const buffer = gpu.createBuffer("staging", 16, GPU_READBACK);
    buffer.unmap = () => {
      throw new Error("Parent device is lost");
    };
    const read = gpu.readMapped(buffer);
    gpu.cancelRead(buffer);
    gpu.dispose();
    await expect(read).rejects.toThrow(AbortError);
  });

  test("a read without memory leaves its buffer unmapped", async () => {
    const gpu = await makeGpu();
    const buffer = gpu.createBuffer("staging", 16, GPU_READBACK);
    vi.spyOn(gpu, "settled").mockRejectedValue(new GpuError("out-of-memory", "no memory"));
    await expect(gpu.readMapped(buffer)).rejects.toThrow("no memory");
    expect(buffer.mapState).toBe("unmapped");
    gpu.dispose();
  });
});

describe("guard", () => {
  test("returns what the work returns", async () => {
    const gpu = await makeGpu();
    expect(await gpu.guard("counting", () => 3)).toBe(3);
    expect(await gpu.guard("counting", async () => 4)).toBe(4);
  });

  test("a validation error is a GpuError that says during what", async () => {
    const gpu = await makeGpu();
    const work = gpu.guard("making a buffer", () => {
      gpu.device.createBuffer({ size: 16, usage: GPU_READBACK | GPU_STORAGE });
    });
    await expect(work).rejects.toMatchObject({ name: "GpuError", reason: "shader" });
    await expect(work).rejects.toThrow(/^The GPU refused a command while making a buffer: ./);
    gpu.dispose();
  });

  test("an error of the work itself passes, with the scopes closed behind it", async () => {
    const gpu = await makeGpu();
    await expect(
      gpu.guard("failing", () => {
        throw new RangeError("mine");
      }),
    ).rejects.toThrow(new RangeError("mine"));
    await expect(gpu.device.popErrorScope()).rejects.toThrow();
    gpu.dispose();
  });

  /** A Gpu with 3 MiB in use and no memory for the buffers called "refused". */
  async function makeFullGpu(): Promise<Gpu> {
    const { device } = await openTestDevice();
    const gpu = new Gpu(scarceDevice(device, ({ label }) => label === "refused").device);
    gpu.createBuffer("cache", 3 * 2 ** 20 - gpu.allocatedBytes, GPU_STORAGE);
    return gpu;
  }
  const ADVICE = "use a shorter prompt or context, fewer pictures, or a smaller dtype or model.";
  const REFUSED = `The GPU ran out of memory for refused, which needs 1.0 MiB, with 3.0 MiB already in use; ${ADVICE}`;

  test.each([false, true])(
    "out of memory names the first buffer that was refused (the work failed, too: %s)",
    async (fails) => {
      const gpu = await makeFullGpu();
      const work = () =>
        gpu.guard("loading layer 7", () => {
          for (const numBytes of [2 ** 20, 2 ** 21]) gpu.createBuffer("refused", numBytes, GPU_STORAGE);
          if (fails) throw new Error("a consequence");
        });
      await expect(work()).rejects.toMatchObject({ name: "GpuError", reason: "out-of-memory", message: REFUSED });
      expect(await gpu.guard("counting", () => 3)).toBe(3);
      gpu.dispose();
    },
  );

  test("nothing is read back of work without memory, and settled() says so, until a guard has", async () => {
    const gpu = await makeFullGpu();
    const work = gpu.guard("answering", async () => {
      gpu.createBuffer("refused", 2 ** 20, GPU_STORAGE);
      await expect(gpu.settled()).rejects.toThrow(REFUSED);
      await gpu.readBuffer(gpu.unused, 16);
      throw new Error("not reached");
    });
    await expect(work).rejects.toThrow(REFUSED);
    await gpu.settled();
    gpu.dispose();
  });

  test("out of memory of something else says while what", async () => {
    const gpu = await makeFullGpu();
    const work = gpu.guard("loading layer 7", () => {
      gpu.device.createBuffer({ label: "refused", size: 16, usage: GPU_STORAGE });
    });
    const message = `The GPU ran out of memory while loading layer 7, with 3.0 MiB already in use; ${ADVICE}`;
    await expect(work).rejects.toMatchObject({ name: "GpuError", reason: "out-of-memory", message });
    gpu.dispose();
  });
});

describe("a lost device", () => {
  const LOST = /^The GPU device was lost \(destroyed: .+\); load the model again on a new device\.$/;

  test("before the work", async () => {
    const gpu = await makeOwnGpu();
    const buffer = gpu.createBuffer("data", 16, GPU_STORAGE);
    gpu.throwIfLost();
    gpu.device.destroy();
    await gpu.device.lost;
    expect(() => gpu.throwIfLost()).toThrow(LOST);
    const guarded = gpu.guard("working", () => 1);
    await expect(guarded).rejects.toMatchObject({ name: "GpuError", reason: "device-lost" });
    await expect(guarded).rejects.toThrow(LOST);
    const before = gpu.allocatedBytes;
    await expect(gpu.readBuffer(buffer, 16)).rejects.toMatchObject({ name: "GpuError", reason: "device-lost" });
    expect(gpu.allocatedBytes).toBe(before);
    gpu.dispose();
    expect(gpu.allocatedBytes).toBe(0);
  });

  test("during the work", async () => {
    const gpu = await makeOwnGpu();
    const work = gpu.guard("working", async () => {
      gpu.device.destroy();
      await gpu.device.lost;
    });
    await expect(work).rejects.toMatchObject({ name: "GpuError", reason: "device-lost" });
  });

  test("during the work, which does not wait for it", async () => {
    const gpu = await makeOwnGpu();
    const work = gpu.guard("working", () => gpu.device.destroy());
    await expect(work).rejects.toMatchObject({ name: "GpuError", reason: "device-lost" });
  });

  test("while reading back", async () => {
    const gpu = await makeOwnGpu();
    const buffer = gpu.createBuffer("data", 16, GPU_STORAGE);
    const reading = gpu.readBuffer(buffer, 16);
    gpu.device.destroy();
    await expect(reading).rejects.toMatchObject({ name: "GpuError", reason: "device-lost" });
  });
});

test("the software adapters of this suite are told as such", async () => {
  const { device, kind } = await openTestDevice();
  expect(isSoftwareAdapter(device.adapterInfo)).toBe(kind !== "gpu");
  expect((await makeGpu()).isSoftware).toBe(kind !== "gpu");
});

test.each([
  [0, "0 bytes"],
  [1023, "1023 bytes"],
  [1536, "1.5 KiB"],
  [128 * 2 ** 20, "128.0 MiB"],
  [3 * 2 ** 30, "3.0 GiB"],
  [5000 * 2 ** 40, "5000.0 TiB"],
])("%d bytes are %s", (bytes, text) => {
  expect(formatBytes(bytes)).toBe(text);
});
