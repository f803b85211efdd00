// Every kernel of the ops, for tests, the bench and explanations: derived from the ops' own lists.
import type { Kernel } from "../kernel.ts";
import type { WeightDtype } from "../tensor.ts";
import { ATTENTION_DECODE_KERNELS, ATTENTION_PREFILL_KERNELS, DECODE_REDUCE } from "./attention.ts";
import { ADD_ROWS, COMBINE_ROWS, EMBED_TOKENS, GATHER_ROWS } from "./embedding.ts";
import { GATED_ACTIVATION, GATED_MATVEC_KERNELS, QUANTIZE, QUANTIZE_ACTIVATIONS, QUANTIZE_MINIMUM } from "./linear.ts";
import { LINEAR_KERNELS } from "./linear-kernels.ts";
import { HEAD_NORM, LAYER_NORM, RMS_NORM } from "./norm.ts";
import { QKV_ROPE_KERNELS, ROPE_APPEND, ROPE_APPEND_PACKED } from "./rope.ts";
import { ROW_STRENGTHS, SINK_ACTIVATIONS } from "./row-strengths.ts";
import { CHOOSE_TOKEN, MASK_TOKENS, REPETITION_PENALTY, TOP_K } from "./sampling.ts";
import { UNFOLD_PATCHES, VISION_EMBED } from "./vision.ts";

const LISTS = [
  LINEAR_KERNELS,
  GATED_MATVEC_KERNELS,
  QKV_ROPE_KERNELS,
  ATTENTION_PREFILL_KERNELS,
  ATTENTION_DECODE_KERNELS,
];

/** Every variant of every kernel. */
export const ALL_KERNELS: readonly Kernel[] = [
  ...LISTS.flatMap((entries) => entries.flatMap(({ variants }): readonly Kernel[] => variants)),
  ...[EMBED_TOKENS, VISION_EMBED, QUANTIZE, QUANTIZE_MINIMUM, ROPE_APPEND_PACKED].flatMap(
    (variants): readonly Kernel[] => Object.values(variants),
  ),
  ...[
    GATED_ACTIVATION,
    RMS_NORM,
    LAYER_NORM,
    HEAD_NORM,
    GATHER_ROWS,
    ADD_ROWS,
    COMBINE_ROWS,
    UNFOLD_PATCHES,
    ROPE_APPEND,
    DECODE_REDUCE,
  ],
  ...[REPETITION_PENALTY, MASK_TOKENS, CHOOSE_TOKEN, TOP_K, QUANTIZE_ACTIVATIONS, SINK_ACTIVATIONS],
  ...ROW_STRENGTHS.variants,
];

/** The first variant of the kernel of this file name that reads weights of this dtype. @throws RangeError for none. */
export function kernelNamed(name: string, weightDtype?: WeightDtype): Kernel {
  const found = ALL_KERNELS.find(
    (kernel) => kernel.name === name && (weightDtype === undefined || kernel.weightDtype === weightDtype),
  );
  if (found === undefined) throw new RangeError(`name: no kernel is called ${name} for weights in ${weightDtype}`);
  return found;
}
