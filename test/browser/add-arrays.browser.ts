// The page's module for the smoke test: adds two arrays on the browser's WebGPU, and reads a file by byte range.

import { addArrays } from "../hosts/add-arrays.ts";

/** What the test compares. */
export async function run(): Promise<unknown> {
  const { gpu } = navigator as unknown as { readonly gpu: GPU }; // Node's types, which tests are checked with, lack it
  const adapter = await gpu.requestAdapter();
  const response = await fetch("/files/package.json", { headers: { range: "bytes=1-4" } });
  const bytes = { status: response.status, text: await response.text() };
  const missing = (await fetch("/files/no-such-file")).status;
  return { ...(adapter === null ? { adapter } : await addArrays(adapter)), bytes, missing };
}
