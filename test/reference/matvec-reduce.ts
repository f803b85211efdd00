// Twin of shaders/matvec-reduce.wgsl, which computes matmul's formula for few rows.
export { matmul as matvecReduce } from "./matmul.ts";
