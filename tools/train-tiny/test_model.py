"""The packed training forward pass gives the logits of Hugging Face's, on the checkpoint in f32.

    [TINY_MODEL=tiny-habit] python test_model.py
"""

import argparse
from pathlib import Path

import torch
from PIL import Image
from safetensors.torch import load_file

from evaluate import SETS, load
from model import TinyLlava, load_config
from questions import PROMPT
from reference import Reference
from settings import SETTINGS
from world import to_model_side

BOUND = 2e-4  # f32, logits of magnitude about 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=Path("../../weights") / SETTINGS.name)
    folder = parser.parse_args().model
    torch.set_num_threads(1)
    reference = Reference(folder)
    model = TinyLlava(load_config(folder)).eval()
    model.load_state_dict({name: t.float() for name, t in load_file(folder / "model.safetensors").items()})
    rows = [load(folder / "benchmark" / "validation", name)[5] for name in SETS]
    encode = lambda q: reference.processor.tokenizer(PROMPT.format(question=q).removeprefix("<image>"), add_special_tokens=False).input_ids  # noqa: E731
    for path, *_ in rows:
        picture = Image.open(path)
        prompts = [encode(question) for _, question, _ in rows]
        ids = torch.zeros(1, len(rows), max(map(len, prompts)), dtype=torch.long)
        for i, prompt in enumerate(prompts):
            ids[0, i, : len(prompt)] = torch.tensor(prompt)
        with torch.inference_mode():
            _, tokens = model.see(torch.from_numpy(to_model_side(picture).copy())[None])
            packed = model.logits(model.read(tokens, ids)[0][-1])
        for i, (_, question, _) in enumerate(rows):
            logits = reference.ask(reference.inputs([picture], [question]), 1.0)[0].logits
            error = (packed[0, i, len(prompts[i]) - 1] - logits).abs().max().item()
            assert error <= BOUND, f"{path.name}, question {i}: max |Δlogit| {error:.2e}"
            print(f"{path.name}, question {i}: max |Δlogit| {error:.2e}")


if __name__ == "__main__":
    main()
