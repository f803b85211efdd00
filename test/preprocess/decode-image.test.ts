import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import sharp from "sharp";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { InputError } from "../../src/errors.ts";
import { decodeImage, readImageFile } from "../../src/preprocess/decode-image.node.ts";
import { applyOrientation, findOrientation, markUpright } from "../../src/preprocess/exif-orientation.ts";
import { readImageHeader } from "../../src/preprocess/image-header.ts";
import { imagePixelValues } from "../../src/preprocess/image-processor.ts";
import { readImageProcessorConfig } from "../../src/preprocess/image-processors.ts";
import { decodedCases, JPEG_AND_WEBP_BOUND, refusedCases } from "./decode-golden.ts";
import { differences, goldenPath } from "./golden.ts";

const { cases, title } = decodedCases();

describe(`decodeImage equals ${title}`, () => {
  // Files that PIL opens and we refuse; everything else it opens must come out as its bytes.
  const refused = ["16-bit-grey.png", "some.bmp", "some.gif"];

  test.each(cases.filter(({ file }) => !refused.includes(file)))("$file ($mode)", async ({ file, size, pixels }) => {
    const image = await readImageFile(goldenPath(`files/${file}`));
    expect([image.width, image.height, image.data.length]).toEqual([...size, pixels.length]);
    const { max, mean } = differences(image.data, pixels);
    const isLossy = !file.endsWith(".png") && !file.includes("lossless");
    expect(max).toBeLessThanOrEqual(isLossy ? JPEG_AND_WEBP_BOUND.max : 0);
    expect(mean).toBeLessThanOrEqual(isLossy ? JPEG_AND_WEBP_BOUND.mean : 0);
  });

  test.each(cases.filter(({ file }) => file.startsWith("exif-")))(
    "$file as it is stored",
    async ({ file, storedSize }) => {
      const image = await readImageFile(goldenPath(`files/${file}`), { applyExif: false });
      expect([image.width, image.height]).toEqual(storedSize);
    },
  );
});

describe("refuses in one sentence that names the file", () => {
  test.each<[string, RegExp]>([
    ["empty.png", /is empty \(0 bytes\): expected a JPEG, PNG or WebP picture/],
    ["text.jpg", /is not a picture/],
    ["drawing.svg", /is a SVG file/],
    ["some.gif", /is a GIF file/],
    ["some.bmp", /is a BMP file/],
    ["12-bit.jpg", /is a JPEG of 12 bits per sample/],
    ["16-bit-grey.png", /is a 16-bit grey PNG/],
    ["truncated.jpg", /damaged or truncated JPEG/],
    ["without-end.jpg", /damaged or truncated JPEG/],
    ["header-only.jpg", /is truncated/],
    ["truncated.png", /damaged or truncated PNG/],
    ["header-only.png", /damaged or truncated PNG/],
    ["broken.png", /damaged or truncated PNG/],
    ["truncated.webp", /damaged or truncated WEBP/],
    ["header-only.webp", /is truncated/],
  ])("%s", async (file, message) => {
    const path = goldenPath(`files/${file}`);
    const failure = await readImageFile(path).catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(InputError);
    const text = failure instanceof Error ? failure.message : "";
    expect(text).toMatch(message);
    expect(text.startsWith(path)).toBe(true);
    expect(text).toMatch(/^[^\n]*\.$/);
  });

  test("everything that PIL refuses", async () => {
    for (const { file } of refusedCases()) {
      await expect(readImageFile(goldenPath(`files/${file}`)), file).rejects.toThrow(InputError);
    }
  });

  test("every way of cutting a file short", async () => {
    for (const file of ["q75-s2.jpg", "progressive.jpg", "rgb.png", "q80.webp", "lossless.webp"]) {
      const bytes = await readFile(goldenPath(`files/${file}`));
      for (let part = 1; part < 20; part++) {
        const cut = bytes.subarray(0, Math.floor((bytes.length * part) / 20));
        await expect(decodeImage(cut, { name: file }), `${file} ${part}/20`).rejects.toThrow(InputError);
      }
    }
  });

  test("files that cannot be read", async () => {
    await expect(readImageFile("/no/such/picture.png")).rejects.toThrow(
      /picture \/no\/such\/picture\.png .*no such file/,
    );
    await expect(readImageFile(tmpdir())).rejects.toThrow(/it is a folder/);
  });

  test("a picture over the pixel limit, before it is decoded", async () => {
    const path = goldenPath("files/rgb.png");
    await expect(readImageFile(path, { maxPixels: 48 * 35 - 1 })).rejects.toThrow(/48×35 = 1680 pixels.*limit of 1679/);
    expect((await readImageFile(path, { maxPixels: 48 * 35 })).width).toBe(48);
    // A PNG that only claims to be large: its header is enough.
    const bytes = new Uint8Array(await readFile(path));
    new DataView(bytes.buffer).setUint32(16, 60_000);
    new DataView(bytes.buffer).setUint32(20, 60_000);
    await expect(decodeImage(bytes)).rejects.toThrow(
      /The picture has 60000×60000 = 3600000000 pixels.*limit of 100000000/,
    );
  });
});

describe("extreme shapes through CLIP's preprocessing", () => {
  let folder = "";
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "adaptvis-decode-"));
  });
  afterAll(() => rm(folder, { recursive: true }));

  test.each([
    [20_000, 10],
    [10, 10_000],
    [1, 1],
  ])("%i×%i", async (width, height) => {
    const path = join(folder, `${width}x${height}.jpg`);
    await sharp({ create: { width, height, channels: 3, background: "#406080" } })
      .jpeg()
      .toFile(path);
    const image = await readImageFile(path);
    expect([image.width, image.height]).toEqual([width, height]);
    const pixelValues = imagePixelValues(image, readImageProcessorConfig({ size: 336, crop_size: 336 }));
    expect(pixelValues).toHaveLength(3 * 336 * 336);
    expect(pixelValues.every(Number.isFinite)).toBe(true);
  });
});

describe("our own EXIF orientation, for hosts without one", () => {
  const files = cases.filter(({ file }) => file.startsWith("exif-"));

  test.each(files)("$file", async ({ file, pixels }) => {
    const bytes = await readFile(goldenPath(`files/${file}`));
    const { format } = readImageHeader(bytes, file);
    const entry = findOrientation(bytes, format);
    if (entry === undefined) throw new Error("expected an orientation");
    expect(entry.orientation).toBe(Number(/\d/.exec(file)?.[0]));
    expect(findOrientation(markUpright(bytes, entry), format)?.orientation).toBe(1);
    const stored = await decodeImage(bytes, { applyExif: false });
    const { max } = differences(applyOrientation(stored, entry.orientation).data, pixels);
    expect(max).toBeLessThanOrEqual(file.endsWith(".jpg") ? JPEG_AND_WEBP_BOUND.max : 0);
  });

  test("a file without orientation, and a damaged entry", async () => {
    const plain = await readFile(goldenPath("files/q75-s2.jpg"));
    expect(findOrientation(plain, "jpeg")).toBeUndefined();
    const damaged = new Uint8Array(await readFile(goldenPath("files/exif-6.jpg")));
    const exif = Buffer.from(damaged).indexOf("Exif\0\0") + 6;
    damaged.fill(0x7f, exif + 4, exif + 8); // the directory's place
    expect(findOrientation(damaged, "jpeg")).toBeUndefined();
  });
});
