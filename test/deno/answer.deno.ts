// Deno's program: asks with the built bundle, reading the checkpoint from its folder, once in each dtype.
// Deno.args: the bundle's URL, the folder, the dtypes; none is the checkpoint's own. Prints one JSON list.
import type * as adaptvis from "../../src/index.deno.ts";
import { ask, type HostAnswer } from "../hosts/ask.ts";

declare const Deno: {
  readonly args: readonly [bundle: string, folder: string, ...dtypes: adaptvis.WeightDtype[]];
};

const [bundle, folder, ...dtypes] = Deno.args;
const host = (await import(bundle)) as typeof adaptvis; // the bundle of exactly that module
const { gpu } = navigator as unknown as { readonly gpu: GPU }; // Node's types, which tests are checked with, lack it
const adapter = await gpu.requestAdapter();
if (adapter === null) throw new Error("no adapter");
const device = await host.requestGpuDevice(adapter);
const answers: HostAnswer[] = [];
for (const dtype of dtypes.length === 0 ? [undefined] : dtypes) {
  answers.push(await ask(host, folder, device, dtype));
}
console.log(JSON.stringify(answers));
