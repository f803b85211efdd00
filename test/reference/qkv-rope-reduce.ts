// Twin of shaders/qkv-rope-reduce.wgsl, which computes qkv-rope's formula with other threads.
export { qkvRope as qkvRopeReduce } from "./qkv-rope.ts";
