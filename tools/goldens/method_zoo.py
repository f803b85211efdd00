"""Methods that edit scores and contrast logits, on two tiny checkpoints, computed in float64.

    python tools/goldens/method_zoo.py test/golden

Reads test/golden/llava-deep (grouped-query attention) and tiny-llava, writes test/golden/method-zoo/cases.json and, for each,
{checkpoint}.safetensors:
  pixel_values [1, 3, S, S] · input_ids [n] (one image token)
  {case}.probs.{layer} [H, T] (last prompt row, after the softmax) · {case}.step_logits [5, V] (row i chose generated[i]; a token
  that is ruled out has -1e9) · {case}.generated [5] (greedy)
cases.json lists the cases with the settings of the method, spelled as the engine does, and what the method made of them: the factor
that a gate chose, the heads that were drawn.

Every formula is written from its paper, or from what the authors' code computes where src/interventions says so:
  pai           s + alpha · |s| on image columns; gamma · logits − (gamma − 1) · logits without the image tokens, of tokens whose
                probability is at least a share of the largest
  vaf           enhancement · s on image columns and suppression · s on those before, for all rows after the picture
  m3id          log p + (exp(forgetting · t) − 1) · (log p − log p without the image tokens) where max p < certainty; t is 1 for the
                first token
  adaptvis      factor · s on image columns in the last prompt row; with gateWidth w the factor is alpha1 + t (alpha2 − alpha1),
                t = clamp((confidence − beta) / w + 1/2, 0, 1)
  strengths     a strength c of a layer and head becomes n + share · (c − n), n being 1 for factors and 0 for the others
  randomHeads   only the heads that a Fisher–Yates shuffle of all (layer, head) pairs puts first keep their strength
"""

import json
import math
import sys
from pathlib import Path

import numpy
import torch
import transformers

from contrast_methods import RULED_OUT, finalise, implausible
from reference import SMALLEST_LEAD, decoder_of, expand, i32, numbers, prefill, save
from score_edits import active, load_float64

CHECKPOINTS = ["llava-deep", "tiny-llava"]
SEED = 154
NEW_TOKENS = 5
FOREVER = 10**6
SMALLEST_GAP = 1e-3

# Random numbers rounded to f32, from -1 to 2.
SHARES = {
    "llava-deep": [[0.5, -1, 2, 0], [1, 1.5, 0, 0.25], [0, 0, 0, 0], [2, 1, -0.5, 0.75]],
    "tiny-llava": [[0.5, -1, 2, 0], [1, 1.5, 0, 0.25]],
}
CASES = {
    "pai": ("pai", {"layers": [1]}),
    "pai-far": ("pai", {"alpha": 0.6, "gamma": 2.5, "plausibility": 0.01, "layers": [0, 1], "heads": [0, 3]}),
    "pai-attention": ("pai", {"gamma": 1, "alpha": 1, "layers": [1], "rows": "last"}),
    "vaf": ("vaf", {"layers": [0, 1]}),
    "vaf-strong": ("vaf", {"enhancement": 1.9, "suppression": 0.4, "layers": [1], "heads": [0, 2]}),
    "m3id": ("m3id", {"certainty": 1, "forgetting": 0.4}),
    "m3id-gated": ("m3id", {"certainty": {"llava-deep": 0.14, "tiny-llava": 0.12}, "forgetting": 0.3}),
    "adaptvis-continuous": ("adaptvis", {"alpha1": 0.2, "alpha2": 2, "beta": 0.2, "gateWidth": 0.6}),
    "adaptvis-strengths": ("adaptvis", {"alpha1": 0.3, "beta": 1, "strengths": SHARES, "rows": "generated"}),
    "scaling-random": ("scaling", {"factor": 3, "randomHeads": 3, "headSeed": 11, "rows": "generated"}),
    "knock-out-patches": ("knock-out", {"patches": [0, 4, 5, 8], "rows": "after-image", "layers": [0]}),
    "constant-patches": ("constant-add", {"constant": 2, "patches": [7, 2], "layers": [1], "rows": {"last": 4}}),
}


def drawn(num_layers, num_heads, count, seed):
    """(layer, head) pairs."""
    pairs = [(layer, head) for layer in range(num_layers) for head in range(num_heads)]
    start = int(finalise(numpy.array([seed]))[0])
    for index in range(count):
        word = int(finalise(numpy.array([(start + (index + 1) * 0x9E3779B9) % 2**32]))[0])
        other = index + math.floor(word / 2**32 * (len(pairs) - index))
        pairs[index], pairs[other] = pairs[other], pairs[index]
    return pairs[:count]


