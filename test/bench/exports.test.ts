// The models that the bench writes for other engines, looked into without these engines.
import { existsSync, readFileSync, statSync } from "node:fs";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { runProgram } from "../setup/run-program.ts";
import { integer, messages, texts } from "./protobuf.ts";
import { textShape, writeTextCheckpoint } from "./text-checkpoint.ts";

let folder: string;
beforeAll(async () => {
  folder = await writeTextCheckpoint({ biases: true });
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** Runs an exporter on the checkpoint and returns the path that it prints. */
async function runExporter(name: string, ...args: readonly string[]): Promise<string> {
  const program = fileURLToPath(new URL(`../../tools/bench/${name}.mjs`, import.meta.url));
  const { stdout, stderr, ending } = await runProgram(process.execPath, [program, folder, ...args]);
  expect(ending, stderr).toBe(0);
  return stdout.trim();
}

describe("export-onnx", () => {
  test("writes both forms of attention over weights that lie in one file", async () => {
    const target = await runExporter("export-onnx", "--positions", "64");
    expect(target).toBe(join(folder, ".peers", "onnx-f32-64"));
    const bytesOfWeights = statSync(join(target, "weights.bin")).size;
    for (const attention of ["fused", "exact"]) {
      const graph = graphOf(join(target, `llama-ids.${attention}.onnx`));
      const nodes = messages(graph, 1);
      const attentions = nodes.filter((node) => texts(node, 4)[0] === "GroupQueryAttention");
      expect(attentions).toHaveLength(textShape.numLayers);
      for (const node of attentions) {
        const attributes = messages(node, 5).map((attribute) => texts(attribute, 1)[0]);
        expect(attributes.includes("smooth_softmax")).toBe(attention === "exact");
        expect(texts(node, 1)).toHaveLength(attention === "exact" ? 12 : 9);
      }
      const external = messages(graph, 5).flatMap((tensor) => {
        const entries = messages(tensor, 13).map((entry) => [texts(entry, 1)[0], texts(entry, 2)[0]]);
        return entries.length > 0 ? [Object.fromEntries(entries)] : [];
      });
      expect(external.length).toBeGreaterThan(10);
      for (const { location, offset, length } of external) {
        expect(location).toBe("weights.bin");
        expect(Number(offset) % 4096).toBe(0);
        expect(Number(offset) + Number(length)).toBeLessThanOrEqual(bytesOfWeights);
      }
      expect(messages(graph, 12).flatMap((output) => texts(output, 1))).toEqual([
        "logits",
        ...Array.from({ length: textShape.numLayers }, (_, i) => [`present.${i}.key`, `present.${i}.value`]).flat(),
      ]);
      expect(existsSync(join(target, `llama-embeds.${attention}.onnx`))).toBe(true);
    }
  });

  test("every input of a node is an input, a weight or an earlier node's result", async () => {
    const target = await runExporter("export-onnx", "--positions", "64", "--dtype", "q4f16");
    const graph = graphOf(join(target, "llama-ids.exact.onnx"));
    const known = new Set(["", ...messages(graph, 11).flatMap((input) => texts(input, 1))]);
    for (const tensor of messages(graph, 5)) known.add(texts(tensor, 8)[0] ?? "");
    for (const node of messages(graph, 1)) {
      for (const input of texts(node, 1)) expect(known).toContain(input);
      for (const output of texts(node, 2)) known.add(output);
    }
  });

  test.each([
    ["q8", 8],
    ["q4", 4],
  ])("quantises all linear layers to %s", async (dtype, bits) => {
    const target = await runExporter("export-onnx", "--positions", "64", "--dtype", dtype);
    const nodes = messages(graphOf(join(target, "llama-ids.fused.onnx")), 1);
    const kinds = nodes.map((node) => texts(node, 4)[0]);
    expect(kinds).not.toContain("MatMul");
    // One for q, k and v together, four more per layer, and the lm_head.
    expect(kinds.filter((kind) => kind === "MatMulNBits")).toHaveLength(5 * textShape.numLayers + 1);
    const node = nodes.find((candidate) => texts(candidate, 4)[0] === "MatMulNBits") ?? new Uint8Array();
    const named = messages(node, 5).find((attribute) => texts(attribute, 1)[0] === "bits");
    expect(integer(named ?? new Uint8Array(), 3)).toBe(bits);
  });

  test("refuses a dtype that it does not know", async () => {
    const program = fileURLToPath(new URL("../../tools/bench/export-onnx.mjs", import.meta.url));
    const { stderr, ending } = await runProgram(process.execPath, [program, folder, "--dtype", "f8"]);
    expect(ending).toBe(2);
    expect(stderr).toContain("--dtype f32|f16|q8|q8f16|q4|q4f16");
  });
});

describe("export-transformers-js", () => {
  test.each([
    ["f32", "model"],
    ["q8", "model_quantized"],
    ["q4", "model_q4"],
  ])("writes a decoder of %s with the names that the package asks for", async (dtype, name) => {
    const target = await runExporter("export-transformers-js", "--positions", "64", "--dtype", dtype);
    expect(target).toBe(join(folder, ".peers", `transformers-js-${dtype}-64`));
    const config: unknown = JSON.parse(readFileSync(join(target, "decoder/config.json"), "utf8"));
    expect(config).toMatchObject({
      model_type: "llama",
      num_key_value_heads: textShape.numKeyValueHeads,
      "transformers.js_config": { use_external_data_format: true },
    });
    const graph = graphOf(join(target, "decoder/onnx", `${name}.onnx`));
    expect(existsSync(join(target, "decoder/onnx", `${name}.onnx_data`))).toBe(true);
    expect(existsSync(join(target, "vision"))).toBe(false);
    const layers = Array.from({ length: textShape.numLayers }, (_, i) => i);
    const cacheNames = (prefix: string) => layers.flatMap((i) => [`${prefix}.${i}.key`, `${prefix}.${i}.value`]);
    expect(messages(graph, 11).flatMap((input) => texts(input, 1))).toEqual([
      "input_ids",
      "attention_mask",
      "num_logits_to_keep",
      ...cacheNames("past_key_values"),
    ]);
    expect(messages(graph, 12).flatMap((output) => texts(output, 1))).toEqual(["logits", ...cacheNames("present")]);
  });
});

/** The GraphProto of a model file. */
function graphOf(file: string): Uint8Array {
  const [graph] = messages(readFileSync(file), 7);
  if (graph === undefined) throw new Error(`${file} has no graph.`);
  return graph;
}

test.each(["q8", "q4"])(
  "export-gguf quantises matrices to %s, but no vectors and no table of embeddings",
  async (dtype) => {
    const tensors = ggufTensors(readFileSync(await runExporter("export-gguf", "--dtype", dtype)));
    const typeOf = (name: string) => tensors.get(name)?.type;
    const quantized = dtype === "q8" ? 8 : 2; // ggml's numbers of Q8_0 and Q4_0
    expect(["blk.0.attn_q.weight", "blk.1.ffn_down.weight", "output.weight"].map(typeOf)).toEqual(
      Array(3).fill(quantized),
    );
    expect(["token_embd.weight", "output_norm.weight", "blk.0.attn_q.bias"].map(typeOf)).toEqual([0, 0, 0]);
  },
);

test("export-gguf writes all tensors of the checkpoint, biases too, where the table says", async () => {
  const bytes = readFileSync(await runExporter("export-gguf"));
  const tensors = ggufTensors(bytes);
  const perLayer = ["attn_norm", "ffn_norm"].length + 2 * ["q", "k", "v", "output", "gate", "up", "down"].length;
  expect(tensors.size).toBe(textShape.numLayers * perLayer + ["token_embd", "output_norm", "output"].length);
  const normOffset = tensors.get("output_norm.weight")?.offset ?? Number.NaN;
  const checkpoint = readFileSync(join(folder, "model.safetensors"));
  const headerBytes = Number(checkpoint.readBigUInt64LE(0));
  const header: Readonly<Record<string, { readonly data_offsets: readonly [number, number] }>> = JSON.parse(
    checkpoint.subarray(8, 8 + headerBytes).toString(),
  );
  const [start, end] = header["model.norm.weight"]?.data_offsets ?? [Number.NaN, Number.NaN];
  const expected = checkpoint.subarray(8 + headerBytes + start, 8 + headerBytes + end);
  expect(bytes.subarray(normOffset, normOffset + expected.length).equals(expected)).toBe(true);
  expect([...tensors.keys()]).toEqual(expect.arrayContaining(["blk.1.ffn_down.bias", "blk.0.attn_q.bias"]));
});

/** Names of a GGUF file's tensors with their ggml type and where their data starts in the file. */
function ggufTensors(bytes: Buffer): ReadonlyMap<string, { readonly type: number; readonly offset: number }> {
  let at = 8;
  const u32 = (): number => {
    at += 4;
    return bytes.readUInt32LE(at - 4);
  };
  const u64 = (): number => {
    at += 8;
    return Number(bytes.readBigUInt64LE(at - 8));
  };
  const text = (): string => {
    const length = u64();
    at += length;
    return bytes.subarray(at - length, at).toString();
  };
  const skipValue = (type: number): void => {
    if (type === 8) text();
    else if (type === 9) {
      const itemType = u32();
      for (let left = u64(); left > 0; left--) skipValue(itemType);
    } else at += type === 7 ? 1 : 4;
  };
  const numTensors = u64();
  for (let left = u64(); left > 0; left--) {
    text();
    skipValue(u32());
  }
  const tensors: { readonly name: string; readonly type: number; readonly offset: number }[] = [];
  for (let left = numTensors; left > 0; left--) {
    const name = text();
    for (let dimension = u32(); dimension > 0; dimension--) u64();
    tensors.push({ name, type: u32(), offset: u64() });
  }
  const dataStart = Math.ceil(at / 32) * 32;
  return new Map(tensors.map(({ name, type, offset }) => [name, { type, offset: dataStart + offset }]));
}
