// Twin of shaders/matvec-subgroup.wgsl: the same formula as matmul.
export { matmul as matvecSubgroup } from "./matmul.ts";
