// What the bindings of linear layers' kernels hold.
import { padTo4 } from "../gpu/tensor.ts";
import { type BoundTensors, type CallReader, read, rowsView, written } from "./pass-call.ts";
import type { TensorView } from "./pass-values.ts";

/** Columns of a linear layer's output and input, by the last part of its place. */
function widthsOf(reader: CallReader): {
  /** Equal groups that are padded each on its own. */
  readonly groups: number;
  readonly size: number;
  readonly inputs: number;
} {
  const { hiddenSize, intermediateSize, numAttentionHeads, headDim } = reader.sizes;
  const { multimodal, text } = reader.config;
  const vision = multimodal?.vision;
  switch (reader.part) {
    case "qkv_proj":
      return { groups: reader.allHeads, size: headDim, inputs: hiddenSize };
    case "gate_up_proj":
      return { groups: 2, size: intermediateSize, inputs: hiddenSize };
    case "fc1":
      return { groups: 1, size: intermediateSize, inputs: hiddenSize };
    case "o_proj":
    case "out_proj":
      return { groups: 1, size: hiddenSize, inputs: numAttentionHeads * headDim };
    case "down_proj":
    case "fc2":
      return { groups: 1, size: hiddenSize, inputs: intermediateSize };
    case "patch_embedding":
      return { groups: 1, size: hiddenSize, inputs: (vision?.numChannels ?? 0) * (vision?.patchSize ?? 0) ** 2 };
    case "linear_1":
      return { groups: 1, size: text.hiddenSize, inputs: vision?.hiddenSize ?? 0 };
    case "lm_head":
      return { groups: 1, size: text.vocabSize, inputs: hiddenSize };
    default:
      return { groups: 1, size: text.hiddenSize, inputs: text.hiddenSize };
  }
}

/** Of every kernel of a linear layer. */
export function linear(reader: CallReader): BoundTensors {
  const { groups, size, inputs } = widthsOf(reader);
  const numRows = reader.param("numRows");
  const stride = reader.param("outputStride4") * 4;
  const offset = reader.param("outputColumn4") * 4;
  const column = offset % stride;
  const width = reader.param("columns4") * 4;
  let view: TensorView = { shape: [numRows, groups, size], strides: [stride, padTo4(size), 1], offset, dtype: "f32" };
  let label = "";
  if (groups === 1 || column > 0 || width < groups * padTo4(size)) {
    // One group, or a piece of a matrix that is split between rows.
    const real = groups === 1 ? Math.min(width, size - column) : width;
    view = { shape: [numRows, real], strides: [stride, 1], offset, dtype: "f32" };
    if (real < groups * size) label = `columns ${column} to ${column + real - 1}`;
  }
  const numWeights = groups * size;
  const { constants } = reader.call;
  return {
    ...reader.weight(numWeights, inputs),
    input: read([numRows, inputs]),
    ...(constants.HAS_BIAS === true && { bias: read([numWeights]) }),
    output: { ...written(view, label), isUpdated: constants.ADD_TO_OUTPUT === true },
  };
}

/** Of both kernels of the gated half of an MLP. */
export function gatedMatvec(reader: CallReader): BoundTensors {
  const { hiddenSize, intermediateSize } = reader.sizes;
  const numRows = reader.param("numRows");
  return {
    ...reader.weight(2 * intermediateSize, hiddenSize),
    input: read([numRows, hiddenSize]),
    ...(reader.call.constants.HAS_BIAS === true && { bias: read([2 * intermediateSize]) }),
    output: written(rowsView(numRows, intermediateSize)),
  };
}
