import { describe } from "vitest";
import { openTestGpu } from "../setup/run-kernel.ts";
import { testPrefill } from "./attention-prefill-cases.ts";

const { device } = await openTestGpu();

// reason: the kernel exchanges values within quads of threads
describe.skipIf(!device.features.has("subgroups"))("attentionPrefillQuad", () => {
  testPrefill("attention-prefill-quad");
});
