// Prompts and pictures to inputs, on the embedded checkpoint's files; no GPU.
import { afterAll, beforeEach, describe, expect, test } from "vitest";
import { type Checkpoint, openCheckpoint } from "../../src/checkpoint/checkpoint.ts";
import { fileSource } from "../../src/checkpoint/file-source.node.ts";
import { CheckpointError, InputError } from "../../src/errors.ts";
import type { PictureLayout } from "../../src/models/architecture.ts";
import { imageRuns } from "../../src/models/inputs.ts";
import { expandText } from "../../src/models/placed-pictures.ts";
import { loadProcessor, Processor } from "../../src/models/processor.ts";
import { readArchitecture } from "../../src/models/registry.ts";
import type { RgbImage } from "../../src/preprocess/image.ts";
import { memorySource, rejection, weights } from "../checkpoint/fixtures.ts";
import { tinySpatial } from "../cli/command.ts";
import { GOLDEN } from "../setup/golden.ts";

async function open(folder: string): Promise<{ checkpoint: Checkpoint; processor: Processor }> {
  const checkpoint = await openCheckpoint(fileSource(folder));
  return { checkpoint, processor: await loadProcessor(checkpoint, readArchitecture(checkpoint.config)) };
}

let processor: Processor;
let checkpoint: Checkpoint;
let opened: ReturnType<typeof open> | undefined;
beforeEach(async () => {
  opened ??= open(tinySpatial); // once, but awaited in each test, so that each fails if it does
  ({ checkpoint, processor } = await opened);
});
afterAll(() => checkpoint.close());

const picture = (value: number): RgbImage => ({ width: 8, height: 8, data: new Uint8Array(192).fill(value) });

describe("several pictures", () => {
  test("take the image tokens in their order", () => {
    const inputs = processor.inputs("<image> and <image>?", [picture(10), picture(200)]);
    const [first, second] = inputs.images;
    const length = first?.rowIndex.length ?? 0;
    expect(imageRuns(inputs).map(([start, end]) => end - start)).toEqual([length, length]);
    expect(first?.pixelValues).not.toEqual(second?.pixelValues);
    const alone = processor.inputs("<image>?", [picture(200)]);
    expect(second?.pixelValues).toEqual(alone.images[0]?.pixelValues);
  });

  test.each([
    ["<image>?", 2, /1 image token .* for 2 pictures/],
    ["<image><image>?", 1, /2 image tokens .* for one picture/],
    ["what?", 2, /no image token .* for 2 pictures/],
    ["<image>", 0, /there is no picture/],
  ])("%j for %d pictures is refused", (prompt, numPictures, message) => {
    const images = Array.from({ length: numPictures }, () => picture(9));
    expect(() => processor.inputs(prompt, images)).toThrow(InputError);
    expect(() => processor.inputs(prompt, images)).toThrow(message);
  });
});

test("a conversation gives its prompt and its pictures", () => {
  const [a, b] = [picture(1), picture(2)];
  const { prompt, images } = processor.conversation([
    {
      role: "user",
      content: [
        { type: "image", image: a },
        { type: "text", text: "where is the cup?" },
      ],
    },
    { role: "assistant", content: "left" },
    {
      role: "user",
      content: [
        { type: "image", image: b },
        { type: "text", text: "and here?" },
      ],
    },
  ]);
  expect(images).toEqual([a, b]);
  expect(prompt.split("<image>")).toHaveLength(3);
  expect(processor.inputs(prompt, images).images).toHaveLength(2);
});

