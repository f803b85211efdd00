// What programs without a type checker hand over by mistake: each is an InputError that says what was expected and what to
// give, and none is an answer about something else than what was meant.
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { blobSource } from "../../src/checkpoint/blob-source.ts";
import { fileSource } from "../../src/checkpoint/file-source.node.ts";
import { GpuError, InputError } from "../../src/errors.ts";
import { explain } from "../../src/explain.ts";
import { requestGpuDevice } from "../../src/gpu/device.ts";
import { openNodeAdapter } from "../../src/gpu/hosts/adapter.node.ts";
import { Llava } from "../../src/llava.ts";
import { decodeImage } from "../../src/preprocess/decode-image.node.ts";
import { adapterOfEnvironment, openTestDevice } from "../setup/device.ts";

const FOLDER = fileURLToPath(new URL("../../weights/tiny-spatial", import.meta.url));
const question = "Where is the mug?";

/** A value as untyped code would pass it. */
const wrong = (value: unknown) => value as never;

let model: Llava;
let device: GPUDevice;

beforeAll(async () => {
  device = (await openTestDevice()).device;
  model = await Llava.load(fileSource(FOLDER), { device });
});
afterAll(() => model.dispose());

/** A grey picture with `channels` bytes per pixel. */
function picture(width: number, height: number, channels = 3) {
  return { width, height, data: new Uint8Array(width * height * channels).fill(128) };
}

describe("a device", () => {
  test("of no adapter", async () => {
    const failure = await requestGpuDevice(null).catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(GpuError);
    expect(failure).toMatchObject({
      reason: "no-adapter",
      message: expect.stringMatching(/^There is no adapter: .*\.$/),
    });
  });

  test.each([
    ["of nothing", undefined, /expected a GPUAdapter, got undefined/],
    ["of an opened adapter", { adapter: {} }, /expected a GPUAdapter, got Object; .* give its adapter\.$/],
    ["of a promise", Promise.resolve(), /expected a GPUAdapter, got Promise; await/],
  ])("%s", async (_, adapter, message) => {
    await expect(requestGpuDevice(wrong(adapter))).rejects.toThrow(InputError);
    await expect(requestGpuDevice(wrong(adapter))).rejects.toThrow(message);
  });

  test("of an adapter that gave one already: one line, without Dawn's own places", async () => {
    const { adapter } = await openNodeAdapter(adapterOfEnvironment());
    const first = await requestGpuDevice(adapter);
    const failure: unknown = await requestGpuDevice(adapter).catch((error: unknown) => error);
    expect(failure).toMatchObject({
      name: "GpuError",
      message: expect.stringMatching(/^[^\n]*; an adapter gives one device only: request it again, or another one\.$/),
    });
    expect(String(failure)).not.toMatch(/\.cpp/);
    first.destroy();
  });

  test("of a choice that is none", async () => {
    await expect(openNodeAdapter(wrong("vulkan"))).rejects.toThrow(
      'Adapter must be auto, gpu, lavapipe, swiftshader, got "vulkan".',
    );
  });
});

describe("Llava.load", () => {
  test.each([
    [
      "files as source",
      [],
      {},
      /expected an id such as .*, or a source such as httpSource\(url\) .*, got an empty list\.$/,
    ],
    ["a name without a device", "org/model", {}, /expected options with a GPUDevice as device, .*got undefined\.$/],
    ["no options", fileSource(FOLDER), undefined, /GPUDevice as device, .*got undefined\.$/],
    [
      "a promise of a device",
      fileSource(FOLDER),
      { device: Promise.resolve() },
      /await requestGpuDevice.*got Promise\.$/,
    ],
  ])("%s", async (_, source, options, message) => {
    await expect(Llava.load(wrong(source), wrong(options))).rejects.toThrow(InputError);
    await expect(Llava.load(wrong(source), wrong(options))).rejects.toThrow(message);
  });

  test.each([
    ["dtype", "f64", /dtype must be "auto" or "f32" or "f16" or "bf16" or "q8" or "q4_1" or "q4", got "f64"\.$/],
    ["kvDtype", "q4", /kvDtype must be "f32" or "f16" or "q8", got "q4"\.$/],
    ["activationDtype", "f16", /activationDtype must be "f32" or "q8", got "f16"\.$/],
    [
      "activationDtype",
      "q8",
      /activationDtype q8 needs weights in q8, q4_1 or q4, got the checkpoint's dtype: set dtype/,
    ],
    ["adapterClass", "CPU", /adapterClass must be "cpu" or "gpu", got "CPU"\.$/],
    [
      "chatTemplate",
      "{{ messages }}",
      /chatTemplate must be \{ file, source \}, as one of CHAT_TEMPLATES, got "\{\{ messages \}\}"\.$/,
    ],
    ["chunkRows", 0, /chunkRows must be a whole number of at least 1, got 0\.$/],
    ["chunkRows", -4, /got -4/],
    ["chunkRows", 1.5, /got 1\.5/],
    ["chunkRows", Number.NaN, /got NaN/],
  ])("%s %s", async (name, value, message) => {
    const loading = Llava.load(fileSource(FOLDER), wrong({ device, [name]: value }));
    await expect(loading).rejects.toThrow(InputError);
    await expect(loading).rejects.toThrow(message);
  });

  test("files without a name are told of all the same", async () => {
    await expect(Llava.load(blobSource(new Map()), { device })).rejects.toThrow(
      "config.json is not in the given files",
    );
  });
});

