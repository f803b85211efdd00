// Twin of shaders/matmul-quad.wgsl, which computes matmul's formula with other threads.
export { matmul as matmulQuad } from "./matmul.ts";
