/**
 * Loads what reads, writes, traces and attention maps take, at the first answer that asks for one of them: they are chunks of their
 * own for bundlers.
 */
export async function inspection() {
  const [places, trace, maps, rows, expressions, readTrace] = await Promise.all([
    import("./places.ts"),
    import("./trace.ts"),
    import("./attention-map.ts"),
    import("./row-attention.ts"),
    import("./read-expression.ts"),
    import("./read-trace.ts"),
  ]);
  return { ...places, ...trace, ...maps, ...rows, ...expressions, ...readTrace };
}
