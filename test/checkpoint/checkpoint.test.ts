// Opening whole checkpoints: files, shards, names, metadata, and what a model may require of them.
import { describe, expect, it } from "vitest";
import { openCheckpoint, requireTensors } from "../../src/checkpoint/checkpoint.ts";
import type { Source } from "../../src/checkpoint/source.ts";
import { AbortError, CheckpointError } from "../../src/errors.ts";
import { CONFIG, memorySource, rawSafetensors, rejection, single, weights } from "./fixtures.ts";

type Files = Readonly<Record<string, string | Uint8Array<ArrayBuffer>>>;

const index = (weightMap: unknown) => JSON.stringify({ metadata: { total_size: 1 }, weight_map: weightMap });

async function refusal(files: Files): Promise<CheckpointError> {
  const error = await rejection(openCheckpoint(memorySource(files, "the folder")));
  expect(error).toBeInstanceOf(CheckpointError);
  return error as CheckpointError;
}

describe("openCheckpoint", () => {
  it("opens a single file and reads tensors by canonical name", async () => {
    const checkpoint = await single(["model.norm.weight", "lm_head.weight"], { format: "pt" });
    expect(checkpoint.config).toEqual({ model_type: "llava" });
    expect(checkpoint.metadata).toEqual({ format: "pt" });
    expect([...checkpoint.tensors.keys()]).toEqual([
      "language_model.lm_head.weight",
      "language_model.model.norm.weight",
    ]);
    expect(checkpoint.tensors.get("language_model.lm_head.weight")?.entry.name).toBe("lm_head.weight");
    expect(checkpoint.totalBytes).toBe(16);
    const name = "language_model.lm_head.weight";
    expect(checkpoint.tensorBytes(name)).toBe(8);
    expect([...new Float32Array((await checkpoint.read(name)).buffer)]).toEqual([1, 1.5]);
    expect([...new Float32Array((await checkpoint.read(name, { start: 4, end: 8 })).buffer)]).toEqual([1.5]);
    expect([...new Float32Array((await checkpoint.read(name, { end: 4 })).buffer)]).toEqual([1]);
    expect((await checkpoint.read(name, { start: 8 })).length).toBe(0);
    await checkpoint.close();
  });

  it("opens shards", async () => {
    const files = {
      "config.json": CONFIG,
      "model.safetensors.index.json": index({
        "lm_head.weight": "b.safetensors",
        "model.norm.weight": "a.safetensors",
      }),
      "a.safetensors": weights(["model.norm.weight"], { format: "pt", shard: "a" }),
      "b.safetensors": weights(["lm_head.weight"], { format: "pt", shard: "b" }),
    };
    const checkpoint = await openCheckpoint(memorySource(files));
    expect([...checkpoint.tensors].map(([name, { file }]) => [name, file])).toEqual([
      ["language_model.model.norm.weight", "a.safetensors"],
      ["language_model.lm_head.weight", "b.safetensors"],
    ]);
    expect(checkpoint.metadata).toEqual({ format: "pt", shard: "b" });
    expect(checkpoint.totalBytes).toBe(16);
  });

  it("takes the single file where both are, as transformers does", async () => {
    const files = {
      "config.json": CONFIG,
      "model.safetensors": weights(["image_newline"]),
      "model.safetensors.index.json": "not even JSON",
    };
    expect((await openCheckpoint(memorySource(files))).tensors.size).toBe(1);
  });

  it("names what it looked for when there are no weights", async () => {
    expect((await refusal({ "config.json": CONFIG })).message).toBe(
      "the folder holds neither model.safetensors nor model.safetensors.index.json; check the folder or download the weights.",
    );
    expect((await refusal({ "config.json": CONFIG })).file).toBe("model.safetensors");
  });

  it.each(["pytorch_model.bin", "pytorch_model.bin.index.json"])("does not load %s", async (file) => {
    const error = await refusal({ "config.json": CONFIG, [file]: "x" });
    expect(error.message).toBe(
      `the folder holds ${file}, but neither model.safetensors nor model.safetensors.index.json; load it in transformers and save it with save_pretrained, which writes safetensors.`,
    );
    expect(error.file).toBe(file);
  });

  it.each([
    [undefined, "config.json is not in the folder"],
    ["{", "config.json is not valid JSON"],
    ["{\n\n,", "config.json is not valid JSON"],
    ["[]", "config.json must hold an object, got an array; download the file again."],
    ['"x"', "config.json must hold an object, got a string; download the file again."],
    ["null", "config.json must hold an object, got null"],
    [Uint8Array.of(0x22, 0xff, 0x22), "config.json is not valid UTF-8"],
  ])("needs a config.json that is an object, not %j", async (config, message) => {
    const error = await refusal(config === undefined ? {} : { "config.json": config });
    expect(error.message).toContain(message);
    expect(error.message).not.toContain("\n");
    expect(error.file).toBe("config.json");
  });

  it("passes on what is wrong with the file", async () => {
    const error = await refusal({ "config.json": CONFIG, "model.safetensors": rawSafetensors({ header: "[]" }) });
    expect(error.message).toContain('model.safetensors: the header must begin with "{"');
  });

  it("refuses two spellings of one name", async () => {
    const names = ["lm_head.weight", "language_model.lm_head.weight"];
    const error = await refusal({ "config.json": CONFIG, "model.safetensors": weights(names) });
    expect(error.message).toBe(
      '"language_model.lm_head.weight" of model.safetensors and "lm_head.weight" of model.safetensors ' +
        'both stand for the tensor "language_model.lm_head.weight"; keep one of them.',
    );
    expect([error.file, error.tensor]).toEqual(["model.safetensors", "lm_head.weight"]);
  });

  it("closes the source when it fails or is stopped, and can open it again", async () => {
    let numCloses = 0;
    const files = { "config.json": CONFIG, "model.safetensors": weights(["image_newline"]) };
    const source: Source = {
      ...memorySource(files),
      async close() {
        numCloses += 1;
      },
    };
    expect(await rejection(openCheckpoint(source, AbortSignal.abort()))).toBeInstanceOf(AbortError);
    expect(numCloses).toBe(1);
    const checkpoint = await openCheckpoint(source);
    await checkpoint.close();
    expect(numCloses).toBe(2);
  });
});

