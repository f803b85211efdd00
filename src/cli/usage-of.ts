// Tells apart what the command line got wrong from what a file, a picture or the machine got wrong.
import { InputError } from "../errors.ts";
import type { MapSelection } from "../inspect/attention-map.ts";
import type { ModelConfig } from "../models/config.ts";
import { UsageError } from "./session.ts";

/** Runs work whose only inputs left to check are options, the question and the prompt. @throws UsageError for an InputError. */
export async function asUsage<T>(work: () => T | Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof InputError) throw new UsageError(error.message, { cause: error });
    throw error;
  }
}

/** @throws UsageError when the model has no such layer or head. */
export function checkSelection(config: ModelConfig, selection: MapSelection): void {
  const { numHiddenLayers, numAttentionHeads } = config.text;
  const check = (option: string, index: number | undefined, count: number) => {
    if (index === undefined || index < count) return;
    throw new UsageError(`${option} must be a whole number from 0 to ${count - 1} for this model, got ${index}.`);
  };
  check("--layer", selection.layer, numHiddenLayers);
  check("--head", selection.head, numAttentionHeads);
}
