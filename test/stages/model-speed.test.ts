// What `plan --measure` runs: a model with some of its layers, loaded from their tensors alone, and the times that are made of it.
import { describe, expect, test } from "vitest";
import { type MeasuredModel, measureModelSpeed, slicedArchitecture } from "../../src/bench/model-speed.ts";
import { type Checkpoint, openCheckpoint } from "../../src/checkpoint/checkpoint.ts";
import { fileSource } from "../../src/checkpoint/file-source.node.ts";
import { planMemory } from "../../src/memory-plan.ts";
import { architectureOf } from "../../src/models/checkpoint-architecture.ts";
import { readArchitecture } from "../../src/models/registry.ts";
import { tinySpatial } from "../cli/command.ts";
import { openTestDevice } from "../setup/device.ts";
import { GOLDEN } from "../setup/golden.ts";

/** Measures a model, and notes which of its tensors are read. */
async function measure(folder: string, options: Pick<MeasuredModel, "isRead" | "sliceBytes">) {
  const { device, isSoftware } = await openTestDevice();
  const opened = await openCheckpoint(fileSource(folder));
  try {
    const architecture = await architectureOf(opened);
    const { limits, features, adapterInfo } = device;
    const question = { maxNewTokens: 2, dtype: undefined };
    const plan = await planMemory(opened, architecture, {
      ...question,
      device: { limits, features, adapterInfo, isSoftware },
    });
    const read = new Set<string>();
    const checkpoint: Checkpoint = Object.assign(Object.create(opened), {
      ...opened,
      read: (...args: Parameters<Checkpoint["read"]>) => {
        read.add(args[0]);
        return opened.read(...args);
      },
    });
    const { signal } = new AbortController();
    const model = { checkpoint, architecture, options: question, plan, isSoftware, signal, ...options };
    return { speed: await measureModelSpeed(device, model), read, plan };
  } finally {
    await opened.close();
  }
}

test("layers beyond the slice are neither read nor loaded, and their time is added", async () => {
  const { speed, read, plan } = await measure(tinySpatial, { isRead: true, sliceBytes: 1 });
  expect(speed).toMatchObject({ decoderLayers: { measured: 2, all: 4 }, visionLayers: { measured: 2, all: 3 } });
  const layersOf = (name: RegExp) =>
    new Set([...read].flatMap((tensor) => (name.test(tensor) ? [/\.layers\.(\d+)\./.exec(tensor)?.[1]] : [])));
  expect(layersOf(/language_model.*\.layers\./)).toEqual(new Set(["0", "1"]));
  expect(layersOf(/vision_tower.*\.layers\./)).toEqual(new Set(["0", "1"]));
  const { loadMs, pictureMs, promptMs, promptRate, tokenMs, tokenRate } = speed;
  for (const ms of [loadMs, pictureMs, promptMs, tokenMs]) expect(ms).toBeGreaterThan(0);
  expect(promptRate).toBeCloseTo((1000 * plan.promptLength) / promptMs, 9);
  expect(tokenRate).toBeCloseTo(1000 / tokenMs, 9);
});

test("of a model that is not on this machine nothing is read", async () => {
  const { speed, read } = await measure(`${GOLDEN}/llava-next`, { isRead: false });
  expect(read.size).toBe(0);
  expect(speed.isRead).toBe(false);
  expect(speed.decoderLayers.measured).toBe(speed.decoderLayers.all);
  expect(speed.tokenMs).toBeGreaterThan(0);
});

describe("slicedArchitecture", () => {
  const text = {
    num_hidden_layers: 6,
    num_attention_heads: 2,
    num_key_value_heads: 2,
    hidden_size: 16,
    vocab_size: 40,
  };
  const sliceOf = (config: Readonly<Record<string, unknown>>, tieWordEmbeddings: boolean) => {
    const whole = readArchitecture(config);
    const found = { ...whole, config: { ...whole.config, text: { ...whole.config.text, tieWordEmbeddings } } };
    return slicedArchitecture({ config } as unknown as Checkpoint, found, { decoder: 3, vision: 2 }).config; // reads no more of it
  };

  test("keeps the layers' kinds and what was found about the embeddings", () => {
    const types = ["full_attention", "sliding_attention", "full_attention"];
    const sliding = { use_sliding_window: true, sliding_window: 8, layer_types: [...types, ...types] };
    const config = { model_type: "qwen2", ...text, ...sliding, max_position_embeddings: 64, tie_word_embeddings: true };
    const sliced = sliceOf(config, false);
    expect(sliced.text).toMatchObject({ numHiddenLayers: 3, tieWordEmbeddings: false });
    expect(sliced.text.slidingWindows).toEqual([undefined, 8, undefined]);
  });

  test("runs as many vision layers as it is given, whichever layer the features are from", () => {
    const vision_config = {
      num_hidden_layers: 5,
      hidden_size: 16,
      num_attention_heads: 2,
      image_size: 28,
      patch_size: 14,
    };
    for (const layer of [-2, -1, 3]) {
      const config = { model_type: "llava", text_config: text, vision_config, vision_feature_layer: layer };
      expect(sliceOf(config, false).multimodal).toMatchObject({ numVisionLayers: 2, vision: { numHiddenLayers: 2 } });
    }
  });
});
