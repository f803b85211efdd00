import { matmul } from "../reference/matmul.ts";
import { linearCases, testLinear } from "./linear-cases.ts";

// A workgroup of 8 threads computes 32 columns; the second form reads quantised weights a group at a time.
const cases = linearCases([1, 2, 4], { workgroupColumns: 32, activations: ["silu", "gelu"] });
testLinear("matvec", matmul, cases);
testLinear(
  "matvec-quad",
  matmul,
  cases.filter(({ dtype }) => dtype === "q8" || dtype === "q4"),
);