describe("a picture", () => {
  test("with alpha, as ImageData has, is never read as RGB", () => {
    expect(() => model.prepare({ image: picture(20, 10, 4), question })).toThrow(InputError);
    expect(() => model.prepare({ image: picture(20, 10, 4), question })).toThrow(
      /got 20 × 10 pixels and 800 bytes, which is RGBA, as in ImageData: omit every fourth byte\.$/,
    );
  });

  test.each([
    ["a path", "photo.jpg", /decodeImage returns it, got a string\.$/],
    ["null", null, /got null\.$/],
    ["a file's bytes", new Uint8Array(10), /got Uint8Array\.$/],
    ["a promise", Promise.resolve(picture(2, 2)), /got Promise\.$/],
    ["no pixels", picture(0, 0), /got 0 × 0 pixels and 0 bytes\.$/],
    ["too few bytes", { ...picture(4, 4), height: 5 }, /got 4 × 5 pixels and 48 bytes\.$/],
    ["half pixels", { ...picture(4, 4), width: 4.5 }, /got 4\.5 × 4/],
  ])("%s", async (_, image, message) => {
    await expect(model.ask({ image: wrong(image), question })).rejects.toThrow(InputError);
    await expect(model.ask({ image: wrong(image), question })).rejects.toThrow(message);
  });

  test.each([
    ["an ArrayBuffer", new ArrayBuffer(8), /expected a Blob, or a Uint8Array with a file's bytes, got ArrayBuffer\./],
    ["a path", "photo.jpg", /got a string/],
    ["a Blob of no picture", new Blob([new Uint8Array(8)]), /The picture is not a picture: expected a JPEG/],
    ["a File of no picture", new File(["x"], "cat.jpg"), /cat\.jpg is not a picture: expected a JPEG/],
  ])("%s to decode", async (_, bytes, message) => {
    await expect(decodeImage(wrong(bytes))).rejects.toThrow(InputError);
    await expect(decodeImage(wrong(bytes))).rejects.toThrow(message);
  });
});

describe("a question", () => {
  const image = picture(16, 16);

  test.each([
    [{ question: 3 }, /question must be a text, got 3\.$/],
    [{ stop: "." }, /stop must be a list of texts, got "\."\.$/],
  ])("%j", async (options, message) => {
    await expect(model.ask(wrong({ image, question, ...options }))).rejects.toThrow(InputError);
    await expect(model.ask(wrong({ image, question, ...options }))).rejects.toThrow(message);
  });

  test.each([
    ["null", null, "messages[0] must be an object with role and content, got null."],
    ["a number", 3, "messages[0] must be an object with role and content, got 3."],
    ["a list of texts", ["where?"], 'messages[0] must be an object with role and content, got "where?".'],
  ])("of a session: %s", async (_, asked, message) => {
    using session = model.session();
    const answer = session.ask(wrong(asked)).answer;
    await expect(answer).rejects.toThrow(InputError);
    await expect(answer).rejects.toThrow(message);
  });

  test("in place of its inputs", async () => {
    const message = /inputs: expected what model\.prepare\(question\) returns, got Object\.$/;
    const asked = wrong({ image, question });
    for (const use of [
      () => model.answer(asked),
      () => model.trace(asked),
      () => model.sweep(asked, [1]),
      () => model.score(asked),
      () => explain(model, asked),
    ]) {
      await expect(use()).rejects.toThrow(InputError);
      await expect(use()).rejects.toThrow(message);
    }
  });

  test("factors that are not a list", async () => {
    const inputs = model.prepare({ image, question });
    await expect(model.sweep(inputs, wrong(2))).rejects.toThrow("factors must be a list of numbers, got 2.");
  });
});
