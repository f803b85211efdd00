// The passes of an explained answer as plain data.
import type { WeightDtype } from "../gpu/tensor.ts";
import type { KernelHeader } from "./kernel-text.ts";
import type { ValuePicture, ValueStatistics } from "./tensor-values.ts";

/** A kernel that passes ran. */
export interface ExplainedKernel {
  /** The shader's file name without `.wgsl`. */
  readonly name: string;
  /** How the weights are stored that it reads; undefined for a kernel that reads none. */
  readonly weightDtype: WeightDtype | undefined;
  /** The whole text as it was compiled: the file and the shared ones that it calls. */
  readonly wgsl: string;
  readonly header: KernelHeader;
  /** Undefined where it depends on a pass' constants. */
  readonly workgroupSize: readonly [number, number, number] | undefined;
}

/** One dispatch of a kernel. */
export interface ExplainedPass {
  /** From 0, over the whole answer. */
  readonly index: number;
  /** "vision", "embed prompt", "prefill", "confidence", "adaptvis step", "choose token 0", "decode step 1", … */
  readonly stage: string;
  /** Where in the model, such as "vision.layers.2.self_attn.qkv_proj" or "lm_head". */
  readonly place: string;
  /** What comes out, in a few words. */
  readonly what: string;
  /** Key of `Explanation.kernels`: the kernel's name, with the dtype of its weights or cache behind it where variants mix. */
  readonly kernel: string;
  /** Workgroups in x, y, z. */
  readonly grid: readonly [number, number, number];
  /** Threads of a workgroup in x, y, z. */
  readonly workgroupSize: readonly [number, number, number];
  /** Values of the kernel's overrides. */
  readonly constants: Readonly<Record<string, number | boolean>>;
  /** `struct Params`; of an attention or rotation kernel also "step.slotStart", and what its first score edit does, as "edit.strength". */
  readonly params: Readonly<Record<string, number>>;
  /** Undefined where the device cannot tell. */
  readonly gpuMs: number | undefined;
  /** Every binding but params. */
  readonly tensors: readonly PassTensor[];
  /** What the pass wrote, and nothing else. */
  readonly outputs: readonly PassValues[];
}

/** A buffer of a pass. */
export interface PassTensor {
  readonly binding: string;
  readonly access: "read" | "write" | "read-write";
  /** The buffer's label: the checkpoint's names for weights. */
  readonly label: string;
  readonly byteLength: number;
  /** Without padding; undefined for uniforms and for bindings that the pass does not touch. */
  readonly shape: readonly number[] | undefined;
  readonly dtype: string | undefined;
}

/** The values that a pass wrote to one tensor. */
export interface PassValues extends ValueStatistics {
  readonly binding: string;
  /** The buffer's label, and which part of it. */
  readonly label: string;
  readonly shape: readonly number[];
  readonly dtype: "f32" | "u32";
  /** The tensor averaged down to at most 64 × 64, leading dimensions down. */
  readonly picture: ValuePicture;
}
