/** Loads the ops' descriptions at the first explanation: bundlers put them into a separate chunk. */
export const descriptions = () => import("./descriptions.ts");
