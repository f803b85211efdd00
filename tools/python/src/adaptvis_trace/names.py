"""TransformerLens' names of places, and adaptvis' own. The same table as in adaptvis, which a test compares."""

import re

TRANSFORMER_LENS_NAMES = {
    "hook_embed": "inputs_embeds",
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
}


def canonical_name(name: str) -> str:
    """adaptvis' name of a place, for example `layers.3.attention_probs` for `blocks.3.attn.hook_pattern`."""
    match = re.fullmatch(r"blocks\.(\d+)\.(.+)", name)
    kind = name if match is None else f"blocks.N.{match[2]}"
    own = TRANSFORMER_LENS_NAMES.get(kind)
    if own is None:
        return name
    if match is None:
        return own
    layer = int(match[1])
    if own.startswith("layers.N-1."):
        return "inputs_embeds" if layer == 0 else own.replace("N-1", str(layer - 1))
    return own.replace("N", str(layer), 1)