describe("the index", () => {
  const shard = weights(["a", "b"]);
  const open = (indexText: string, files: Files = { "s.safetensors": shard }) =>
    refusal({ "config.json": CONFIG, "model.safetensors.index.json": indexText, ...files });

  it.each([
    ["{", "is not valid JSON"],
    ["[]", "must hold an object weight_map from tensor names to files"],
    ["{}", "must hold an object weight_map from tensor names to files"],
    [index([]), "must hold an object weight_map from tensor names to files"],
    ["null", "must hold an object weight_map from tensor names to files"],
    ["1", "must hold an object weight_map from tensor names to files"],
    ['"weight_map"', "must hold an object weight_map from tensor names to files"],
    [index(null), "must hold an object weight_map from tensor names to files"],
    [index("s.safetensors"), "must hold an object weight_map from tensor names to files"],
    [index({ a: 1 }), 'gives the tensor "a" a number, expected a file name', "a"],
    [index({ a: "s.safetensors", b: null }), 'gives the tensor "b" null, expected a file name', "b"],
    [index({}), "holds an empty weight_map"],
    ['{"weight_map":{"a":"s.safetensors","\\u0061":"t.safetensors"}}', 'holds the key "a" twice', "a"],
    ['{"weight_map":{"a":{"x":1,"x":2}}}', 'holds the key "x" twice', "a"],
    ['{"weight_map":{},"weight_map":{"a":"s.safetensors"}}', 'holds the key "weight_map" twice'],
    ['{"metadata":{"a":1,"a":2},"weight_map":{"a":"s.safetensors"}}', 'holds the key "a" twice'],
  ])("must be a map from names to files: %s", async (text, message, tensor?: string) => {
    const error = await open(text);
    expect(error.message).toContain(`model.safetensors.index.json ${message}`);
    expect([error.file, error.tensor]).toEqual(["model.safetensors.index.json", tensor]);
    if (!error.message.includes("JSON")) expect(error.message).toMatch(/; download or write the file again\.$/);
  });

  it.each(["../s.safetensors", "/s.safetensors", "C:\\s.safetensors"])("cannot name %j", async (file) => {
    expect((await open(index({ a: file }))).message).toContain("is not a plain path inside the checkpoint's folder");
  });

  it("names shards that are there", async () => {
    const error = await open(index({ a: "s.safetensors", b: "t.safetensors" }));
    expect(error.message).toBe(
      'model.safetensors.index.json names the shard "t.safetensors", which is not in the folder; download all shards.',
    );
    expect(error.file).toBe("t.safetensors");
  });

  it("reports the first bad shard by name, whichever is read first", async () => {
    const slow: Source = memorySource({
      "config.json": CONFIG,
      "model.safetensors.index.json": index({ c: "c.safetensors", b: "b.safetensors", a: "a.safetensors" }),
      "a.safetensors": weights(["a"]),
      "b.safetensors": "",
      "c.safetensors": "",
    });
    const source: Source = {
      ...slow,
      size: async (path, signal) => {
        // b's size comes after c has been refused.
        if (path === "b.safetensors") for (let i = 0; i < 50; i++) await Promise.resolve();
        return slow.size(path, signal);
      },
    };
    expect(String(await rejection(openCheckpoint(source)))).toContain("b.safetensors: the file has 0 bytes");
  });

  it("names only tensors that are in their shards", async () => {
    const error = await open(index({ a: "s.safetensors", b: "s.safetensors", c: "s.safetensors" }));
    expect(error.message).toBe(
      'model.safetensors.index.json names tensors that their shards lack: "c"; download index and shards again.',
    );
    expect([error.file, error.tensor]).toEqual(["s.safetensors", "c"]);
  });

  it("names the shard that a tensor is in, not another", async () => {
    const error = await open(
      index({ a: "s.safetensors", b: "s.safetensors", c: "t.safetensors", d: "t.safetensors" }),
      {
        "s.safetensors": weights(["a"]),
        "t.safetensors": weights(["b", "d"]),
      },
    );
    expect(error.message).toContain('names tensors that their shards lack: "b", "c"; download index');
    expect([error.file, error.tensor]).toEqual(["s.safetensors", "b"]);
  });

  it("names every tensor", async () => {
    const error = await open(index({ a: "s.safetensors" }));
    expect(error.message).toBe(
      's.safetensors holds the tensor "b", which model.safetensors.index.json does not name; download index and shards again.',
    );
    expect([error.file, error.tensor]).toEqual(["s.safetensors", "b"]);
  });

  it("has each tensor in one shard", async () => {
    const error = await open(index({ a: "s.safetensors", b: "s.safetensors", c: "t.safetensors" }), {
      "s.safetensors": shard,
      "t.safetensors": weights(["b", "c"]),
    });
    expect(error.message).toBe(
      'The tensor "b" is in two shards, s.safetensors and t.safetensors; download index and shards again.',
    );
    expect([error.file, error.tensor]).toEqual(["t.safetensors", "b"]);
  });
});

