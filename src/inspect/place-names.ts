// The places of a model that can be read and written, by name: ours, which follow the checkpoint's modules, and TransformerLens'
// names for them. https://transformerlensorg.github.io/TransformerLens/content/model_structure.html
import { InputError } from "../errors.ts";
import type { TextConfig } from "../models/config.ts";

/** A place, or the same place in every layer. */
export interface PlaceKind {
  /** With N for the layer. */
  readonly name: string;
  /** Of what is read: n positions, H heads, S keys, D hidden size, I inner size, V vocabulary, Dv the vision tower's hidden size. */
  readonly shape: string;
  readonly content: string;
  /** Whether one axis is the heads, of which some can be selected. */
  readonly hasHeads?: true;
  /** Whether it holds hidden states that can be written. */
  readonly isWritable?: true;
}

/** Every place, in the order of the forward pass. */
export const PLACE_KINDS: readonly PlaceKind[] = [
  {
    name: "vision.hidden_states.N",
    shape: "[tiles, P + 1, Dv]",
    content: "the vision tower, read whole: 0 is its input",
  },
  { name: "inputs_embeds", shape: "[n, D]", content: "the decoder's input", isWritable: true },
  { name: "inputs_embeds.logit_lens", shape: "[n, V]", content: "its logits through the final norm and lm_head" },
  { name: "layers.N.input_layernorm", shape: "[n, D]", content: "the attention's input" },
  {
    name: "layers.N.input_layernorm.scale",
    shape: "[n, 1]",
    content: "√(mean of squares + eps), which the norm divides by",
  },
  { name: "layers.N.input_layernorm.normalized", shape: "[n, D]", content: "divided by it, before the norm's weight" },
  {
    name: "layers.N.attention_scores",
    shape: "[n, H, S]",
    content: "before edits and softmax; 0 for keys after the row itself",
    hasHeads: true,
  },
  {
    name: "layers.N.attention_probs",
    shape: "[n, H, S]",
    content: "as used, after edits and softmax",
    hasHeads: true,
  },
  {
    name: "layers.N.self_attn",
    shape: "[n, H, headDim]",
    content: "output of each head, before o_proj",
    hasHeads: true,
  },
  {
    name: "layers.N.head_outputs",
    shape: "[n, H, D]",
    content: "what each head adds to the residual stream: its columns of o_proj, without bias",
    hasHeads: true,
  },
  { name: "layers.N.attention_output", shape: "[n, D]", content: "what the attention adds to the residual stream" },
  {
    name: "layers.N.self_attn.o_proj",
    shape: "[n, D]",
    content: "the residual stream after the attention",
    isWritable: true,
  },
  { name: "layers.N.post_attention_layernorm", shape: "[n, D]", content: "the MLP's input" },
  { name: "layers.N.post_attention_layernorm.scale", shape: "[n, 1]", content: "as input_layernorm.scale" },
  { name: "layers.N.post_attention_layernorm.normalized", shape: "[n, D]", content: "as input_layernorm.normalized" },
  { name: "layers.N.mlp.act_fn", shape: "[n, I]", content: "the MLP's inner values, activation(gate) · up" },
  { name: "layers.N.mlp_output", shape: "[n, D]", content: "what the MLP adds to the residual stream" },
  {
    name: "layers.N.mlp.down_proj",
    shape: "[n, D]",
    content: "another name of layers.N.hidden_states",
    isWritable: true,
  },
  { name: "layers.N.hidden_states", shape: "[n, D]", content: "the residual stream after layer N", isWritable: true },
  { name: "layers.N.logit_lens", shape: "[n, V]", content: "its logits through the final norm and lm_head" },
  { name: "norm.scale", shape: "[n, 1]", content: "of the final norm, as input_layernorm.scale" },
  { name: "norm.normalized", shape: "[n, D]", content: "of the final norm, as input_layernorm.normalized" },
];