test("of LLaVA-NeXT's pictures each has its own size", async () => {
  const next = await open(`${GOLDEN}/llava-next`);
  const { multimodal } = readArchitecture(next.checkpoint.config).config;
  if (multimodal === undefined) throw new Error("expected a vision tower");
  const { imageSize, numChannels } = multimodal.vision;
  const inputIds = [1, multimodal.imageTokenId, 5, multimodal.imageTokenId];
  const imageSizes = [
    [30, 60],
    [60, 30],
  ] as const;
  const tiles = (count: number) => new Float32Array(count * numChannels * imageSize ** 2);
  const needed = /pixel_values must hold (\d+) ×/.exec(
    String(failure(() => next.processor.fromTensors({ inputIds, pixelValues: tiles(1), imageSizes }))),
  )?.[1];
  const inputs = next.processor.fromTensors({ inputIds, pixelValues: tiles(Number(needed)), imageSizes });
  expect(inputs.images.map(({ grid }) => grid)).toEqual([undefined, undefined]);
  const [first, second] = inputs.images;
  expect(first?.rowIndex).not.toEqual(second?.rowIndex);
  expect(inputs.inputIds).toHaveLength(2 + (first?.rowIndex.length ?? 0) + (second?.rowIndex.length ?? 0));
  expect(() => next.processor.fromTensors({ inputIds, pixelValues: tiles(1) })).toThrow("image_sizes is missing");
  await next.checkpoint.close();
});

test("a family's own text takes the place of its pictures' tokens", () => {
  const options = { imageToken: "<image>", texts: ["(<image><image>)", undefined] };
  expect(expandText("a <image> b <image> c", options)).toBe("a (<image><image>) b <image> c");
  expect(expandText("a <image> b", { imageToken: "<image>", texts: [undefined] })).toBe("a <image> b");
});

/** A picture of 2 × 2 patches; the vocabulary is that of the embedded checkpoint. */
const TINY = {
  model_type: "llava",
  image_token_index: 3,
  text_config: { vocab_size: 448, hidden_size: 8, num_attention_heads: 2, max_position_embeddings: 16 },
  vision_config: { hidden_size: 12, num_attention_heads: 2, image_size: 8, patch_size: 4 },
};
const TEXT_ONLY = { model_type: "llama", ...TINY.text_config };
const SIZES = { size: 8, crop_size: 8 };
const NO_TOWER = new CheckpointError(
  "config.json: model_type llama has no vision tower, so no picture can be given; use a vision-language checkpoint, such as LLaVA.",
  { file: "config.json" },
);

/** The processor of a checkpoint with these files. */
async function processorOf(config: object, files: Readonly<Record<string, unknown>> = {}): Promise<Processor> {
  const texts = Object.entries(files).map(([name, content]) => [
    name,
    typeof content === "string" ? content : JSON.stringify(content),
  ]);
  const source = memorySource({
    ...Object.fromEntries(texts),
    "config.json": JSON.stringify(config),
    "model.safetensors": weights([]),
  });
  const opened = await openCheckpoint(source);
  return loadProcessor(opened, readArchitecture(opened.config));
}

const missing = (file: string, consequence: string) =>
  new CheckpointError(`The checkpoint has no ${file}, so ${consequence}.`, { file });

test("files that a checkpoint lacks are missed when they are needed, and not before", async () => {
  const bare = await processorOf(TINY);
  expect(bare.imageProcessor).toBeUndefined();
  expect(bare.eosTokenIds).toEqual([]);
  expect(bare.textOf([5, 6])).toBe("");
  const stream = bare.textStream();
  expect([stream.push(5), stream.flush()]).toEqual(["", ""]);
  expect(bare.fromTensors({ inputIds: [5, 6], pixelValues: undefined }).inputIds).toEqual(Int32Array.of(5, 6));

  const noTokenizer = missing("tokenizer.json", "text cannot be encoded");
  expect(() => bare.tokenizer).toThrow(noTokenizer);
  expect(() => bare.inputs("what?", [])).toThrow(noTokenizer);
  expect(() => bare.firstTokenOf("left")).toThrow(noTokenizer);
  const noTemplate = missing(
    "chat_template.jinja",
    "a question cannot be put into words for this model; give a whole prompt or a chat template",
  );
  expect(() => bare.chatPrompt("what?", { hasImage: false })).toThrow(noTemplate);
  expect(() => bare.conversation([{ role: "user", content: "what?" }])).toThrow(noTemplate);
  const blind = new Processor(readArchitecture(TINY), {
    eosTokenIds: [],
    imageProcessor: undefined,
    tokenizer: processor.tokenizer,
    template: undefined,
  });
  expect(() => blind.inputs("<image>", [picture(1)])).toThrow(
    missing("preprocessor_config.json", "pictures cannot be prepared"),
  );
});

