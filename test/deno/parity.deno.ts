// Deno's program: every golden on the built bundle. Deno.args: the bundle's URL, the folder of the goldens.
// Prints one JSON object: the adapter, and a list of checks a golden.
import { readFileSync } from "node:fs";
import type * as adaptvis from "../../src/index.deno.ts";
import {
  AUTHORS_CHECKPOINTS,
  AUTHORS_FACTORS,
  type FlipCase,
  factorChecks,
  flipChecks,
  PADDED_FACTORS,
  paddedChecks,
  plainChecks,
} from "../setup/authors-parity.ts";
import { goldenInputs, readTensorFile, type TensorFile } from "../setup/golden.ts";
import { type ParityCheck, same } from "../setup/parity-check.ts";
import { TRANSFORMERS_CASES, transformersChecks } from "../setup/transformers-parity.ts";

/** What this program prints. */
export interface ParityReport {
  readonly adapter: string;
  /** An error is a text in place of the checks. */
  readonly results: Readonly<Record<string, readonly ParityCheck[] | string>>;
}

declare const Deno: { readonly args: readonly [bundle: string, folder: string, part: string] };

/** Which checkpoints are compared: all, every third, or the others. */
const [bundle, folder, part] = Deno.args;
const isChosen = (_: unknown, index: number) => part === "all" || (part === "thirds") === (index % 3 === 0);
const host = (await import(bundle)) as typeof adaptvis; // the bundle of exactly that module
const { gpu } = navigator as unknown as { readonly gpu: GPU }; // Node's types, which tests are checked with, lack it
const adapter = await gpu.requestAdapter();
if (adapter === null) throw new Error("no adapter");
const device = await host.requestGpuDevice(adapter);
const load = (name: string, options: Pick<adaptvis.LoadOptions, "adapterClass" | "lookahead"> = {}) =>
  host.Llava.load(host.fileSource(`${folder}/${name}`), { device, ...options });
const tensors = (path: string) => readTensorFile(path, folder);

const results: Record<string, readonly ParityCheck[] | string> = {};
/** One golden's checks; an error is told in their place, so that the others still run. */
async function run(title: string, work: () => Promise<readonly ParityCheck[]>): Promise<void> {
  results[title] = await work().catch((error: unknown) => String(error));
}

for (const [name, file] of TRANSFORMERS_CASES.filter(isChosen)) {
  await run(`${name}/${file}`, async () => {
    using model = await load(name);
    return await transformersChecks(model, await tensors(`${name}/${file}.safetensors`));
  });
}
for (const name of AUTHORS_CHECKPOINTS.filter(isChosen)) {
  await run(name, async () => {
    using model = await load(name);
    return await plainChecks(model, await tensors(`${name}/expected.safetensors`));
  });
}
const goldens = {
  golden: await tensors("adaptvis_expected.safetensors"),
  plain: await tensors("tiny-llava/expected.safetensors"),
};
const flips = JSON.parse(readFileSync(`${folder}/adaptvis_flips.json`, "utf8")) as readonly FlipCase[]; // our golden
const pictures = await tensors("adaptvis_flips.safetensors");
const model = await load("tiny-llava");
for (const factor of AUTHORS_FACTORS) await run(`factor ${factor}`, () => factorChecks(model, factor, goldens));
for (const factor of PADDED_FACTORS) await run(`padded, factor ${factor}`, () => paddedChecks(model, factor, goldens));
for (const flip of flips) await run(`flip ${flip.case}`, () => flipChecks(model, flip, pictures));
model.dispose();
const gpuName = "llama-text-tied";
await run(`${gpuName}, a GPU's kernels`, async () => {
  using onGpu = await load(gpuName, { adapterClass: "gpu", lookahead: 4 });
  const golden = await tensors(`${gpuName}/expected.safetensors`);
  return [...(await transformersChecks(onGpu, golden)), ...(await lookaheadChecks(onGpu, golden))];
});

const report: ParityReport = { adapter: adapter.info.description, results };
console.log(JSON.stringify(report));

/** The ids of whole answers, before and after answers that end while later tokens are on their way, by an abort and by an error. */
async function lookaheadChecks(model: adaptvis.Llava, golden: TensorFile): Promise<readonly ParityCheck[]> {
  const expected = golden.ids("f1.0.generated");
  const inputs = goldenInputs(model, golden);
  const options = { maxNewTokens: expected.length, ignoreEos: true };
  const whole = async (what: string) => {
    const { tokens } = await model.answer(inputs, options);
    const ids = tokens.map(({ tokenId }) => tokenId);
    return same(what, ids, expected);
  };
  const checks = [await whole("ids")];
  for (const [ending, numTokens] of [
    ["AbortError", 1],
    ["RangeError", 2],
    ["AbortError", expected.length - 1],
    ["RangeError", 3], // on a device that is lost then: the last question of this program
  ] as const) {
    const stop = new AbortController();
    let numSeen = 0;
    const onToken = () => {
      if (++numSeen < numTokens) return;
      if (numTokens === 3) device.destroy();
      if (ending === "RangeError") throw new RangeError("the caller's own");
      stop.abort();
    };
    const end = await model.answer(inputs, { ...options, signal: stop.signal, onToken }).then(
      () => "an answer",
      (error: unknown) => (error instanceof Error ? error.name : String(error)),
    );
    if (end !== ending) throw new Error(`Token ${numTokens}: expected ${ending}, got ${end}.`);
    if (numTokens !== 3) checks.push(await whole(`ids after ${ending} at token ${numTokens}`));
  }
  return checks;
}
