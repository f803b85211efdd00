// Deno's program: asks with the built bundle, reading the checkpoint from its folder. Deno.args: the bundle's URL, the folder.
import type * as adaptvis from "../../src/index.deno.ts";
import { ask } from "../hosts/ask.ts";

declare const Deno: { readonly args: readonly [bundle: string, folder: string] };

const [bundle, folder] = Deno.args;
const host = (await import(bundle)) as typeof adaptvis; // the bundle of exactly that module
const { gpu } = navigator as unknown as { readonly gpu: GPU }; // Node's types, which tests are checked with, lack it
const adapter = await gpu.requestAdapter();
if (adapter === null) throw new Error("no adapter");
const device = await host.requestGpuDevice(adapter);
console.log(JSON.stringify(await ask(host, host.fileSource(folder), device)));
