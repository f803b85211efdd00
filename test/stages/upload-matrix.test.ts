// Matrices on their way to the GPU in chunks and pieces: what arrives is the twin's, bit for bit.
import { expect, test } from "vitest";
import { blobSource } from "../../src/checkpoint/blob-source.ts";
import { openCheckpoint } from "../../src/checkpoint/checkpoint.ts";
import { encodeSafetensors } from "../../src/checkpoint/safetensors-writer.ts";
import { GPU_STORAGE, Gpu } from "../../src/gpu/device.ts";
import { isQuantized, type Matrix, storedRowBytes, type WeightDtype, whole } from "../../src/gpu/tensor.ts";
import { Quantizer } from "../../src/models/quantizer.ts";
import { Staging } from "../../src/models/staging.ts";
import { allocateMatrix, fillMatrix } from "../../src/models/upload.ts";
import { planWeight, type WeightSpec } from "../../src/models/weight-table.ts";
import { createRandom } from "../reference/random.ts";
import { storedRows, storeWeights } from "../reference/weight-formats.ts";
import { openTestDevice } from "../setup/device.ts";

/** `gpu` with an adapter that seems to allow bindings of `bindingBytes` only. */
function withSmallBindings(gpu: Gpu, bindingBytes: number): Gpu {
  const limits = { maxBufferSize: gpu.device.limits.maxBufferSize, maxStorageBufferBindingSize: bindingBytes };
  const device = new Proxy(gpu.device, {
    get(target, name) {
      if (name === "limits") return limits;
      const value: unknown = Reflect.get(target, name, target);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
  return Object.create(gpu, { device: { value: device } }) as Gpu; // the same object but for its device's limits
}

async function upload(
  shape: readonly [number, number],
  options: { readonly dtype: WeightDtype; readonly bindingBytes?: number },
) {
  const { dtype, bindingBytes } = options;
  const [numRows, columns] = shape;
  const { device, isSoftware } = await openTestDevice();
  const wholeGpu = new Gpu(device, { isSoftware });
  const gpu = bindingBytes === undefined ? wholeGpu : withSmallBindings(wholeGpu, bindingBytes);
  const values = createRandom(numRows).normals(numRows * columns, 0.02);
  const file = encodeSafetensors([{ name: "weight", dtype: "F32", shape, data: values }]);
  const files = new Map([
    ["config.json", new Blob(["{}"])],
    ["model.safetensors", new Blob([file])],
  ]);
  const checkpoint = await openCheckpoint(blobSource(files, "test"));
  const staging = new Staging(gpu);
  const quantizer = new Quantizer(wholeGpu, staging);
  const before = gpu.allocatedBytes;
  let numChunks = 0;
  const spec: WeightSpec = {
    tensors: [{ name: "weight", otherNames: [], shape, rows: whole(numRows) }],
    columns: whole(columns),
    role: "matrix",
    part: "decoder",
    isUsed: true,
    isQuantizable: true,
    isSplittable: true,
  };
  const weight = planWeight(checkpoint, spec, dtype);
  const createBuffer = async (label: string, byteLength: number) => gpu.createBuffer(label, byteLength, GPU_STORAGE);
  const matrix = await allocateMatrix(gpu, weight, { columns: whole(columns), createBuffer });
  const onBytes = () => {
    numChunks++;
  };
  await fillMatrix({ checkpoint, gpu, signal: undefined, staging, quantizer, onBytes }, weight, matrix);
  const stagingBytes = gpu.allocatedBytes - before - matrixBytes(matrix);
  quantizer.dispose();
  expect(gpu.allocatedBytes - before).toBe(matrixBytes(matrix));
  const expected = storeWeights(values, dtype, columns);
  for (const piece of matrix.pieces) {
    const end = Math.min(piece.rowStart + piece.numRows, numRows);
    const rows = storedRows(expected, columns, [piece.rowStart, end]);
    expect(await holds(gpu, piece.buffer, rows.stored), "weights").toBe(true);
    expect(piece.scales === undefined).toBe(rows.scales === undefined);
    if (rows.scales === undefined || piece.scales === undefined) continue;
    expect(await holds(gpu, piece.scales, rows.scales), "scales").toBe(true);
  }
  return { matrix, numChunks, stagingBytes };
}

function matrixBytes(matrix: Matrix): number {
  const row = storedRowBytes(matrix);
  return matrix.rows * (row.weights + row.scales);
}

/** Millions of bytes: vitest's toEqual would take a minute. */
async function holds(gpu: Gpu, buffer: GPUBuffer, expected: ArrayBufferView<ArrayBuffer>): Promise<boolean> {
  const actual = Buffer.from(await gpu.readBuffer(buffer, expected.byteLength));
  return actual.equals(Buffer.from(expected.buffer, expected.byteOffset, expected.byteLength));
}

const DTYPES = ["f16", "q8", "q4"] as const;

// A chunk of 8 MiB would hold 22,795 rows of three groups each: cut there, the next would begin within a word of scales.
test.each(DTYPES)("%s, more than one chunk; the staging buffer is one chunk", async (dtype) => {
  const { matrix, numChunks, stagingBytes } = await upload([22_797, 92], { dtype });
  expect([matrix.pieces.length, numChunks]).toEqual([1, 2]);
  expect(stagingBytes).toBeLessThanOrEqual(isQuantized(dtype) ? 8 * 2 ** 20 + 16 : 0);
});

test.each(DTYPES)("%s, in pieces, with an odd number of groups a row", async (dtype) => {
  const columns = 96;
  const bindingBytes = storedRowBytes({ dtype, columns }).weights * 22;
  const { matrix } = await upload([46, columns], { dtype, bindingBytes });
  expect(matrix.pieces.map(({ rowStart, numRows }) => [rowStart, numRows])).toEqual([
    [0, 20],
    [20, 20],
    [40, 8],
  ]);
});
