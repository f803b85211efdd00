"""DoLa as transformers itself decodes with it, by the last versions that have `dola_layers`: version 4.52.4 here, not that of requirements.txt.

    pip install --target FOLDER --no-deps transformers==4.52.4 tokenizers==0.21.1 huggingface_hub==0.33.0 requests
    PYTHONPATH=FOLDER python tools/goldens/dola_transformers.py test/golden

Reads the decoder of test/golden/llava-deep (untied, 4 layers) and test/golden/llama-text-tied (2 layers), writes
test/golden/contrast-methods/transformers.safetensors:
  {checkpoint}.input_ids [n]
  {checkpoint}.{case}.generated [6] (greedy) · {checkpoint}.{case}.step_logits [6, V] (its processed scores; -1e9 where it has -inf)
A case is the value of dola_layers with dashes, and "penalised" behind it where the repetition penalty is 1.2. f32, eager attention.
"""

import json
import sys
from pathlib import Path

import torch
import transformers
from safetensors.torch import load_file, save as serialise
from transformers import LlamaConfig, LlamaForCausalLM

NEW_TOKENS = 6
SMALLEST_LEAD = 1e-3
RULED_OUT = -1e9
PREFIX = "language_model."
# Seeds of the prompts, chosen so that at every step the best score leads by SMALLEST_LEAD.
CHECKPOINTS = {"llava-deep": 1, "llama-text-tied": 1}
CASES = {
    "llava-deep": {"low": ("low", 1.0), "high": ("high", 1.0), "0-1-2-3": ([0, 1, 2, 3], 1.0), "high-penalised": ("high", 1.2)},
    "llama-text-tied": {"low": ("low", 1.0), "0-1": ([0, 1], 1.0)},
}


def load(folder):
    """The decoder alone."""
    config = json.loads((folder / "config.json").read_text())
    text = {**config.get("text_config", config)}
    assert text.pop("rope_parameters") == {"rope_theta": 10000.0, "rope_type": "default"}, "4.52 would not read others"
    model = LlamaForCausalLM._from_config(LlamaConfig(**text), attn_implementation="eager", torch_dtype=torch.float32)
    tensors = load_file(folder / "model.safetensors")
    if "text_config" in config:
        tensors = {name[len(PREFIX):]: tensor for name, tensor in tensors.items() if name.startswith(PREFIX)}
    missing, unexpected = model.load_state_dict(tensors, strict=False)
    assert not unexpected and set(missing) <= {"lm_head.weight"}, (missing, unexpected)
    model.tie_weights()
    return model.eval()


def with_sorted_metadata(data):
    """As in reference.py, which needs a later transformers."""
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:end])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + data[end:]


@torch.no_grad()
def main():
    assert transformers.__version__ == "4.52.4", transformers.__version__
    torch.set_num_threads(1)
    golden = Path(sys.argv[1])
    tensors = {}
    for checkpoint, seed in CHECKPOINTS.items():
        model = load(golden / checkpoint)
        generator = torch.Generator().manual_seed(seed)
        ids = [1, *torch.randint(3, 115, (9,), generator=generator).tolist()]
        tensors[f"{checkpoint}.input_ids"] = torch.tensor(ids, dtype=torch.int32)
        for case, (layers, penalty) in CASES[checkpoint].items():
            model.generation_config.eos_token_id = None
            output = model.generate(torch.tensor([ids]), attention_mask=torch.ones(1, len(ids)), dola_layers=layers, do_sample=False,
                                    repetition_penalty=penalty, max_new_tokens=NEW_TOKENS, output_scores=True, pad_token_id=0,
                                    output_hidden_states=True, return_dict_in_generate=True)
            scores = torch.stack([step[0] for step in output.scores])
            best = scores.topk(2).values
            lead = (best[:, 0] - best[:, 1]).min()
            assert lead > SMALLEST_LEAD, f"{checkpoint} {case}: the best score leads by {lead:.1e} only"
            generated = output.sequences[0, len(ids):]
            print(f"{checkpoint:16} {case:16} {generated.tolist()} plausible {scores.isfinite().sum(1).tolist()}")
            tensors[f"{checkpoint}.{case}.generated"] = generated.to(torch.int32)
            tensors[f"{checkpoint}.{case}.step_logits"] = scores.masked_fill(scores.isinf(), RULED_OUT)
    file = golden / "contrast-methods" / "transformers.safetensors"
    file.parent.mkdir(exist_ok=True)
    metadata = {"torch": torch.__version__, "transformers": transformers.__version__, "seeds": json.dumps(CHECKPOINTS)}
    file.write_bytes(with_sorted_metadata(serialise({name: tensor.contiguous() for name, tensor in tensors.items()}, metadata)))
    print(file, file.stat().st_size)


if __name__ == "__main__":
    main()