describe("tied weights named by __metadata__", () => {
  const EMBED_TOKENS = "language_model.model.embed_tokens.weight";
  const LM_HEAD = "language_model.lm_head.weight";
  const tied = () => single(["lm_head.weight"], { format: "pt", "model.embed_tokens.weight": "lm_head.weight" });

  it("are there under both names, with bytes counted once", async () => {
    const checkpoint = await tied();
    expect(checkpoint.tensors.get(EMBED_TOKENS)?.aliasOf).toBe(LM_HEAD);
    expect(checkpoint.totalBytes).toBe(8);
    expect(await checkpoint.read(EMBED_TOKENS)).toEqual(await checkpoint.read(LM_HEAD));
    expect(checkpoint.metadata["model.embed_tokens.weight"]).toBe("lm_head.weight");
  });

  it("satisfy a model that expects either or both", async () => {
    const checkpoint = await tied();
    const embed = { name: EMBED_TOKENS, shape: [2] };
    const head = { name: LM_HEAD, shape: [2] };
    for (const expected of [[embed], [head], [embed, head]]) requireTensors(checkpoint, expected);
  });

  it("never hide a tensor", async () => {
    const checkpoint = await single(["lm_head.weight", "model.embed_tokens.weight"], {
      "model.embed_tokens.weight": "lm_head.weight",
      other: "no such tensor",
    });
    expect(checkpoint.tensors.get(EMBED_TOKENS)?.aliasOf).toBeUndefined();
    expect(checkpoint.tensors.size).toBe(2);
  });
});

