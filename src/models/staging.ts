// How much of a checkpoint may be on its way to the GPU at once.

/** Most bytes that a load writes to the GPU before it waits for them to arrive: the host holds a copy of each until then. */
export const STAGING_BYTES = 64 * 2 ** 20;
