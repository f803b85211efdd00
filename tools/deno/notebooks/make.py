"""Makes attention.ipynb: executes its cells with Deno's Jupyter kernel and keeps their outputs.

    python tools/deno/notebooks/make.py

Needs `npm ci`, `npm run build`, a Vulkan driver (lavapipe will do), and the Python package jupyter.
"""

import json
import os
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parents[3]
NOTEBOOK = Path(__file__).with_name("attention.ipynb")

CELLS = [
    ("markdown", """# Attention of a vision-language model, in Deno

The library itself, on Deno's built-in WebGPU, in a notebook: `deno jupyter --install` adds the kernel. Outside of a checkout, import from `npm:adaptvis`. The model is the embedded tiny-spatial (4 layers of 4 heads, 64 image tokens)."""),
    ("code", """import { attributeLogit, fileSource, Llava, logitLens, readImageFile, requestGpuDevice } from "../../../dist/deno.js";

const folder = "../../../weights/tiny-spatial";
const picture = `${folder}/demo/ball_behind_robot.png`;
const device = await requestGpuDevice(await navigator.gpu.requestAdapter());
const model = await Llava.load(fileSource(folder), { device });
const image = await readImageFile(picture);
const question = "Where is the ball in relation to the robot? Answer with left, right, front or behind.";
const inputs = model.prepare({ image, question });
const { answer, tensors, metadata } = await model.trace(inputs, { method: "adaptvis" }, {
  read: ["layers.*.attention_probs@last", "blocks.2.attn.hook_result"],
});
console.log([
  `${answer.text} | factor ${answer.factor} | confidence ${answer.confidence}`,
  ...tensors.map(({ name, shape }) => `${name} [${shape}]`),
].join("\\n"));"""),
    ("markdown", "Where the last prompt token looks, per layer, as a mean over the heads. `pictures` in the metadata has the part of the picture that each image token shows."),
    ("code", """const [{ runs, cells }] = JSON.parse(metadata.pictures);
const positions = runs.flatMap(([start, end]) => Array.from({ length: end - start }, (_, index) => start + index));
const bytes = await Deno.readFile(picture);
const href = `data:image/png;base64,${btoa(String.fromCharCode(...bytes))}`;

/** The mean over heads of attention [1, H, S], on the picture's tokens. */
function onPicture({ shape: [, heads, keys], data }) {
  return positions.map((key) => Array.from({ length: heads }, (_, head) => data[head * keys + key] / heads).reduce((a, b) => a + b));
}

const maps = [0, 1, 2, 3].map((layer) => onPicture(tensors.find(({ name }) => name === `layers.${layer}.attention_probs`)));
const drawn = maps.map((attention, layer) => {
  const most = Math.max(...attention);
  const share = attention.reduce((a, b) => a + b);
  const squares = cells.map((cell, index) => {
    const [left, top, right, bottom] = cell.map((side) => side * 112);
    const fill = `rgba(255,60,0,${(0.8 * attention[index] / most).toFixed(2)})`;
    return `<rect x="${left}" y="${top}" width="${right - left}" height="${bottom - top}" fill="${fill}"/>`;
  });
  return `<g transform="translate(${layer * 124},16)"><text y="-4" font-size="10">layer ${layer}: ${(100 * share).toFixed(0)} % on it</text>
<use href="#picture"/>${squares.join("")}</g>`;
});
Deno.jupyter.svg`<svg xmlns="http://www.w3.org/2000/svg" width="496" height="132">
<defs><image id="picture" href="${href}" width="112" height="112"/></defs>${drawn.join("")}</svg>`"""),
    ("markdown", "The logit lens: what each patch of the picture would say after the last layer, and the last prompt token after every layer."),
    ("code", """const words = await logitLens(model, inputs, { layers: [3], positions: "image", topTokens: 1 });
const grid = words.rows.map(({ tokens: [token] }) => token.text.trim().padEnd(8));
const lines = Array.from({ length: 8 }, (_, row) => grid.slice(8 * row, 8 * row + 8).join(" "));

const last = await logitLens(model, inputs, { method: "adaptvis", topTokens: 3 });
for (const { layer, tokens } of last.rows) {
  const shown = tokens.map(({ text, probability }) => `${text} ${(100 * probability).toFixed(1)} %`);
  lines.push(`${layer < 0 ? "input" : `layer ${layer}`}: ${shown.join(",")}`);
}
console.log(lines.join("\\n"));"""),
    ("markdown", "What every head adds to the logit of ` Behind` against that of ` Left`:"),
    ("code", """const { logit, sum, parts } = await attributeLogit(model, inputs, { method: "adaptvis", token: "Behind", against: "Left" });
const largest = [...parts].sort((a, b) => Math.abs(b.value) - Math.abs(a.value)).slice(0, 5);
console.log([
  `logit ${logit.toFixed(4)}, sum of the parts ${sum.toFixed(4)}`,
  ...largest.map(({ kind, layer, head, value }) => `layer ${layer}, ${kind} ${head ?? ""}: ${value.toFixed(3)}`),
].join("\\n"));
model.dispose();"""),
]


def main():
    with tempfile.TemporaryDirectory() as folder:
        kernel = Path(folder) / "kernels" / "deno"
        kernel.mkdir(parents=True)
        deno = str(ROOT / "node_modules" / ".bin" / "deno")
        spec = {"argv": [deno, "jupyter", "--kernel", "--conn", "{connection_file}"], "display_name": "Deno", "language": "typescript"}
        (kernel / "kernel.json").write_text(json.dumps(spec))
        os.environ["JUPYTER_PATH"] = folder
        cells = [getattr(nbformat.v4, f"new_{kind}_cell")(text) for kind, text in CELLS]
        for index, cell in enumerate(cells):
            cell["id"] = f"cell-{index}"  # random ones would change at every run
        metadata = {"kernelspec": {"name": "deno", "display_name": "Deno", "language": "typescript"}}
        notebook = nbformat.v4.new_notebook(cells=cells, metadata=metadata)
        resources = {"metadata": {"path": str(NOTEBOOK.parent)}}
        NotebookClient(notebook, kernel_name="deno", resources=resources, record_timing=False, timeout=300).execute()
        nbformat.write(notebook, NOTEBOOK)
    print(NOTEBOOK, NOTEBOOK.stat().st_size)


if __name__ == "__main__":
    main()