describe("Checkpoint", () => {
  const open = () =>
    openCheckpoint(
      memorySource({
        "config.json": CONFIG,
        "model.safetensors": weights(["image_newline"]),
        "good.json": "\ufeff[1]",
        "bad.json": "[1",
        "template.jinja": "{{ ü }}",
        "binary.txt": Uint8Array.of(0xc3),
      }),
    );

  it("reads texts and JSON, undefined when there is no such file", async () => {
    const checkpoint = await open();
    expect(await checkpoint.readJson("good.json")).toEqual([1]);
    expect(await checkpoint.readText("template.jinja")).toBe("{{ ü }}");
    expect(await checkpoint.readJson("none.json")).toBeUndefined();
    expect(await checkpoint.readText("none.txt")).toBeUndefined();
  });

  it("refuses bad JSON, bad UTF-8 and other folders", async () => {
    const checkpoint = await open();
    for (const [work, message] of [
      [checkpoint.readJson("bad.json"), "bad.json is not valid JSON"],
      [checkpoint.readText("binary.txt"), "binary.txt is not valid UTF-8"],
      [checkpoint.readText("../x"), "is not a plain path"],
    ] as const) {
      const error = await rejection(work);
      expect(error).toBeInstanceOf(CheckpointError);
      expect(String(error)).toContain(message);
    }
  });

  it("refuses texts that are no texts by their size", async () => {
    const memory = memorySource({ "config.json": CONFIG, "model.safetensors": weights(["image_newline"]) });
    const source: Source = { ...memory, size: async (path) => (path === "huge.json" ? 2 ** 31 : memory.size(path)) };
    const error = await rejection((await openCheckpoint(source)).readJson("huge.json"));
    expect(String(error)).toContain("huge.json has 2147483648 bytes, expected at most 134217728");
  });

  it("refuses unknown tensors, ranges outside the tensor, and an aborted signal", async () => {
    const checkpoint = await open();
    expect(await rejection(checkpoint.read("none"))).toBeInstanceOf(CheckpointError);
    expect(() => checkpoint.tensorBytes("none")).toThrow(
      new CheckpointError('memory has no tensor "none"; check that the checkpoint is complete.', {
        file: "memory",
        tensor: "none",
      }),
    );
    for (const [start, end] of [
      [0, 9],
      [-1, 8],
      [-1, -1],
      [9, 8],
      [9, 9],
      [4, 3],
      [0.5, 8],
      [0, 4.5],
      [Number.NaN, 8],
    ] as const) {
      expect(await rejection(checkpoint.read("image_newline", { start, end }))).toEqual(
        new RangeError(`image_newline: expected a range inside its 8 bytes, got [${start}, ${end}).`),
      );
    }
    const aborted = checkpoint.read("image_newline", { signal: AbortSignal.abort() });
    expect(await rejection(aborted)).toBeInstanceOf(AbortError);
  });
});
