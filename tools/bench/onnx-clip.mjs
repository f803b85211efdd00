// A vision tower of CLIP's or SigLIP's kind, with LLaVA's projector or SmolVLM's connector, as an ONNX graph: MultiHeadAttention with its
// biases, residual sums inside SkipLayerNormalization, only the layers that run.
// Source: https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md; transformers modeling_clip.py

const VISION = "vision_tower.vision_model";

/**
 * Builds the tower: `pixel_values` [1, C, S, S] → `image_features` [1, P, D] (P + 1 rows under the `full` strategy; P / s² rows of
 * SmolVLM's, with a scale factor s).
 * `attention` is one of {@link attentionForms}.
 */
export async function clipGraph(writer, { config, attention: form = "fused" }) {
  const { graph, type } = writer;
  const { vision, numVisionLayers } = config.multimodal;
  const { imageSize, numChannels } = vision;
  const epsilon = { float: vision.layerNormEps };
  const pixels = graph.input("pixel_values", type, [1, numChannels, imageSize, imageSize]);

  let hidden = await embeddings(writer, pixels, vision);
  if (vision.hasPreLayernorm) hidden = await layerNorm(writer, hidden, { norm: `${VISION}.pre_layrnorm`, epsilon });
  const normOf = (index) => `${VISION}.encoder.layers.${index}.layer_norm1`;
  let normed = numVisionLayers === 0 ? hidden : await layerNorm(writer, hidden, { norm: normOf(0), epsilon });
  for (let index = 0; index < numVisionLayers; index++) {
    const layer = `${VISION}.encoder.layers.${index}`;
    const attended = await (form === "exact" ? exactAttention : attention)(writer, normed, { layer, vision });
    [normed, hidden] = await skipNorm(writer, [hidden, attended], { norm: `${layer}.layer_norm2`, epsilon });
    const inner = await writer.linear(normed, [`${layer}.mlp.fc1.weight`]);
    const activated = writer.activation(vision.hiddenAct, inner, `${layer}.mlp`);
    const projected = await writer.linear(activated, [`${layer}.mlp.fc2.weight`]);
    if (index + 1 < numVisionLayers) {
      [normed, hidden] = await skipNorm(writer, [hidden, projected], { norm: normOf(index + 1), epsilon });
    } else {
      hidden = writer.node("Add", [hidden, projected], { name: "vision_out" });
    }
  }
  if (config.multimodal.scaleFactor === undefined) return projector(writer, hidden, config);
  hidden = await layerNorm(writer, hidden, { norm: `${VISION}.post_layernorm`, epsilon });
  return connector(writer, hidden, config);
}

async function embeddings(writer, pixels, vision) {
  const { hiddenSize, patchSize, numPatches } = vision;
  const sides = { ints: [patchSize, patchSize] };
  const kernel = await writer.tensor(`${VISION}.embeddings.patch_embedding.weight`);
  const bias = vision.patchBias ? [await writer.vectors([`${VISION}.embeddings.patch_embedding.bias`])] : [];
  const convolved = writer.node("Conv", [pixels, kernel, ...bias], {
    name: "patch_embedding",
    attributes: { kernel_shape: sides, strides: sides },
  });
  const rows = writer.node("Reshape", [convolved, writer.integers("patch_shape", [1, hiddenSize, numPatches])], {
    name: "patch_rows",
  });
  const patches = writer.node("Transpose", [rows], { name: "patches", attributes: { perm: { ints: [0, 2, 1] } } });
  let all = patches;
  if (vision.hasClassToken) {
    const classRow = await writer.tensor(`${VISION}.embeddings.class_embedding`, [1, 1, hiddenSize]);
    all = writer.node("Concat", [classRow, patches], { name: "with_class", attributes: { axis: { int: 1 } } });
  }
  return writer.node("Add", [all, await writer.tensor(`${VISION}.embeddings.position_embedding.weight`)], {
    name: "positioned",
  });
}

async function attention(writer, normed, { layer, vision }) {
  const names = ["q_proj", "k_proj", "v_proj"].map((name) => `${layer}.self_attn.${name}`);
  const inputs = [];
  for (const name of names) inputs.push(await writer.linear(normed, [`${name}.weight`], { bias: false }));
  const bias = await writer.vectors(names.map((name) => `${name}.bias`));
  const attended = multiHeadAttention(writer, [...inputs, bias], { layer, vision });
  return writer.linear(attended, [`${layer}.self_attn.out_proj.weight`]);
}

/**
 * The same with values wider than queries and keys by four zeros, which are cut off again: the WebGPU provider's flash attention
 * takes only heads of one width, so that here scores, softmax and sums are computed one after the other.
 */
