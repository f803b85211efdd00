// Twin of shaders/gated-matvec-reduce.wgsl, which computes gated-matvec's formula with other threads.
export { gatedMatvec as gatedMatvecReduce } from "./gated-matvec.ts";
