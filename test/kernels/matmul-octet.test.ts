import { expect, test } from "vitest";
import { Gpu } from "../../src/gpu/device.ts";
import { hasOctets } from "../../src/gpu/ops/quads.ts";
import { matmul } from "../reference/matmul.ts";
import { openTestDevice } from "../setup/device.ts";
import { linearCases, testLinear } from "./linear-cases.ts";

const { device } = await openTestDevice();
const { subgroupMinSize, subgroupMaxSize } = device.adapterInfo;
const isOfEight = device.features.has("subgroups") && subgroupMinSize === 8 && subgroupMaxSize === 8;

test("runs where subgroups are of eight threads", () => {
  expect(hasOctets(new Gpu(device, { isSoftware: true }))).toBe(isOfEight);
  expect(hasOctets(new Gpu(device, { isSoftware: false }))).toBe(false);
});

// A workgroup computes 32 rows × 24 columns, up to 16 rows half as many and up to 8 rows a quarter.
const rows = [65, 1, 7, 8, 9, 15, 16, 17, 31, 32, 33] as const;
if (isOfEight) {
  testLinear("matmul-octet", matmul, linearCases(rows, { workgroupColumns: 24, activations: ["quick_gelu", "gelu"] }));
}
