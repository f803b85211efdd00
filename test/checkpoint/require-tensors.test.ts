// What a model may require of a checkpoint's tensors.
import { describe, expect, it } from "vitest";
import {
  type Checkpoint,
  type ExpectedTensor,
  openCheckpoint,
  requireTensors,
} from "../../src/checkpoint/checkpoint.ts";
import { encodeSafetensors } from "../../src/checkpoint/safetensors-writer.ts";
import { CheckpointError } from "../../src/errors.ts";
import { CONFIG, memorySource, single } from "./fixtures.ts";

describe("requireTensors", () => {
  const vector = (name: string): ExpectedTensor => ({ name, shape: [2] });

  function refusalOf(checkpoint: Checkpoint, expected: readonly ExpectedTensor[]): CheckpointError {
    try {
      requireTensors(checkpoint, expected);
    } catch (error) {
      expect(error).toBeInstanceOf(CheckpointError);
      return error as CheckpointError;
    }
    throw new Error("expected a refusal");
  }

  it("accepts exactly what is expected", async () => {
    requireTensors(await single(["image_newline", "x"]), [vector("x"), vector("image_newline")]);
  });

  it("accepts optional tensors that are there, and that are not", async () => {
    const checkpoint = await single(["x"]);
    requireTensors(checkpoint, [
      { ...vector("x"), optional: true },
      { ...vector("y"), optional: true },
    ]);
  });

  it("checks optional tensors that are there", async () => {
    const { message } = refusalOf(await single(["x"]), [{ name: "x", shape: [3], optional: true }]);
    expect(message).toContain("it has the wrong shape in x [2] instead of [3]");
    const { message: deeper } = refusalOf(await single(["x"]), [{ name: "x", shape: [2, 3] }]);
    expect(deeper).toContain("it has the wrong shape in x [2] instead of [2, 3]");
  });

  it("compares every dimension, and names the first tensor that is wrong", async () => {
    const bytes = encodeSafetensors([
      { name: "matrix", dtype: "F32", shape: [2, 3], data: new Float32Array(6) },
      { name: "ids", dtype: "I64", shape: [2], data: new BigInt64Array(2) },
    ]);
    const checkpoint = await openCheckpoint(memorySource({ "config.json": CONFIG, "model.safetensors": bytes }));
    const ids = vector("ids");
    for (const shape of [[2], [2, 4], [3, 3], [3, 2], [2, 3, 1], []]) {
      const error = refusalOf(checkpoint, [{ name: "matrix", shape }, ids]);
      expect(error.message).toBe(
        `memory does not fit its config.json: it has the wrong shape in matrix [2, 3] instead of [${shape.join(", ")}], ` +
          "and holds other dtypes than F32, F16 and BF16 in ids I64; check that both belong together.",
      );
      expect(error.tensor).toBe("matrix");
    }
    const error = refusalOf(checkpoint, [{ name: "matrix", shape: [2, 3] }, ids]);
    expect(error.tensor).toBe("ids");
  });

  it("overlooks what is known to be unused and what the caller ignores, in any dtype and shape", async () => {
    const bytes = encodeSafetensors([
      { name: "x", dtype: "BF16", shape: [2], data: new Uint16Array(2) },
      {
        name: "vision_tower.vision_model.embeddings.position_ids",
        dtype: "I64",
        shape: [1, 1],
        data: new BigInt64Array(1),
      },
      { name: "model.layers.0.self_attn.rotary_emb.inv_freq", dtype: "F32", shape: [1], data: new Float32Array(1) },
      { name: "lm_head.weight", dtype: "U8", shape: [1], data: new Uint8Array(1) },
    ]);
    const checkpoint = await openCheckpoint(memorySource({ "config.json": CONFIG, "model.safetensors": bytes }));
    requireTensors(checkpoint, [vector("x")], { unused: new Set(["language_model.lm_head.weight"]) });
    const { message } = refusalOf(checkpoint, [vector("x")]);
    expect(message).toContain('it holds the unexpected "language_model.lm_head.weight"; check');
  });

  it("lists what is missing, unexpected, misshapen and of another dtype, in one sentence", async () => {
    const bytes = encodeSafetensors([
      { name: "shape", dtype: "F32", shape: [1, 2], data: new Float32Array(2) },
      { name: "dtype", dtype: "I32", shape: [2], data: new Int32Array(2) },
      { name: "extra", dtype: "F32", shape: [2], data: new Float32Array(2) },
    ]);
    const source = memorySource({ "config.json": CONFIG, "model.safetensors": bytes }, "tiny");
    const error = refusalOf(await openCheckpoint(source), ["gone", "shape", "dtype"].map(vector));
    expect(error.message).toBe(
      'tiny does not fit its config.json: it lacks gone, and holds the unexpected "extra", and has the wrong shape in ' +
        "shape [1, 2] instead of [2], and holds other dtypes than F32, F16 and BF16 in dtype I32; " +
        "check that both belong together.",
    );
    expect([error.file, error.tensor]).toEqual(["tiny", "gone"]);
  });

  it("lists eight names and counts the rest", async () => {
    const names = Array.from({ length: 11 }, (_, i) => `t${String(i).padStart(2, "0")}`);
    const { message } = refusalOf(await single(["x"]), [vector("x"), ...names.map(vector)]);
    expect(message).toContain("it lacks t00, t01, t02, t03, t04, t05, t06, t07 and 3 more; check");
    const unexpected = refusalOf(await single(names), []);
    expect(unexpected.message).toContain('"t07" and 3 more; check');
    expect(unexpected.tensor).toBeUndefined();
  });
});
