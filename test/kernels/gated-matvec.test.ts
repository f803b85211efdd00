import { testGatedMatvec } from "./gated-matvec-cases.ts";

testGatedMatvec("thread");
testGatedMatvec("quad");
