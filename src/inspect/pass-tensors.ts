// What the buffers of a kernel's call hold: shapes and dtypes of all, and where exactly the call writes. The kernels' own
// headers say the same in words.
import { GpuError } from "../errors.ts";
import type { ModelConfig } from "../models/config.ts";
import {
  attentionDecodeQuad,
  attentionDecodeReduce,
  attentionDecodeSplit,
  attentionPrefill,
  qkvRope,
  ropeAppend,
} from "./pass-attention.ts";
import {
  type BoundTensor,
  type BoundTensors,
  CallReader,
  type PassCall,
  read,
  rowsView,
  written,
} from "./pass-call.ts";
import { gatedMatvec, linear } from "./pass-linear.ts";
import { denseView } from "./pass-values.ts";

/** The bindings that a call uses, by name. @throws GpuError `shader` for a kernel that no answer runs. */
export function tensorsOf(call: PassCall, config: ModelConfig): BoundTensors {
  const describe = DESCRIPTIONS[call.kernel.name];
  if (describe === undefined) {
    throw new GpuError(
      "shader",
      `Kernel ${call.kernel.name} cannot be explained: pass-tensors.ts does not describe it.`,
    );
  }
  return describe(new CallReader(call, config));
}

/** Names of the kernels that {@link tensorsOf} describes. */
export function describedKernels(): readonly string[] {
  return Object.keys(DESCRIPTIONS);
}

function norm(reader: CallReader): BoundTensors {
  const numRows = reader.call.grid[0];
  const columns = reader.param("columns");
  return {
    input: read([numRows, columns]),
    weight: read([columns]),
    ...(reader.call.kernel.name === "layer-norm" && { bias: read([columns]) }),
    output: written(rowsView(numRows, columns)),
  };
}

function embedTokens(reader: CallReader): BoundTensors {
  const { hiddenSize } = reader.sizes;
  const numRows = reader.call.grid[1];
  const first = reader.param("firstToken");
  const end = first + reader.param("numTokens");
  const ids = Array.from(reader.call.words.subarray(0, numRows));
  const rows = ids.flatMap((id, row) => (id >= first && id < end ? [row] : []));
  const view = { ...rowsView(rows.length, hiddenSize), rows };
  const label = rows.length < numRows ? "rows of text tokens" : "";
  return {
    ...reader.weight(reader.config.text.vocabSize, hiddenSize),
    ids: read([numRows], "u32"),
    output: { shape: [numRows, hiddenSize], dtype: "f32", written: rows.length === 0 ? [] : [{ label, view }] },
  };
}

function gatherRows(reader: CallReader): BoundTensors {
  const { hiddenSize } = reader.config.text;
  const numRows = reader.call.grid[1];
  const start = reader.param("outputRowStart");
  return {
    index: read([numRows], "i32"),
    filler: read([hiddenSize]),
    output: written(rowsView(numRows, hiddenSize, start), `positions ${start} to ${start + numRows - 1}`),
  };
}

function unfoldPatches(reader: CallReader): BoundTensors {
  const side = reader.param("imageSize");
  const channels = reader.config.multimodal?.vision.numChannels ?? 0;
  const view = rowsView(reader.call.grid[1], reader.param("columns"));
  return { pixels: read([channels, side, side]), output: written(view) };
}

function visionEmbed(reader: CallReader): BoundTensors {
  const { hiddenSize } = reader.sizes;
  const numRows = reader.call.grid[1];
  return {
    ...reader.weight(numRows, hiddenSize),
    patches: read([numRows - 1, hiddenSize]),
    classEmbedding: read([hiddenSize]),
    output: written(rowsView(numRows, hiddenSize)),
  };
}

function gatedActivation(reader: CallReader): BoundTensors {
  const { intermediateSize } = reader.sizes;
  const numRows = reader.call.grid[1];
  return { gateUp: read([numRows, 2, intermediateSize]), output: written(rowsView(numRows, intermediateSize)) };
}

function repetitionPenalty(reader: CallReader): BoundTensors {
  const vocabSize = reader.param("vocabSize");
  const { words } = reader.call;
  const isSeen = (token: number) => (((words[token >>> 5] ?? 0) >>> (token & 31)) & 1) === 1;
  const rows = Array.from({ length: vocabSize }, (_, token) => token).filter(isSeen);
  const view = { ...denseView([rows.length]), rows };
  const parts = rows.length === 0 ? [] : [{ label: "tokens seen so far", view }];
  return {
    seen: read([1, Math.ceil(vocabSize / 32)], "u32"),
    logits: { shape: [1, vocabSize], dtype: "f32", written: parts, isUpdated: true },
  };
}

/** Entries [.., size] of which every value has a meaning of its own. */
function entries(
  shape: readonly number[],
  fields: readonly (readonly [label: string, dtype: "u32" | "f32"])[],
): BoundTensor {
  const view = denseView([...shape, fields.length]);
  const strides = view.strides.slice(0, -1);
  const parts = fields.map(([label, dtype], offset) => ({ label, view: { shape, strides, offset, dtype } }));
  return { shape: view.shape, dtype: "u32", written: parts };
}

function chooseToken(reader: CallReader): BoundTensors {
  const numRows = reader.call.grid[0];
  return {
    logits: read([numRows, reader.param("vocabSize")]),
    choice: entries(
      [numRows],
      [
        ["token", "u32"],
        ["logit", "f32"],
        ["log Σ exp of the logits", "f32"],
        ["logits that are not numbers", "u32"],
      ],
    ),
  };
}

function topK(reader: CallReader): BoundTensors {
  const numRows = reader.call.grid[0];
  return {
    logits: read([numRows, reader.param("vocabSize")]),
    entries: entries(
      [numRows, reader.param("k")],
      [
        ["tokens", "u32"],
        ["logits", "f32"],
      ],
    ),
  };
}

/** By kernel; quantize is not here, because it runs when a model is loaded. */
const DESCRIPTIONS: Readonly<Record<string, (reader: CallReader) => BoundTensors>> = {
  matmul: linear,
  "matmul-quad": linear,
  "matmul-tiled": linear,
  matvec: linear,
  "matvec-reduce": linear,
  "matvec-subgroup": linear,
  "gated-matvec": gatedMatvec,
  "gated-matvec-reduce": gatedMatvec,
  "qkv-rope": qkvRope,
  "qkv-rope-reduce": qkvRope,
  "rope-append": ropeAppend,
  "attention-prefill": attentionPrefill,
  "attention-prefill-quad": attentionPrefill,
  "attention-prefill-tiled": attentionPrefill,
  "attention-decode-quad": attentionDecodeQuad,
  "attention-decode-split": attentionDecodeSplit,
  "attention-decode-split-tiled": attentionDecodeSplit,
  "attention-decode-reduce": attentionDecodeReduce,
  "rms-norm": norm,
  "layer-norm": norm,
  "embed-tokens": embedTokens,
  "gather-rows": gatherRows,
  "unfold-patches": unfoldPatches,
  "vision-embed": visionEmbed,
  "gated-activation": gatedActivation,
  "repetition-penalty": repetitionPenalty,
  "choose-token": chooseToken,
  "top-k": topK,
};