async function exactAttention(writer, normed, { layer, vision }) {
  const { numAttentionHeads, headDim, hiddenSize } = vision;
  const label = `${layer}.attention`;
  const numExtra = 4;
  const numRows = vision.numPositions;
  const reshape = (input, name, lastSizes) =>
    writer.node("Reshape", [input, writer.integers(`${label}.${name}.shape`, [1, numRows, ...lastSizes])], {
      name: `${label}.${name}`,
    });
  const inputs = [];
  for (const name of ["q_proj", "k_proj", "v_proj"]) {
    inputs.push(await writer.linear(normed, [`${layer}.self_attn.${name}.weight`]));
  }
  const values = reshape(inputs.pop(), "values", [numAttentionHeads, headDim]);
  const padding = writer.integers(`${label}.padding`, [0, 0, 0, 0, 0, 0, 0, numExtra]);
  const padded = writer.node("Pad", [values, padding], { name: `${label}.padded` });
  inputs.push(reshape(padded, "wide_values", [numAttentionHeads * (headDim + numExtra)]));
  const attended = reshape(multiHeadAttention(writer, inputs, { layer, vision }), "wide", [
    numAttentionHeads,
    headDim + numExtra,
  ]);
  const bounds = [0, headDim, 3].map((value, index) => writer.integers(`${label}.cut.${index}`, [value]));
  const cut = writer.node("Slice", [attended, ...bounds], { name: `${label}.cut` });
  return writer.linear(reshape(cut, "rows", [hiddenSize]), [`${layer}.self_attn.out_proj.weight`]);
}

function multiHeadAttention(writer, inputs, { layer, vision }) {
  return writer.node("MultiHeadAttention", inputs, {
    name: `${layer}.attention`,
    attributes: { num_heads: { int: vision.numAttentionHeads }, scale: { float: 1 / Math.sqrt(vision.headDim) } },
  });
}

/** SmolVLM's pixel shuffle, blocks of s × s patches side by side in a row, and its linear layer. */
async function connector(writer, hidden, config) {
  const { vision, scaleFactor: scale } = config.multimodal;
  const side = Math.sqrt(vision.numPatches) / scale;
  const blocks = writer.integers("shuffle.blocks", [side, scale, side, scale * vision.hiddenSize]);
  const grid = writer.node("Reshape", [hidden, blocks], { name: "shuffle.grid" });
  const grouped = writer.node("Transpose", [grid], {
    name: "shuffle.grouped",
    attributes: { perm: { ints: [0, 2, 1, 3] } },
  });
  const rowShape = writer.integers("shuffle.rows", [1, side * side, scale * scale * vision.hiddenSize]);
  const rows = writer.node("Reshape", [grouped, rowShape], { name: "shuffled" });
  const features = await writer.linear(rows, ["connector.modality_projection.proj.weight"]);
  writer.node("Identity", [features], { name: "features_out", outputs: ["image_features"] });
  writer.graph.output("image_features", writer.type, [1, side * side, config.text.hiddenSize]);
}

async function projector(writer, hidden, config) {
  const { multimodal, text } = config;
  const keepsClass = multimodal.visionFeatureSelectStrategy === "full";
  const selected = keepsClass
    ? hidden
    : writer.node(
        "Slice",
        [
          hidden,
          writer.integers("first_patch", [1]),
          writer.integers("all_rows", [2n ** 62n]),
          writer.integers("row_axis", [1]),
        ],
        { name: "without_class" },
      );
  const inner = await writer.linear(selected, ["multi_modal_projector.linear_1.weight"]);
  const activated = writer.activation(multimodal.projectorHiddenAct, inner, "projector");
  const features = await writer.linear(activated, ["multi_modal_projector.linear_2.weight"]);
  writer.node("Identity", [features], { name: "features_out", outputs: ["image_features"] });
  const numRows = multimodal.vision.numPatches + (keepsClass ? 1 : 0);
  writer.graph.output("image_features", writer.type, [1, numRows, text.hiddenSize]);
}

async function layerNorm(writer, input, { norm, epsilon }) {
  const inputs = [input, await writer.tensor(`${norm}.weight`), await writer.tensor(`${norm}.bias`)];
  return writer.node("LayerNormalization", inputs, { name: norm, attributes: { epsilon, axis: { int: -1 } } });
}

/** [norm(a + b), a + b] */
async function skipNorm(writer, inputs, { norm, epsilon }) {
  const scaleAndShift = [await writer.tensor(`${norm}.weight`), await writer.tensor(`${norm}.bias`)];
  const [normed, , , sum] = writer.node("SkipLayerNormalization", [...inputs, ...scaleAndShift], {
    name: norm,
    attributes: { epsilon },
    outputs: [`${norm}.normed`, "", "", `${norm}.sum`],
  });
  return [normed, sum];
}
