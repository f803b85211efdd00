import { describe } from "vitest";
import { testPrefill } from "./attention-prefill-cases.ts";

describe("attentionPrefillTiled", () => {
  testPrefill("attention-prefill-tiled");
});
