import { testGatedMatvec } from "./gated-matvec-cases.ts";

testGatedMatvec("reduce");
