// Copies keys and values from one cache to another.
import { at } from "../errors.ts";
import { cacheSlotBytes } from "../gpu/cache-format.ts";
import { type Executor, runOnce } from "../gpu/executor.ts";
import { Program } from "../gpu/program.ts";
import type { TextConfig } from "../models/config.ts";
import { decoderHeads, type KeyValueCache } from "../models/layers/decoder-state.ts";

/**
 * Copies slots of every layer and head. Heads lie one behind the other in a cache, each with room for all of its slots.
 * @param caches two of the same dtype
 * @param options.fromSlot slot of the first position in `from`; 0 unless given
 * @param options.toSlot the same in `to`
 * @throws as {@link Executor.prepare}.
 */
export async function copyKeyValues(
  text: TextConfig,
  { from, to }: { readonly from: KeyValueCache; readonly to: KeyValueCache },
  options: {
    readonly numPositions: number;
    readonly fromSlot?: number | undefined;
    readonly toSlot?: number | undefined;
    readonly executor: Executor;
  },
): Promise<void> {
  const { numPositions, fromSlot = 0, toSlot = 0, executor } = options;
  const { numKeyValueHeads, paddedHeadDim } = decoderHeads(text);
  const slotBytes = cacheSlotBytes(paddedHeadDim, from.dtype);
  const program = new Program("copy keys and values");
  for (const [index, source] of from.layers.entries()) {
    const target = at(to.layers, index);
    for (let head = 0; head < numKeyValueHeads; head++) {
      const place = {
        size: numPositions * slotBytes,
        sourceOffset: (head * from.capacity + fromSlot) * slotBytes,
        targetOffset: (head * to.capacity + toSlot) * slotBytes,
      };
      program.copy(source.keys, target.keys, place);
      program.copy(source.values, target.values, place);
    }
  }
  await runOnce(executor, program, "copy keys and values");
}
