// Groups the passes of an answer by stage, and within a stage by layer.

import type { ExplainedPass } from "../../inspect/explained-pass.ts";

/** Consecutive passes of one layer. */
export interface PassGroup {
  /** "layer 3", or empty for those outside of layers. */
  readonly title: string;
  readonly passes: readonly ExplainedPass[];
}

/** A stage of an answer. */
export interface PassStage {
  readonly title: string;
  readonly groups: readonly PassGroup[];
  readonly numPasses: number;
  /** Undefined if the device does not measure it. */
  readonly gpuMs: number | undefined;
}

/** Groups passes, keeping their order. */
export function stagesOf(passes: readonly ExplainedPass[]): readonly PassStage[] {
  return runsOf(passes, ({ stage }) => stage).map(({ key, items }) => ({
    title: key,
    groups: runsOf(items, layerOf).map((group) => ({ title: group.key, passes: group.items })),
    numPasses: items.length,
    gpuMs: timeOf(items),
  }));
}

/** Total time of several passes; undefined if the device does not measure it. */
export function timeOf(passes: readonly ExplainedPass[]): number | undefined {
  let sum = 0;
  for (const { gpuMs } of passes) {
    if (gpuMs === undefined) return undefined;
    sum += gpuMs;
  }
  return sum;
}

/** Formats sizes as "2 × 1 × 8", without trailing ones. */
export function extent(sizes: readonly number[]): string {
  const last = sizes.findLastIndex((size) => size !== 1);
  return sizes.slice(0, Math.max(1, last + 1)).join(" × ");
}

function layerOf({ place }: ExplainedPass): string {
  const layer = /(?:^|\.)layers\.(\d+)\./.exec(place)?.[1];
  return layer === undefined ? "" : `layer ${layer}`;
}

function runsOf<T>(
  items: readonly T[],
  keyOf: (item: T) => string,
): readonly { readonly key: string; readonly items: readonly T[] }[] {
  const runs: { readonly key: string; readonly items: T[] }[] = [];
  for (const item of items) {
    const key = keyOf(item);
    const last = runs.at(-1);
    if (last?.key === key) last.items.push(item);
    else runs.push({ key, items: [item] });
  }
  return runs;
}
