/** Made by bundle-live.mjs: the tests of every kernel, as functions that import them. */
declare module "kernel-tests" {
  export const kernelTests: Readonly<Record<string, (() => Promise<unknown>) | undefined>>;
}
