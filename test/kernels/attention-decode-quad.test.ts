import { describe } from "vitest";
import { openTestGpu } from "../setup/run-kernel.ts";
import { testDecode } from "./attention-decode-cases.ts";

const { device } = await openTestGpu();

// reason: the kernel exchanges values within quads of threads
describe.skipIf(!device.features.has("subgroups"))("attentionDecodeQuad", () => {
  testDecode("attention-decode-quad");
});
