import { TUNABLES } from "../../src/gpu/ops/linear-kernels.ts";
import { matmul } from "../reference/matmul.ts";
import { choiceCases, linearCases, testLinear } from "./linear-cases.ts";

// Both software adapters have subgroups: of 4 threads SwiftShader, of 8 lavapipe.
// A workgroup of 128 threads computes 4 columns of up to 8 rows; other candidates 8 columns.
const cases = linearCases([1, 2, 3, 5, 9], { workgroupColumns: 8, activations: ["silu"] });
const candidates = [...TUNABLES["matvec f16"], ...TUNABLES["matvec q4"]].filter(({ SUBGROUPS }) => SUBGROUPS);
testLinear("matvec-subgroup", matmul, [
  ...cases,
  ...choiceCases(candidates, { rows: [9], dtypes: ["q4"] }),
  ...choiceCases([{ THREADS: 256, COLUMNS4: 2 }], { rows: [1, 3, 9], dtypes: ["f16"] }),
]);
