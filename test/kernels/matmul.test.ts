import { matmul } from "../reference/matmul.ts";
import { linearCases, testLinear } from "./linear-cases.ts";

// 65 rows: an image of 8 × 8 patches and the class token. A workgroup computes 32 rows × 32 columns, a thread 4 × 4.
const rows = [65, 1, 3, 4, 5, 31, 32, 33] as const;
testLinear("matmul", matmul, linearCases(rows, { workgroupColumns: 32, activations: ["quick_gelu", "gelu"] }));
