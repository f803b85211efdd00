// A program of its own: opens the adapter named in its argument, adds two arrays and prints one JSON object.
// With "worker" as second argument it does so in a worker thread.

import { Worker } from "node:worker_threads";
import { GpuError } from "../../src/errors.ts";
import { openNodeAdapter } from "../../src/gpu/hosts/adapter.node.ts";
import { adapterChoices } from "../../src/gpu/hosts/adapter-choice.node.ts";
import { addArrays } from "./add-arrays.ts";

const [, program, name, place] = process.argv;
if (place === "worker" && program !== undefined) {
  new Worker(program, { argv: [name ?? "auto"] });
} else {
  try {
    const before = JSON.stringify(process.env);
    const { adapter, kind, isSoftware, description } = await openNodeAdapter(
      adapterChoices.find((choice) => choice === name),
    );
    const { wrongSums } = await addArrays(adapter);
    const environmentKept = JSON.stringify(process.env) === before;
    console.log(JSON.stringify({ kind, isSoftware, description, wrongSums, environmentKept }));
  } catch (error) {
    if (!(error instanceof GpuError)) throw error;
    console.log(JSON.stringify({ reason: error.reason, message: error.message }));
  }
}
