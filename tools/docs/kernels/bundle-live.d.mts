/** See bundle-live.mjs. */
export function bundleLive(outFolder: string, kernels: readonly string[]): Promise<unknown>;
