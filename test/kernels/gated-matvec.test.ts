import { testGatedMatvec } from "./gated-matvec-cases.ts";

testGatedMatvec("gated-matvec");
testGatedMatvec("gated-matvec-quad");