describe("ids that end an answer", () => {
  test.each<[generation: unknown, config: object, ids: readonly number[]]>([
    [{ eos_token_id: 2 }, { ...TINY, eos_token_id: 1 }, [2]],
    [{ eos_token_id: [0, 2] }, { ...TINY, eos_token_id: 1 }, [0, 2]],
    [{ eos_token_id: null }, { ...TINY, eos_token_id: 1 }, [1]],
    [undefined, { ...TINY, eos_token_id: [1, 4] }, [1, 4]],
    [null, { ...TEXT_ONLY, eos_token_id: 1 }, [1]],
    [7, { ...TINY, text_config: { ...TINY.text_config, eos_token_id: 9 } }, [9]],
    [{}, { ...TINY, eos_token_id: 1, text_config: { ...TINY.text_config, eos_token_id: 9 } }, [1]],
    [{}, { ...TINY, text_config: null }, []],
  ])("generation_config.json %j", async (generation, config, ids) => {
    const files = generation === undefined ? {} : { "generation_config.json": generation };
    expect((await processorOf(config, files)).eosTokenIds).toEqual(ids);
  });

  test.each([
    [{ eos_token_id: "</s>" }, {}, "generation_config.json", '"</s>"'],
    [{ eos_token_id: [1, 2.5] }, { eos_token_id: 1 }, "generation_config.json", "[1,2.5]"],
    [{}, { eos_token_id: [1, "</s>"] }, "config.json", '[1,"</s>"]'],
  ])("%j and %j are refused", async (generation, config, file, got) => {
    const work = processorOf({ ...TINY, ...config }, { "generation_config.json": generation });
    const message = `${file}: eos_token_id must be a token id or a list of them, got ${got}.`;
    await expect(work).rejects.toThrow(new CheckpointError(message, { file }));
  });
});

describe("the preparation of pictures", () => {
  test("is nested in processor_config.json, else in preprocessor_config.json", async () => {
    const nested = await processorOf(TINY, {
      "preprocessor_config.json": "{ not read",
      "processor_config.json": { image_processor: { ...SIZES, resample: 2 } },
    });
    expect(nested.imageProcessor).toMatchObject({ imageSize: 8, filter: "bilinear" });
    for (const outer of [{}, { processor_config: {} }]) {
      const own = await processorOf(TINY, {
        "preprocessor_config.json": { ...SIZES, resample: 2 },
        "processor_config.json": outer,
      });
      expect(own.imageProcessor).toEqual(nested.imageProcessor);
    }
  });

  test.each([[{ patch_size: 4 }], [null], [3], ["3"]])("is not in a processor_config.json of %j", async (content) => {
    const { imageProcessor } = await processorOf(TINY, { "processor_config.json": content });
    expect(imageProcessor).toBeUndefined();
  });

  test("is not read for a model that takes none", async () => {
    const { imageProcessor } = await processorOf(TEXT_ONLY, { "preprocessor_config.json": "{ not read" });
    expect(imageProcessor).toBeUndefined();
  });

  test.each([
    [
      { "preprocessor_config.json": { ...SIZES, crop_size: 16 } },
      "preprocessor_config.json: pictures come out 16 pixels wide, but the vision tower of config.json takes 8.",
    ],
    [
      { "processor_config.json": { image_processor: { ...SIZES, crop_size: 4 } } },
      "processor_config.json: pictures come out 4 pixels wide, but the vision tower of config.json takes 8.",
    ],
    [
      { "preprocessor_config.json": { ...SIZES, resample: 9 } },
      "preprocessor_config.json: resample must be a PIL filter from 0 to 5, got 9.",
    ],
    [
      { "processor_config.json": { image_processor: { ...SIZES, resample: 9 } } },
      "processor_config.json: resample must be a PIL filter from 0 to 5, got 9.",
    ],
    [
      { "preprocessor_config.json": null, "processor_config.json": {} },
      "preprocessor_config.json: expected the file to hold a JSON object, got null.",
    ],
  ])("%j is refused", async (files, message) => {
    const error = await rejection(processorOf(TINY, files));
    expect(error).toBeInstanceOf(CheckpointError);
    expect(error).toMatchObject({ message, file: message.split(":")[0] });
  });
});

