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
import { readTensorFile } from "../setup/golden.ts";
import type { ParityCheck } from "../setup/parity-check.ts";
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
const load = (name: string, adapterClass?: "gpu") =>
  host.Llava.load(host.fileSource(`${folder}/${name}`), { device, adapterClass });
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
// The kernels that a GPU would run: lavapipe compiles them for a minute, SwiftShader for seconds.
if (!adapter.info.description.startsWith("llvmpipe")) {
  const name = "llama-text-tied";
  await run(`${name}, a GPU's kernels`, async () => {
    using onGpu = await load(name, "gpu");
    return await transformersChecks(onGpu, await tensors(`${name}/expected.safetensors`));
  });
}

const report: ParityReport = { adapter: adapter.info.description, results };
console.log(JSON.stringify(report));
