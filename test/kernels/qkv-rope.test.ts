import { testQkvRope } from "./qkv-rope-cases.ts";

testQkvRope("qkv-rope");
testQkvRope("qkv-rope-quad");