test("tokenizer_config.json may be missing or null, and says which token begins a prompt", async () => {
  const [tokenizer, config] = await Promise.all(
    ["tokenizer.json", "tokenizer_config.json"].map((file) => checkpoint.readText(file)),
  );
  const files = { "tokenizer.json": tokenizer };
  expect((await processorOf(TINY, files)).tokenizer.bosToken).toBeUndefined();
  const withNull = await processorOf(TINY, { ...files, "tokenizer_config.json": null });
  expect(withNull.tokenizer.bosToken).toBeUndefined();
  const complete = await processorOf(TINY, { ...files, "tokenizer_config.json": config });
  expect(complete.tokenizer.bosToken).toBe("<s>");
});

test("the chat template may be in tokenizer_config.json", async () => {
  const chat_template =
    "{% for m in messages %}{% for p in m.content %}{{ p.text or '<image>' }}{% endfor %}{% endfor %}";
  const withTemplate = await processorOf(TINY, { "tokenizer_config.json": { chat_template } });
  expect(withTemplate.chatPrompt("what?", { hasImage: true })).toBe("<image>what?");
});

test("a question's prompt is that of a conversation of one message; what was said before, and how it ends, are the caller's", () => {
  const text = "where is the cup?";
  const prompt = processor.chatPrompt(text, { hasImage: false });
  const message = { role: "user", content: text } as const;
  expect(processor.conversation([message])).toEqual({ prompt, images: [], videos: [] });
  const { prompt: open } = processor.conversation([message], { addGenerationPrompt: false });
  expect(prompt.startsWith(open)).toBe(true);
  expect(prompt.length).toBeGreaterThan(open.length);
});

test("text in and out", () => {
  const { tokenizer } = processor;
  const ids = tokenizer.encode("left of the cup", { addSpecialTokens: false });
  expect(processor.firstTokenOf("left of the cup")).toBe(ids[0]);
  expect(() => processor.firstTokenOf("")).toThrow(new InputError("An option of confidence is empty: give words."));
  expect(processor.textOf([0, ...ids, 1])).toBe("left of the cup");
  const stream = processor.textStream();
  expect(ids.map((id) => stream.push(id)).join("") + stream.flush()).toBe("left of the cup");
});

describe("inputs of a prompt", () => {
  const tiny = (pictures: Partial<PictureLayout> = {}, json: object = TINY) => {
    const { config, pictures: own } = readArchitecture(json);
    const { imageProcessor, tokenizer } = processor;
    return new Processor(
      { config, pictures: own && { ...own, ...pictures } },
      { eosTokenIds: [], imageProcessor, tokenizer, template: undefined },
    );
  };

  test.each([[""], [" \n"]])("%j is not a prompt", (prompt) => {
    const error = new InputError("The prompt is empty: give at least one word.");
    expect(() => processor.inputs(prompt, [])).toThrow(error);
    expect(() => processor.inputs(prompt, [picture(1)])).toThrow(error);
  });

  test("text alone is encoded, for a model without pictures too", () => {
    const inputIds = Int32Array.from(processor.tokenizer.encodePrompt("left?"));
    expect(tiny().inputs("left?", [])).toEqual({ inputIds, images: [] });
    expect(tiny({}, TEXT_ONLY).inputs("left?", [])).toEqual({ inputIds, images: [] });
    expect(() => tiny({}, TEXT_ONLY).inputs("<image>", [picture(1)])).toThrow(NO_TOWER);
  });

  test("what is not a picture is refused", () => {
    const imageData = { width: 8, height: 8, data: new Uint8Array(256) };
    expect(() => processor.inputs("<image><image>", [picture(1), imageData])).toThrow(
      new InputError(
        "images[1]: expected { width, height, data } with 3 bytes per pixel, as decodeImage returns it, got 8 × 8 pixels and 256 bytes, which is RGBA, as in ImageData: omit every fourth byte.",
      ),
    );
  });

  test("a family may write text around its picture's runs, by the picture's size", () => {
    const rowIndex = Int32Array.of(0, 1, 2);
    const sizes: unknown[] = [];
    const pixelValues = Float32Array.of(1, 2);
    const own = tiny({
      pixelValues: (_, { processor }) => pixelValues.map((value) => value * processor.imageSize),
      positions(imageSize) {
        sizes.push(imageSize);
        const text = sizes.length === 1 ? "(<image><image>|<image>)" : undefined;
        return {
          numTiles: 1,
          runLengths: [2, 1].slice(0, text ? 2 : 1),
          rowIndex,
          grid: undefined,
          ...(text && { text }),
        };
      },
    });
    const wide = { width: 2, height: 1, data: new Uint8Array(6) };
    const { inputIds, images } = own.inputs("<image>?", [wide]);
    expect(sizes).toEqual([[1, 2]]);
    const ids = processor.tokenizer.encodePrompt("(<image><image>|<image>)?");
    expect([...inputIds]).toEqual(ids);
    const first = ids.indexOf(3);
    const runs = [
      [first, first + 2],
      [ids.lastIndexOf(3), ids.lastIndexOf(3) + 1],
    ];
    expect(images).toMatchObject([{ pixelValues: Float32Array.of(112, 224), runs, rowIndex, grid: undefined }]);
  });
});

