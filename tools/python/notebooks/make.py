"""Makes attention.ipynb: writes a trace with the command, then executes the notebook's cells and keeps their outputs.

    python tools/python/notebooks/make.py

Needs the built command (`npm run build`) and the Python packages jupyter, matplotlib, numpy and safetensors.
"""

import os
import subprocess
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parents[3]
NOTEBOOK = Path(__file__).with_name("attention.ipynb")
PICTURE = "weights/tiny-spatial/demo/ball_behind_robot.png"
QUESTION = "Where is the ball in relation to the robot? Answer with left, right, front or behind."
READS = ['layers.*.attention_probs@last,"ball","robot"', "layers.*.head_outputs", "layers.*.logit_lens"]

CELLS = [
    ("markdown", f"""# Attention of a vision-language model, in Python

The trace of this notebook was written by

```sh
npx adaptvis trace --image {PICTURE} "{QUESTION}" \\
  {" ".join(f"--read '{read}'" for read in READS)} --method adaptvis --out trace.safetensors
```

on the embedded tiny-spatial (4 layers of 4 heads, 64 image tokens). `adaptvis-trace` needs numpy and safetensors, its plots matplotlib."""),
    ("code", """from adaptvis_trace import Trace

trace = Trace("trace.safetensors")
print(trace.answer, "| factor", trace.metadata["factor"], "| confidence", trace.metadata["confidence"])
print("ball:", trace.find("ball"), "robot:", trace.find("robot"), "layers:", trace.layers)
for name, read in list(trace.reads.items())[:2]:
    print(name, trace[name].shape, read.axes, read.positions)"""),
    ("markdown", "Where the last prompt token looks, per layer, as a mean over the heads:"),
    ("code", """import matplotlib.pyplot as plt

plt.rcParams.update({"figure.dpi": 60, "savefig.bbox": "tight", "font.size": 9})
image = "picture.png"
_, axes = plt.subplots(1, 4, figsize=(12, 3))
for layer, ax in zip(trace.layers, axes):
    trace.plot(layer, at="last", image=image, ax=ax, title=f"layer {layer}, {trace.share(layer):.0%} on the picture")
plt.show()"""),
    ("markdown", "The heads of one layer, and what each writes to the residual stream (the norm of its output):"),
    ("code", """import numpy as np

_, axes = plt.subplots(1, 4, figsize=(12, 3))
outputs = trace.rows("blocks.2.attn.hook_result")[0]  # [heads, hidden size]
for head, ax in enumerate(axes):
    norm = np.linalg.norm(outputs[head])
    trace.plot(2, head=head, at="last", image=image, ax=ax, title=f"layer 2, head {head}: {norm:.1f}")
plt.show()"""),
    ("markdown", "The logit lens: the probability of the answer's first token after each layer."),
    ("code", """first = int(trace["generated_ids"][0])
for layer in trace.layers:
    logits = trace.rows(f"layers.{layer}.logit_lens")[0].astype(np.float64)
    probabilities = np.exp(logits - logits.max())
    probabilities /= probabilities.sum()
    print(f"layer {layer}: {trace.tokens[trace.prompt_length].text!r} {probabilities[first]:.1%}")"""),
]


def main():
    with tempfile.TemporaryDirectory() as folder:
        reads = [argument for read in READS for argument in ("--read", read)]
        command = ["node", str(ROOT / "tools/adaptvis.mjs"), "trace", "--image", str(ROOT / PICTURE), QUESTION]
        out = ["--method", "adaptvis", "--out", str(Path(folder) / "trace.safetensors")]
        subprocess.run([*command, *reads, *out], check=True)
        small_picture(ROOT / PICTURE, Path(folder) / "picture.png")
        cells = [getattr(nbformat.v4, f"new_{kind}_cell")(text) for kind, text in CELLS]
        for index, cell in enumerate(cells):
            cell["id"] = f"cell-{index}"  # random ones would change at every run
        kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
        notebook = nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel})
        os.environ["PYTHONPATH"] = str(ROOT / "tools/python/src")
        NotebookClient(notebook, resources={"metadata": {"path": folder}}, record_timing=False).execute()
        nbformat.write(notebook, NOTEBOOK)
    print(NOTEBOOK, NOTEBOOK.stat().st_size)


def small_picture(source, target):
    """A notebook's pictures are small, and so is what they show."""
    from PIL import Image

    Image.open(source).convert("RGB").resize((112, 112)).save(target)


if __name__ == "__main__":
    main()
