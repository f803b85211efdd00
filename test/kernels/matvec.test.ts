import { matvec } from "../reference/matvec.ts";
import { linearCases, testLinear } from "./linear-cases.ts";

// A workgroup of 32 threads computes 128 columns.
testLinear("matvec", matvec, linearCases([1, 2, 4], { workgroupColumns: 128, activations: ["silu", "gelu"] }));
