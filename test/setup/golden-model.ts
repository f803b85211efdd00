// The checkpoints beside the goldens, on this test process's adapter.
import type { LoadOptions } from "../../src/answer.ts";
import { fileSource } from "../../src/checkpoint/file-source.node.ts";
import { Llava } from "../../src/llava.ts";
import { openTestDevice } from "./device.ts";
import { GOLDEN } from "./golden.ts";

/** Loads the checkpoint in a folder of the goldens on this process's adapter. */
export async function loadGoldenModel(
  name: string,
  options: Pick<
    LoadOptions,
    "chunkRows" | "cacheBytes" | "adapterClass" | "dtype" | "kvDtype" | "activationDtype" | "lookahead" | "tuning"
  > = {},
): Promise<Llava> {
  const { device } = await openTestDevice();
  return Llava.load(fileSource(`${GOLDEN}/${name}`), { device, ...options });
}
