import { testQkvRope } from "./qkv-rope-cases.ts";

testQkvRope("qkv-rope-subgroup");
