// Deno's program for the smoke test: adds two arrays on Deno's own WebGPU and prints one JSON object.

import { addArrays } from "../hosts/add-arrays.ts";

const { gpu } = navigator as unknown as { readonly gpu: GPU }; // Node's types, which tests are checked with, lack it
const adapter = await gpu.requestAdapter();
console.log(JSON.stringify(adapter === null ? { adapter: null } : await addArrays(adapter)));
