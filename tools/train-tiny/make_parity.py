"""Writes Hugging Face's numbers for a few benchmark questions, for the engine's parity tests.

    [TINY_MODEL=tiny-habit] python make_parity.py --out parity.safetensors

Per question i: q{i}.input_ids [T], q{i}.pixel_values [3, side, side] (PIL backend), and per factor f:
q{i}.logits.{f} [vocabulary] of the first step and q{i}.generated.{f} (greedy ids, EOS included). The JSON beside it
names pictures, questions, answers and versions.
"""

import argparse
import json
from pathlib import Path

import PIL
import torch
import transformers
from PIL import Image
from safetensors.torch import save_file

from evaluate import SETS, load
from questions import PROMPT
from reference import Reference
from settings import SETTINGS

FACTORS = [1.0, 0.5, 1.5]
ROWS = {"Controlled_A": [0, 2], "Controlled_B": [1, 3], "COCO_one": [2, 4]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=Path("../../weights") / SETTINGS.name)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    torch.set_num_threads(1)
    reference = Reference(args.model)
    tensors, rows = {}, []
    for name in SETS:
        data = load(args.model / "benchmark" / "validation", name)
        for picture, question, gold in (data[i] for i in ROWS[name]):
            i = len(rows)
            inputs = reference.inputs([Image.open(picture)], [question])
            tensors[f"q{i}.input_ids"] = inputs["input_ids"][0].contiguous()
            tensors[f"q{i}.pixel_values"] = inputs["pixel_values"][0].contiguous()
            row = {"image": picture.relative_to(args.model).as_posix(), "prompt": PROMPT.format(question=question), "gold": gold, "replies": {}}
            for factor in FACTORS:
                reply = reference.ask(inputs, factor, 8)[0]
                tensors[f"q{i}.logits.{factor}"] = reply.logits.contiguous()
                tensors[f"q{i}.generated.{factor}"] = torch.tensor(reply.ids)
                row["replies"][str(factor)] = {"text": reply.text, "confidence": reply.confidence}
            rows.append(row)
    save_file(tensors, args.out)
    versions = {"transformers": transformers.__version__, "torch": torch.__version__, "pillow": PIL.__version__}
    report = {"generator": "tools/train-tiny/make_parity.py", "versions": versions, "factors": FACTORS, "rows": rows}
    args.out.with_suffix(".json").write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
