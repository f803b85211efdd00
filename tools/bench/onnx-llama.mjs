// The LLaMA-type decoder as an ONNX graph, laid out as onnxruntime-genai's model builder lays it out: GroupQueryAttention with
// rotary embeddings and a shared key/value buffer, residual sums inside SkipSimplifiedLayerNormalization, logits of the last row.
// Source: https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md

import { elementTypes } from "./onnx-file.mjs";
import { rotaryCaches } from "./rope-frequencies.mjs";

const MODEL = "language_model.model";
const LM_HEAD = "language_model.lm_head.weight";

/**
 * Builds the decoder. `attention` is one of {@link attentionForms}.
 *
 * Inputs: `input_ids` i32 [1, S] or, with `fromEmbeds`, `inputs_embeds` [1, S, D]; `past.{i}.key|value` [1, Hkv, C, headDim];
 * `seqlens_k` i32 [1] (positions after this call − 1); `total_sequence_length` i32 [] (the same + 1).
 * Outputs: `next_token` i32 [1] (argmax of the last row's logits), `logits` [1, 1, V], `present.{i}.key|value` as the past's.
 *
 * With `isHub`, named and shaped as the decoders that transformers.js loads from the hub: `input_ids` i64 [B, S], `attention_mask`
 * i64 [B, C + S], `num_logits_to_keep` i64 [] (0: all), `past_key_values.{i}.key|value` [B, Hkv, C, headDim]; outputs `logits`
 * [B, kept rows, V] and `present.{i}.key|value` [B, Hkv, C + S, headDim].
 */
export async function llamaGraph(
  writer,
  { text, weights, numPositions, fromEmbeds = false, attention: form = "fused", isHub = false },
) {
  const { graph, type } = writer;
  const { numKeyValueHeads, headDim } = text;
  const embedTokens = weights.has(`${MODEL}.embed_tokens.weight`) ? `${MODEL}.embed_tokens.weight` : LM_HEAD;
  const lmHead = text.tieWordEmbeddings ? embedTokens : LM_HEAD;
  const { ids, positions, firstRow } = isHub ? hubInputs(writer) : sharedInputs(writer, fromEmbeds);

  let hidden = fromEmbeds
    ? graph.input("inputs_embeds", type, [1, "S", text.hiddenSize])
    : writer.node("Gather", [await writer.table(embedTokens, { isTied: text.tieWordEmbeddings }), ids], {
        name: "embed",
      });
  const step = {
    ...positions,
    ...rotaryInputs(writer, text, numPositions),
    noSink: form === "exact" ? noSink(writer, text) : undefined,
    cache: isHub
      ? { past: "past_key_values", pastShape: ["batch_size", numKeyValueHeads, "past_sequence_length", headDim] }
      : { past: "past", pastShape: [1, numKeyValueHeads, "C", headDim] },
  };
  const epsilon = { float: text.rmsNormEps };

  const firstNorm = await writer.tensor(`${MODEL}.layers.0.input_layernorm.weight`);
  let normed = writer.node("SimplifiedLayerNormalization", [hidden, firstNorm], {
    name: "norm_0",
    attributes: { epsilon, axis: { int: -1 }, stash_type: { int: 1 } },
  });
  for (let index = 0; index < text.numHiddenLayers; index++) {
    const layer = `${MODEL}.layers.${index}`;
    const attended = await attention(writer, normed, { layer, index, text, step });
    [normed, hidden] = await skipNorm(writer, [hidden, attended], {
      norm: `${layer}.post_attention_layernorm.weight`,
      epsilon,
    });
    const inner = await feedForward(writer, normed, { layer, text });
    const next =
      index + 1 < text.numHiddenLayers ? `${MODEL}.layers.${index + 1}.input_layernorm.weight` : `${MODEL}.norm.weight`;
    [normed, hidden] = await skipNorm(writer, [hidden, inner], { norm: next, epsilon });
  }

  // Only the rows that are asked for go through lm_head, or a prefill would pay for logits that nobody asked for.
  const rows = writer.node(
    "Slice",
    [normed, firstRow, writer.integers("end", [2n ** 62n]), writer.integers("rows", [1])],
    {
      name: "last_rows",
    },
  );
  const logits = await writer.linear(rows, [lmHead], { bias: false });
  const named = writer.node("Identity", [logits], { name: "logits_out", outputs: ["logits"] });
  graph.output(named[0], type, isHub ? ["batch_size", "num_logits", text.vocabSize] : [1, 1, text.vocabSize]);
  const presentShape = isHub
    ? ["batch_size", numKeyValueHeads, "total_sequence_length", headDim]
    : [1, numKeyValueHeads, "C", headDim];
  for (let index = 0; index < text.numHiddenLayers; index++) {
    for (const part of ["key", "value"]) graph.output(`present.${index}.${part}`, type, presentShape);
  }
}

