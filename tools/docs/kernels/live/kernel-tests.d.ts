/** Made by bundle-live.mjs: for every kernel, a function that imports its tests. */
declare module "kernel-tests" {
  export const kernelTests: Readonly<Record<string, (() => Promise<unknown>) | undefined>>;
}
