// Checkpoints of any size without weights: config.json and the header of model.safetensors. Reading a weight fails.
import { dtypeBits, type FileDtype } from "../../src/checkpoint/dtypes.ts";
import type { Source } from "../../src/checkpoint/source.ts";
import { readArchitecture } from "../../src/models/registry.ts";
import { listWeights } from "../../src/models/weight-table.ts";

/** A source of the tensors that a config.json declares, all in one dtype. */
export function headersOnly(config: object, dtype: FileDtype): Source {
  const architecture = readArchitecture(config);
  const header: Record<string, object> = {};
  let end = 0;
  for (const { tensors } of listWeights((w) => architecture.weights(w))) {
    for (const { name, shape } of tensors) {
      const start = end;
      end += (shape.reduce((product, size) => product * size, 1) * dtypeBits(dtype)) / 8;
      header[name] = { dtype, shape, data_offsets: [start, end] };
    }
  }
  const json = new TextEncoder().encode(JSON.stringify(header));
  const head = new Uint8Array(8 + json.length);
  new DataView(head.buffer).setBigUint64(0, BigInt(json.length), true);
  head.set(json, 8);
  const files = new Map([
    ["config.json", { bytes: new TextEncoder().encode(JSON.stringify(config)), size: undefined }],
    ["model.safetensors", { bytes: head, size: head.length + end }],
  ]);
  return {
    name: "headers only",
    size: async (path) => files.get(path)?.size ?? files.get(path)?.bytes.length,
    async read(path, start, stop) {
      const bytes = files.get(path)?.bytes ?? new Uint8Array();
      if (stop > bytes.length) throw new Error(`${path}: bytes [${start}, ${stop}) are not of the header.`);
      return bytes.slice(start, stop);
    },
  };
}
