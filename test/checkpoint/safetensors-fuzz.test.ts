// Thousands of damaged headers: the reader accepts, or refuses with CheckpointError; nothing else ever comes out.
import { expect, it } from "vitest";
import { readSafetensorsHeader } from "../../src/checkpoint/safetensors.ts";
import { encodeSafetensors } from "../../src/checkpoint/safetensors-writer.ts";
import { CheckpointError } from "../../src/errors.ts";
import { memorySource, randomNumbers } from "./fixtures.ts";

const NUM_CASES = 4000;
/** Pieces of headers, put in at random places. */
const PIECES = [
  '"',
  "{",
  "}",
  "[",
  "]",
  ",",
  ":",
  "\\",
  "-",
  "0",
  "9007199254740993",
  "1e999",
  "null",
  '"a"',
  "\\u0061",
  "\0",
];

function validFile(): Uint8Array<ArrayBuffer> {
  return encodeSafetensors(
    [
      { name: "a", dtype: "F32", shape: [2, 3], data: new Float32Array(6) },
      { name: "b.weight", dtype: "F16", shape: [5], data: new Uint16Array(5) },
      { name: "ü", dtype: "I64", shape: [], data: new BigInt64Array(1) },
      { name: "none", dtype: "BF16", shape: [0, 7], data: new Uint16Array(0) },
    ],
    { format: "pt" },
  );
}

it(`survives ${NUM_CASES} damaged headers`, async () => {
  const random = randomNumbers(20240611);
  const pick = (count: number) => Math.floor(random() * count);
  const valid = validFile();
  const headerBytes = Number(new DataView(valid.buffer).getBigUint64(0, true));
  let numAccepted = 0;
  for (let i = 0; i < NUM_CASES; i++) {
    let file = [...valid];
    let length = headerBytes;
    for (let edits = 1 + pick(3); edits > 0; edits--) {
      const at = 8 + pick(length);
      const kind = pick(5);
      if (kind === 0) file[at] = pick(256);
      if (kind === 1) file[at] = (file[at] ?? 0) ^ (1 << pick(8));
      if (kind === 2) file[pick(8)] = pick(256);
      if (kind === 3) file = file.slice(0, pick(file.length));
      if (kind === 4) {
        const piece = [...new TextEncoder().encode(PIECES[pick(PIECES.length)] ?? "")];
        file.splice(at, pick(4), ...piece);
        // Half of the time the length field knows of the change, so that the damage is met in the text.
        if (pick(2) === 0) length = Math.max(1, length + piece.length);
        file.splice(0, 2, length & 0xff, length >> 8);
      }
    }
    const path = "model.safetensors";
    try {
      const { tensors, dataStart } = await readSafetensorsHeader(memorySource({ [path]: new Uint8Array(file) }), path);
      numAccepted += 1;
      for (const { start, end } of tensors.values()) {
        expect(start >= dataStart && start <= end && end <= file.length).toBe(true);
      }
    } catch (error) {
      if (!(error instanceof CheckpointError)) throw error;
      expect(error.message).toMatch(/^model\.safetensors: [^\n]+\.$/);
    }
  }
  expect(numAccepted).toBeGreaterThan(0);
  expect(numAccepted).toBeLessThan(NUM_CASES / 2);
});