/** TransformerLens' names, with N for the layer, and our places; `layers.N-1.hidden_states` is `inputs_embeds` for layer 0. */
export const TRANSFORMER_LENS_NAMES: Readonly<Record<string, string>> = {
  hook_embed: "inputs_embeds",
  "blocks.N.hook_resid_pre": "layers.N-1.hidden_states",
  "blocks.N.ln1.hook_scale": "layers.N.input_layernorm.scale",
  "blocks.N.ln1.hook_normalized": "layers.N.input_layernorm.normalized",
  "blocks.N.attn.hook_attn_scores": "layers.N.attention_scores",
  "blocks.N.attn.hook_pattern": "layers.N.attention_probs",
  "blocks.N.attn.hook_z": "layers.N.self_attn",
  "blocks.N.attn.hook_result": "layers.N.head_outputs",
  "blocks.N.hook_attn_out": "layers.N.attention_output",
  "blocks.N.hook_resid_mid": "layers.N.self_attn.o_proj",
  "blocks.N.ln2.hook_scale": "layers.N.post_attention_layernorm.scale",
  "blocks.N.ln2.hook_normalized": "layers.N.post_attention_layernorm.normalized",
  "blocks.N.mlp.hook_post": "layers.N.mlp.act_fn",
  "blocks.N.hook_mlp_out": "layers.N.mlp_output",
  "blocks.N.hook_resid_post": "layers.N.hidden_states",
  "ln_final.hook_scale": "norm.scale",
  "ln_final.hook_normalized": "norm.normalized",
};

/** Our name of a place: names of TransformerLens are translated, and a layer's hidden states are those after its MLP. */
export function canonicalPlace(place: string): string {
  const { kind, layer } = kindOf(place);
  const own = Object.hasOwn(TRANSFORMER_LENS_NAMES, kind) ? TRANSFORMER_LENS_NAMES[kind] : undefined;
  const name = own === undefined ? place : inLayer(own, layer);
  return name.replace(/^(layers\.\d+)\.hidden_states$/, "$1.mlp.down_proj");
}

/** The kind of a place, by any of its names; undefined where there is none. */
export function placeKindOf(place: string): PlaceKind | undefined {
  const { kind } = kindOf(canonicalPlace(place));
  return PLACE_KINDS.find(({ name }) => name === kind);
}

/**
 * Checks that a model has a place, by any of its names.
 * @throws InputError that lists the places, or the layers.
 */
export function checkPlace(place: string, text: TextConfig, options: { readonly isWritten: boolean }): PlaceKind {
  const kind = placeKindOf(place);
  if (kind === undefined || (options.isWritten && kind.isWritable !== true)) {
    const verb = options.isWritten ? "written" : "read";
    throw new InputError(`${place} is not a place that can be ${verb}: expected ${known(place, options)}.`);
  }
  const { layer } = kindOf(place);
  if (layer !== undefined && !place.startsWith("vision.") && layer >= text.numHiddenLayers) {
    throw new InputError(`${place}: the decoder's layers are 0 to ${text.numHiddenLayers - 1}.`);
  }
  return kind;
}

/** A name with N for its layer, and the layer. */
function kindOf(place: string): { readonly kind: string; readonly layer: number | undefined } {
  const match = /^(layers|blocks|vision\.hidden_states)\.(\d+)(\.[\w.]+)?$/.exec(place);
  if (match === null) return { kind: place, layer: undefined };
  const [, start, layer, rest = ""] = match;
  return { kind: `${start}.N${rest}`, layer: Number(layer) };
}

function inLayer(name: string, layer: number | undefined): string {
  if (name.startsWith("layers.N-1.")) {
    return layer === 0 ? "inputs_embeds" : name.replace("N-1", String(Number(layer) - 1));
  }
  return name.replace("N", String(layer));
}

/** The names that a message offers, those of a layer without their prefix: it has room for 500 characters. */
function known(place: string, { isWritten }: { readonly isWritten: boolean }): string {
  const own = PLACE_KINDS.filter(({ isWritable }) => !isWritten || isWritable).map(({ name }) => name);
  const isForeign = /^(blocks\.|hook_|ln_final)/.test(place);
  const names = isForeign
    ? Object.keys(TRANSFORMER_LENS_NAMES).filter(
        (name) => !isWritten || placeKindOf(name.replace("N", "1"))?.isWritable,
      )
    : own.filter((name) => name !== "layers.N.mlp.down_proj" && !/layernorm\.(scale|normalized)$/.test(name));
  const prefix = isForeign ? "blocks.N." : "layers.N.";
  const inner = names.filter((name) => name.startsWith(prefix)).map((name) => name.slice(prefix.length));
  const outer = names.filter((name) => !name.startsWith(prefix) && !name.startsWith("vision."));
  const vision = isForeign || isWritten ? [] : ["vision.hidden_states.N"];
  return `${[...outer, ...vision].join(", ")}, or ${prefix} and ${inner.join(", ")}`;
}
