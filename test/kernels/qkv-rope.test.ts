import { testQkvRope } from "./qkv-rope-cases.ts";

testQkvRope("thread");
testQkvRope("quad");
