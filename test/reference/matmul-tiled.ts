// Twin of shaders/matmul-tiled.wgsl: the same formula as matmul.
export { matmul as matmulTiled } from "./matmul.ts";
