// The page's module: asks with the built bundle, reading the checkpoint over HTTP by ranges.
import type * as adaptvis from "../../src/index.browser.ts";
import { ask } from "../hosts/ask.ts";

/** What the test compares. */
export async function run(): Promise<unknown> {
  const bundle = "/dist/browser.js"; // in a variable, so that the bundler leaves the built file where it is
  const host = (await import(bundle)) as typeof adaptvis; // the bundle of exactly that module
  const { gpu } = navigator as unknown as { readonly gpu: GPU }; // Node's types, which tests are checked with, lack it
  const adapter = await gpu.requestAdapter();
  if (adapter === null) throw new Error("no adapter");
  const device = await host.requestGpuDevice(adapter);
  return ask(host, host.httpSource(new URL("/model/", location.href).href), device);
}

declare const location: { readonly href: string };
