// The matrix × vector kernels that multiply integers: those with subgroups and shared memory, over an input in 8 bits.
import { isQuantized } from "../../src/gpu/tensor.ts";
import { matmul } from "../reference/matmul.ts";
import { testGatedMatvec } from "./gated-matvec-cases.ts";
import { choiceCases, linearCases, testLinear } from "./linear-cases.ts";
import { testQkvRope } from "./qkv-rope-cases.ts";

const cases = [
  ...linearCases([1, 2, 3, 5, 9], { workgroupColumns: 8, activations: [] }),
  ...choiceCases([{ SUBGROUPS: true, THREADS: 128, COLUMNS4: 2 }], { rows: [9], dtypes: ["q4"] }),
].filter(({ dtype = "f32" }) => isQuantized(dtype));

testLinear("matvec-subgroup-int8", matmul, cases);
testLinear(
  "matvec-reduce-int8",
  matmul,
  cases.filter(({ choice }) => choice === undefined),
);
testGatedMatvec("gated-matvec-subgroup-int8");
testGatedMatvec("gated-matvec-reduce-int8");
testQkvRope("qkv-rope-subgroup-int8");
testQkvRope("qkv-rope-reduce-int8");
