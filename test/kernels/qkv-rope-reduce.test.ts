import { testQkvRope } from "./qkv-rope-cases.ts";

testQkvRope("reduce");