def edits_of(method, settings, prompt, sizes, confidence):
    """Edits (operation, start, end, columns, strengths [L, H]) and what is reported."""
    (start, end), length = prompt
    num_layers, num_heads = sizes
    image = list(range(start, end))
    rows = settings.get("rows", {"pai": "generated", "vaf": "after-image"}.get(method, "last"))
    named = {"last": (length - 1, length), "generated": (length - 1, FOREVER), "after-image": (end, FOREVER)}
    first, behind = named[rows] if isinstance(rows, str) else (length - rows["last"], length)
    chosen = [image[patch] for patch in sorted(settings["patches"])] if "patches" in settings else image
    about = {}
    if method == "pai":
        edits = [("add-magnitude", settings.get("alpha", 0.2), 0, chosen)]
    elif method == "vaf":
        edits = [("multiply", settings.get("enhancement", 1.15), 1, chosen),
                 ("multiply", settings.get("suppression", 0.95), 1, list(range(start)))]
    elif method == "adaptvis":
        alpha1, alpha2, width = settings.get("alpha1", 0.5), settings.get("alpha2", 1.5), settings.get("gateWidth", 0)
        lead = confidence - settings["beta"]
        share = (1.0 if lead >= 0 else 0.0) if width == 0 else min(max(lead / width + 0.5, 0), 1)
        about["factor"] = alpha1 + share * (alpha2 - alpha1)
        edits = [("multiply", about["factor"], 1, chosen)]
    elif method == "scaling":
        edits = [("multiply", settings["factor"], 1, chosen)]
    elif method == "constant-add":
        edits = [("add", settings["constant"], 0, chosen)]
    elif method == "knock-out":
        edits = [("knock-out", 1, 0, chosen)]
    else:
        edits = []
    shares = torch.tensor(settings.get("strengths", [[1.0] * num_heads] * num_layers), dtype=torch.float64)
    if "randomHeads" in settings:
        about["heads"] = drawn(num_layers, num_heads, settings["randomHeads"], settings["headSeed"])
        shares = torch.tensor([[1.0 if (layer, head) in about["heads"] else 0.0 for head in range(num_heads)]
                               for layer in range(num_layers)], dtype=torch.float64)
    acts = torch.tensor([[layer in settings.get("layers", range(num_layers)) and head in settings.get("heads", range(num_heads))
                          for head in range(num_heads)] for layer in range(num_layers)])
    made = []
    for operation, strength, neutral, columns in edits:
        table = torch.where(acts, neutral + shares * (strength - neutral), torch.tensor(float(neutral), dtype=torch.float64))
        made.append((operation, first, behind, torch.tensor(columns), table))
    return made, about


def contrasted(method, settings, logits, other, index):
    """Logits after the method's contrast, and whether there was one."""
    if method == "pai" and settings.get("gamma", 1.1) != 1:
        gamma = settings.get("gamma", 1.1)
        combined = gamma * logits - (gamma - 1) * other
        return combined.masked_fill(implausible(logits, settings.get("plausibility", 0.1)), RULED_OUT), True
    if method == "m3id":
        certainty, largest = settings["certainty"], logits.softmax(-1).max()
        assert (largest - certainty).abs() > SMALLEST_GAP, f"the largest probability is {largest}, at the threshold"
        if largest >= certainty:
            return logits, False
        weight = math.exp(settings["forgetting"] * (index + 1)) - 1
        log_p, log_other = logits.log_softmax(-1), other.log_softmax(-1)
        return log_p + weight * (log_p - log_other), True
    return logits, False


@torch.no_grad()
def make(golden, checkpoint):
    """The tensors of one checkpoint, and its cases."""
    model = load_float64(golden / checkpoint)
    config, image = decoder_of(model).config, model.config.image_token_id
    sizes = (config.num_hidden_layers, config.num_attention_heads)
    generator = torch.Generator().manual_seed(SEED)
    side, patch = model.config.vision_config.image_size, model.config.vision_config.patch_size
    pixels = torch.randn(1, 3, side, side, generator=generator)
    ids = [1, *numbers(3, generator), image, *numbers(9, generator)]
    expanded, [(start, end)] = expand(ids, image, (side // patch) ** 2)
    prompt = ((start, end), len(expanded))
    pictures = {"pixel_values": pixels.double()}
    blind = [token for token in expanded if token != image]
    active["edits"], active["probs"] = [], None
    probabilities = prefill(model, expanded, **pictures).logits[0, -1].softmax(-1)
    exact = float(probabilities.max())
    confidence = float(numpy.round(exact, 2))
    assert abs(exact * 100 % 1 - 0.5) > 1e-2, "the confidence is at the edge between two roundings"
    tensors = {"pixel_values": pixels, "input_ids": i32(ids)}
    listed = []
    for name, (method, given) in CASES.items():
        settings = {key: value[checkpoint] if isinstance(value, dict) and checkpoint in value else value for key, value in given.items()}
        edits, about = edits_of(method, settings, prompt, sizes, confidence)
        generated, steps, contrasts = [], [], []
        for index in range(NEW_TOKENS):
            active["edits"], active["probs"] = edits, []
            logits = prefill(model, expanded + generated, **pictures).logits[0, -1]
            if index == 0:
                tensors.update({f"{name}.probs.{layer}": probs for layer, probs in enumerate(active["probs"])})
            active["edits"], active["probs"] = [], None
            other = prefill(model, blind + generated).logits[0, -1]
            logits, has_contrast = contrasted(method, settings, logits, other, index)
            best = logits.topk(2).values
            assert best[0] - best[1] > SMALLEST_LEAD, f"{checkpoint} {name}, step {index}: the lead is {best[0] - best[1]:.1e} only"
            generated.append(int(logits.argmax()))
            assert generated[-1] != image, f"{checkpoint} {name}, step {index}: the image token was generated"
            steps.append(logits)
            contrasts.append(has_contrast)
        assert name != "m3id-gated" or len(set(contrasts)) == 2, "the gate of M3ID does the same at every step"
        tensors[f"{name}.step_logits"], tensors[f"{name}.generated"] = torch.stack(steps), i32(generated)
        print(f"{checkpoint:12} {name:20} {generated} contrasted {contrasts} {about}")
        listed.append({"name": name, "method": method, "settings": settings, **about})
    return tensors, listed


def main():
    golden = Path(sys.argv[1])
    cases = {}
    for checkpoint in CHECKPOINTS:
        tensors, cases[checkpoint] = make(golden, checkpoint)
        save(tensors, golden / "method-zoo" / f"{checkpoint}.safetensors", checkpoint, SEED)
    versions = {"torch": torch.__version__, "transformers": transformers.__version__, "numpy": numpy.__version__}
    content = {"versions": versions, "seed": SEED, "dtype": "float64", "cases": cases}
    (golden / "method-zoo" / "cases.json").write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