/** Inputs of a caller that keeps keys and values in buffers of the full length. */
function sharedInputs(writer, fromEmbeds) {
  const { graph } = writer;
  return {
    ids: fromEmbeds ? undefined : graph.input("input_ids", "i32", [1, "S"]),
    positions: {
      seqlens: graph.input("seqlens_k", "i32", [1]),
      total: graph.input("total_sequence_length", "i32", []),
    },
    firstRow: writer.integers("last", [-1]),
  };
}

/** Inputs as on the hub: how many positions there are follows from the attention mask. */
function hubInputs(writer) {
  const { graph } = writer;
  const ids = graph.input("input_ids", "i64", ["batch_size", "sequence_length"]);
  const mask = graph.input("attention_mask", "i64", ["batch_size", "total_sequence_length"]);
  const numLogits = graph.input("num_logits_to_keep", "i64", []);
  const toInt32 = (input, name) =>
    writer.node("Cast", [input], { name, attributes: { to: { int: elementTypes.i32 } } });
  const axis = writer.integers("mask_axis", [1]);
  const sum = writer.node("ReduceSum", [mask, axis], { name: "num_positions", attributes: { keepdims: { int: 0 } } });
  const last = writer.node("Sub", [sum, writer.integers("one", [1])], { name: "last_position" });
  const size = writer.node(
    "Gather",
    [writer.node("Shape", [mask], { name: "mask_shape" }), writer.integers("second", [1], [])],
    {
      name: "mask_length",
    },
  );
  const fromEnd = writer.node("Neg", [numLogits], { name: "from_end" });
  return {
    ids,
    positions: { seqlens: toInt32(last, "seqlens_k"), total: toInt32(size, "total_sequence_length") },
    firstRow: writer.node("Reshape", [fromEnd, writer.integers("one_value", [1])], { name: "first_row" }),
  };
}

function rotaryInputs(writer, text, numPositions) {
  const { cos, sin } = rotaryCaches(text.rope, text.headDim, numPositions);
  const shape = [numPositions, text.headDim / 2];
  return {
    cos: writer.constant("cos_cache", { shape, data: cos }),
    sin: writer.constant("sin_cache", { shape, data: sin }),
  };
}

/**
 * The exact form asks for a smooth softmax, exp(xᵢ) / (exp(sink) + Σ exp(xⱼ)), which the WebGPU provider computes without its flash
 * attention, and gives it sinks whose exp() is zero: the plain softmax. Keys and values are still appended in place.
 */
function noSink(writer, { numAttentionHeads }) {
  const lowest = writer.type === "f16" ? -65504 : -1e30;
  const data = new Float32Array(numAttentionHeads).fill(lowest);
  return writer.constant("no_sink", { shape: [numAttentionHeads], data });
}

async function attention(writer, normed, { layer, index, text, step }) {
  const { graph, type } = writer;
  const { numAttentionHeads, numKeyValueHeads, headDim } = text;
  const { past: pastName, pastShape } = step.cache;
  const projections = ["q_proj", "k_proj", "v_proj"].map((name) => `${layer}.self_attn.${name}.weight`);
  const qkv = [await writer.linear(normed, projections), "", ""];
  const past = ["key", "value"].map((part) => graph.input(`${pastName}.${index}.${part}`, type, pastShape));
  const inputs = [...qkv, ...past, step.seqlens, step.total, step.cos, step.sin];
  const isExact = step.noSink !== undefined;
  if (isExact) inputs.push("", "", step.noSink); // no position ids, no attention bias
  const [result] = writer.node("GroupQueryAttention", inputs, {
    name: `${layer}.attention`,
    attributes: {
      num_heads: { int: numAttentionHeads },
      kv_num_heads: { int: numKeyValueHeads },
      scale: { float: 1 / Math.sqrt(headDim) },
      do_rotary: { int: 1 },
      rotary_interleaved: { int: 0 },
      ...(isExact && { smooth_softmax: { int: 1 } }),
    },
    outputs: [`${layer}.attention.out`, `present.${index}.key`, `present.${index}.value`],
  });
  return writer.linear(result, [`${layer}.self_attn.o_proj.weight`]);
}

async function feedForward(writer, normed, { layer, text }) {
  const gate = await writer.linear(normed, [`${layer}.mlp.gate_proj.weight`]);
  const up = await writer.linear(normed, [`${layer}.mlp.up_proj.weight`]);
  const activated = writer.activation(text.hiddenAct, gate, `${layer}.mlp`);
  const inner = writer.node("Mul", [activated, up], { name: `${layer}.mlp.gated` });
  return writer.linear(inner, [`${layer}.mlp.down_proj.weight`]);
}

/** [norm(a + b), a + b] */
async function skipNorm(writer, inputs, { norm, epsilon }) {
  const [normed, , , sum] = writer.node("SkipSimplifiedLayerNormalization", [...inputs, await writer.tensor(norm)], {
    name: norm,
    attributes: { epsilon },
    outputs: [`${norm}.normed`, "", "", `${norm}.sum`],
  });
  return [normed, sum];
}
