import { matmul } from "../reference/matmul.ts";
import { linearCases, testLinear } from "./linear-cases.ts";

// A workgroup computes 32 rows × 16 columns, up to 16 rows half as many and up to 8 rows a quarter.
const rows = [65, 1, 7, 8, 9, 15, 16, 17, 31, 32, 33] as const;
testLinear("matmul-quad", matmul, linearCases(rows, { workgroupColumns: 16, activations: ["quick_gelu", "gelu"] }));
