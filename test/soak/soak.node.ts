// The soak as a program of its own, whose memory is nobody else's: prints one JSON object.
//   node --expose-gc soak.node.mjs '{"questions": …, "aborts": …, "disposals": …, "losses": …, "seed": …, "root": …}'

import { join } from "node:path";
import { openNodeAdapter } from "../../src/gpu/hosts/adapter.node.ts";
import { adapterChoices } from "../../src/gpu/hosts/adapter-choice.node.ts";
import { goldenInputs, readTensorFile } from "../setup/golden.ts";
import { type SoakPlan, soak } from "./soak.ts";

const { root, ...plan }: Omit<SoakPlan, "folder"> & { readonly root: string } = JSON.parse(process.argv[2] ?? "{}");
const golden = join(root, "test", "golden");
const name = process.env.ADAPTVIS_TEST_ADAPTER ?? "swiftshader";
const choice = adapterChoices.find((candidate) => candidate === name);
if (choice === undefined)
  throw new Error(`ADAPTVIS_TEST_ADAPTER=${name}: expected one of ${adapterChoices.join(", ")}`);

// One GPU object for all devices: Dawn's are never freed (src/gpu/hosts/adapter.node.ts says why), 3 MB each.
const first = await openNodeAdapter(choice);

const report = await soak(
  { ...plan, folder: join(golden, "tiny-llava") },
  {
    async openDevice() {
      const adapter = await first.gpu.requestAdapter({ powerPreference: "high-performance" });
      if (adapter === null) throw new Error("the adapter is gone");
      return { ...first, adapter, device: await adapter.requestDevice() };
    },
    inputsOf: async (model) => goldenInputs(model, await readTensorFile("tiny-llava/expected.safetensors", golden)),
    async residentBytes() {
      for (let round = 0; round < 3; round++) {
        globalThis.gc?.();
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
      return process.memoryUsage.rss();
    },
    onProgress(done, total) {
      if (done % Math.ceil(total / 10) === 0) process.stderr.write(`soak: ${done} of ${total} events\n`);
    },
  },
);
process.stdout.write(`${JSON.stringify(report, null, 2)}\n`);
process.exit(0);
