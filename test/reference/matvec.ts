// Twin of shaders/matvec.wgsl, which computes matmul's formula for few rows.
export { matmul as matvec } from "./matmul.ts";
