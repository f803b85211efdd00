import { testGatedMatvec } from "./gated-matvec-cases.ts";

testGatedMatvec("gated-matvec-subgroup");
