// The kernels in the order in which a forward pass runs them, and what their pages need beside the sources.

const SUBGROUPS = "WebGPU's feature “subgroups”";
const DECODE_CASE = "tiny-spatial's heads, 70 keys";

export const GROUPS = [
  {
    title: "Vision tower",
    text: "A picture is cut into patches; each layer of the encoder normalises, projects to queries, keys and values, attends, and runs an MLP. The linear layers and the attention are those of the prompt, too.",
    kernels: {
      "unfold-patches": { bounds: ["exact"] },
      "vision-embed": { bounds: ["oneRounding"] },
      "layer-norm": { bounds: ["layerNorm"] },
      "matmul-tiled": { bounds: ["linear"] },
      "matmul-octet": {
        bounds: ["linear"],
        needs: "subgroups of exactly eight threads, which CPU adapters such as lavapipe have",
      },
      "matmul-quad": { bounds: ["linear"], needs: SUBGROUPS },
      matmul: { bounds: ["linear"] },
      "attention-prefill-tiled": { bounds: ["attention", "attentionScores"] },
      "attention-prefill-quad": { bounds: ["attention", "attentionScores"], needs: SUBGROUPS },
      "attention-prefill": { bounds: ["attention", "attentionScores"] },
    },
  },
  {
    title: "Projector and prompt",
    text: "The projector's two linear layers bring the picture's features to the decoder's width; then the prompt's rows are put together: embeddings of the text, features where the picture stands.",
    again: ["matmul-tiled", "matmul-quad", "matmul"],
    kernels: {
      "embed-tokens": { bounds: ["exact"] },
      "combine-rows": {
        bounds: ["combineRows"],
        where:
          "It runs after each tile of a picture whose features are resized, in LLaVA-OneVision: of a picture alone in its prompt, where its tiles have more features than `vision_aspect_ratio` allows.",
      },
      "gather-rows": { bounds: ["exact"] },
    },
  },
  {
    title: "Decoder, the whole prompt (prefill)",
    text: "All rows of the prompt go through every layer at once and leave their keys and values in the cache.",
    again: ["matmul-tiled", "attention-prefill-tiled"],
    kernels: {
      "rms-norm": { bounds: ["rmsNorm"] },
      "head-norm": {
        bounds: ["rmsNorm"],
        where: "Only models with a norm of their queries and keys, such as Qwen3-VL, have it.",
      },
      "rope-append": { bounds: ["rope", "exact"] },
      "rope-append-packed": {
        bounds: ["rope"],
        where:
          "It takes rope-append's place in the prefill and in decode steps when the key/value cache is kept in f16 or in 8 bits.",
      },
      "gated-activation": { bounds: ["gatedActivation"] },
    },
  },
  {
    title: "Decoder, one token at a time (decode step)",
    text: "A step has one row per sequence, so that reading the weights takes nearly all of the time: these kernels fuse what comes after a matrix × vector product into it.",
    again: ["rms-norm"],
    kernels: {
      "quantize-activations": { bounds: [] },
      "qkv-rope-subgroup": { bounds: ["linear", "rope"], needs: SUBGROUPS },
      "qkv-rope-reduce": { bounds: ["linear", "rope"] },
      "qkv-rope": { bounds: ["linear", "rope"] },
      "attention-decode-split-tiled": { bounds: ["attention"], liveCase: DECODE_CASE },
      "attention-decode-split": { bounds: ["attention"], liveCase: DECODE_CASE },
      "attention-decode-reduce": { bounds: ["attention"], liveCase: DECODE_CASE },
      "attention-decode-quad": { bounds: ["attention", "attentionScores"], needs: SUBGROUPS, liveCase: DECODE_CASE },
      "matvec-subgroup": { bounds: ["linear"], needs: SUBGROUPS },
      "matvec-reduce": { bounds: ["linear"] },
      matvec: { bounds: ["linear"] },
      "gated-matvec-subgroup": { bounds: ["linear"], needs: SUBGROUPS },
      "gated-matvec-reduce": { bounds: ["linear"] },
      "gated-matvec": { bounds: ["linear"] },
    },
  },
  {
    title: "Choosing a token",
    text: "The last row's logits become the next token. A matrix × vector product with the vocabulary's matrix (lm_head) comes first.",
    again: ["matvec-subgroup", "matvec-reduce"],
    kernels: {
      "mask-tokens": {
        bounds: [],
        where:
          "It runs between lm_head and the choice of a token when the answer has to follow a grammar, such as a JSON schema.",
      },
      "repetition-penalty": {
        bounds: ["penalty"],
        where: "It runs between lm_head and the choice of a token when `sampling.repetitionPenalty` is not 1.",
      },
      "choose-token": { bounds: ["logSumExp"] },
      "top-k": {
        bounds: [],
        where:
          "It runs beside choose-token when more than the most probable token is needed: for sampling and for log-probabilities.",
      },
    },
  },
  {
    title: "Interventions",
    text: "These run only when an intervention asks for them; edits of attention scores themselves are part of the attention kernels.",
    kernels: {
      "add-rows": {
        bounds: ["oneRounding"],
        liveCase: "several rows, a workgroup less one vec4 wide",
        where: "It runs at any place of a layer to whose hidden states a vector is added, such as a steering vector.",
      },
      "sink-activations": {
        bounds: ["rmsNorm"],
        where: "It runs before the attention of layers in which visual attention is redistributed from sinks.",
      },
      "row-strengths": {
        bounds: ["attention", "attentionScores"],
        where: "It runs before the attention of layers with edits of the kinds “temperature” and “redistribute”.",
      },
    },
  },
  {
    title: "Loading weights",
    text: "Weights that are to be kept in 8 or 4 bits are packed once, on the GPU, as they arrive.",
    kernels: {
      quantize: {
        bounds: [],
        where:
          "It runs once per weight matrix while a checkpoint is loaded with its weights in q8 or q4 (`--dtype q8`).",
      },
      "quantize-minimum": {
        bounds: [],
        where: "It runs once per weight matrix while a checkpoint is loaded with its weights in q4_1 (`--dtype q4_1`).",
      },
    },
  },
];

/** Every kernel's entry by name, in that order. */
export const ENTRIES = new Map(GROUPS.flatMap(({ kernels }) => Object.entries(kernels)));
