/** Loads the ops' descriptions at the first explanation: they are a chunk of their own for bundlers. */
export const descriptions = () => import("./descriptions.ts");