describe("tensors of another processor", () => {
  const two = Float32Array.from({ length: 2 * 192 }, (_, index) => index);
  const one = two.subarray(0, 192);
  let tiny: Processor;
  beforeEach(async () => {
    tiny = await processorOf(TINY);
  });

  test("without sizes there are as many pictures as the values are long for", () => {
    const layout = { rowIndex: Int32Array.of(0, 1, 2, 3), grid: { width: 2, height: 2 } };
    expect(tiny.fromTensors({ inputIds: [5, 3], pixelValues: one })).toEqual({
      inputIds: Int32Array.of(5, 3, 3, 3, 3),
      images: [{ pixelValues: one, runs: [[1, 5]], ...layout }],
    });
    const pictures = [
      { pixelValues: one, runs: [[0, 4]], ...layout },
      { pixelValues: two.subarray(192), runs: [[5, 9]], ...layout },
    ];
    const pair = { inputIds: [3, 5, 3], pixelValues: two };
    expect(tiny.fromTensors(pair).images).toEqual(pictures);
    const imageSizes = [
      [9, 9],
      [7, 8],
    ] as const;
    expect(tiny.fromTensors({ ...pair, imageSizes }).images).toEqual(pictures);
  });

  test.each([
    [new Float32Array(), undefined, 1, 0],
    [two.subarray(0, 191), undefined, 1, 191],
    [two.subarray(0, 193), undefined, 2, 193],
    [
      one,
      [
        [8, 8],
        [8, 8],
      ],
      2,
      192,
    ],
    [two, [[8, 8]], 1, 384],
    [one, [], 0, 192],
  ] as const)("a wrong number of values is refused (case %#)", (pixelValues, imageSizes, numTiles, got) => {
    expect(() => tiny.fromTensors({ inputIds: [3], pixelValues, imageSizes })).toThrow(
      new InputError(
        `pixel_values must hold ${numTiles} × [3, 8, 8] numbers, got ${got}: prepare the picture with this checkpoint's processor.`,
      ),
    );
  });

  test("ids are bounded by the vocabulary and the context", () => {
    const ids = (...inputIds: readonly number[]) => tiny.fromTensors({ inputIds, pixelValues: undefined });
    expect(ids(0, 447).inputIds).toHaveLength(2);
    expect(() => ids(0, 448)).toThrow("The prompt's token 1 is 448: expected an integer from 0 to 447.");
    expect(ids(...new Uint8Array(16)).inputIds).toHaveLength(16);
    expect(() => ids(...new Uint8Array(17))).toThrow(
      "The prompt has 17 tokens, but the model's context has 16: shorten the text.",
    );
  });

  test("a model without pictures takes none", async () => {
    const text = await processorOf(TEXT_ONLY);
    expect(text.fromTensors({ inputIds: [3, 4], pixelValues: undefined }).images).toEqual([]);
    expect(() => text.fromTensors({ inputIds: [3], pixelValues: one })).toThrow(NO_TOWER);
  });
});

function failure(work: () => unknown): unknown {
  try {
    work();
  } catch (error) {
    return error;
  }
  throw new Error("expected a failure");
}
