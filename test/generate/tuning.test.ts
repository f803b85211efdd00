// Start-up tuning: tables that are measured, read and refused, and answers that do not depend on them.
import { expect, test } from "vitest";
import { InputError } from "../../src/errors.ts";
import { Gpu } from "../../src/gpu/device.ts";
import { measureTuning } from "../../src/gpu/ops/measure-tuning.ts";
import { checkTuningTable, parseTuningTable, TUNABLE_NAMES, usableCandidates } from "../../src/gpu/ops/tuning.ts";
import { isSameChoice } from "../../src/gpu/tunables.ts";
import { openTestDevice } from "../setup/device.ts";
import { goldenInputs, readTensorFile } from "../setup/golden.ts";
import { loadGoldenModel } from "../setup/golden-model.ts";

const SMALL = { inner: 64, columns: 32, vectorColumns: 36, rows: 40, rounds: 1 };

async function measured() {
  const { device } = await openTestDevice();
  const gpu = new Gpu(device, { isSoftware: false });
  const before = gpu.allocatedBytes;
  const table = await measureTuning(gpu, SMALL);
  expect(gpu.allocatedBytes).toBe(before);
  gpu.dispose();
  return { device, table };
}

test("a measured table chooses a candidate for every name, survives JSON, and answers with the same ids", async () => {
  const { device, table } = await measured();
  expect(Object.keys(table.choices).sort()).toEqual([...TUNABLE_NAMES].sort());
  for (const name of TUNABLE_NAMES) {
    const choice = table.choices[name] ?? {};
    expect(usableCandidates(name, device).some((candidate) => isSameChoice(candidate, choice))).toBe(true);
  }
  const read = parseTuningTable(JSON.parse(JSON.stringify(table)));
  expect(read).toEqual(table);
  const idsWith = async (tuning: typeof table | undefined) => {
    const model = await loadGoldenModel("tiny-llava", { adapterClass: "gpu", tuning });
    const inputs = goldenInputs(model, await readTensorFile("tiny-llava/expected.safetensors"));
    const { tokens } = await model.answer(inputs, { maxNewTokens: 6, ignoreEos: true });
    model.dispose();
    return tokens.map(({ tokenId }) => tokenId);
  };
  expect(await idsWith(read)).toEqual(await idsWith(undefined));
});

test("on a CPU adapter there is nothing to choose", async () => {
  const { device } = await openTestDevice();
  const gpu = new Gpu(device, { isSoftware: true });
  expect((await measureTuning(gpu, SMALL)).choices).toEqual({});
  gpu.dispose();
});

test.each([
  ["no object", [], "expected an object"],
  ["another format", { format: 2, key: "", choices: {} }, "expected format 1, got 2"],
  ["no key", { format: 1, choices: {} }, "expected a key of text"],
  ["an unknown name", { format: 1, key: "", choices: { conv: {} } }, 'nothing named "conv" can be chosen'],
  ["no candidate", { format: 1, key: "", choices: { "matvec q4": { THREADS: 7 } } }, "matvec q4: expected ("],
])("a table with %s is refused", (_, json, message) => {
  expect(() => parseTuningTable(json)).toThrow(InputError);
  expect(() => parseTuningTable(json)).toThrow(message);
});

test("a table of another adapter is refused, by itself and when a model is loaded with it", async () => {
  const { device } = await openTestDevice();
  const foreign = { format: 1, key: "another GPU", choices: {} } as const;
  expect(() => checkTuningTable(foreign, device)).toThrow('The tuning table is for "another GPU", this is');
  await expect(loadGoldenModel("tiny-llava", { tuning: foreign })).rejects.toThrow(InputError);
});
