"""VCD (arXiv 2311.16922) and DoLa (arXiv 2309.03883) on a tiny checkpoint, computed in float64.

    python tools/goldens/contrast_methods.py test/golden

Reads test/golden/llava-deep, writes test/golden/contrast-methods/cases.json and expected.safetensors:
  pixel_values [1, 3, S, S] · input_ids [n] (one image token) · expanded_ids [T]
  noise.{seed} [9] (first standard normal numbers) · remaining_variance [1000] (after each step of the diffusion process)
  {case}.noised [1, 3, S, S] (VCD: what the second stream sees) · {case}.layers [E] and {case}.chosen [6] (DoLa: the early layers, and
  the one that was contrasted with at each step)
  {case}.last [6, V] (logits before the contrast) · {case}.other [6, V] (VCD: of the second stream) or [6, E, V] (DoLa: early ones)
  {case}.step_logits [6, V] (after the contrast; a token that is ruled out has -1e9) · {case}.generated [6] (greedy)
cases.json lists the cases with the settings of the method, spelled as the engine does.

The formulas are written from the papers and, for `variant: "code"`, from what the authors' code computes; the divergences of
both use torch's kl_div. The noise comes from the generator that src/interventions/noise.ts describes.
"""

import json
import math
import sys
from pathlib import Path

import numpy
import torch
import transformers

from reference import SMALLEST_LEAD, decoder_of, expand, hidden_states, i32, numbers, prefill, save
from score_edits import active, load_float64

CHECKPOINT = "llava-deep"
SEED = 76
NEW_TOKENS = 6
RULED_OUT = -1e9
# No token's logit may be this near to the plausibility constraint's cut, and no early layer's divergence to the largest.
SMALLEST_GAP = 1e-3
SMALLEST_DIVERGENCE_LEAD = 1e-4

VCD = {"amplification": 1, "plausibility": 0.1, "noiseStep": 500, "noiseSeed": 0}
DOLA = {"candidates": "high", "plausibility": 0.1, "variant": "paper"}
CASES = {
    "vcd": ("vcd", {}),
    "vcd-far": ("vcd", {"amplification": 3, "plausibility": 0.01, "noiseStep": 999, "noiseSeed": 7}),
    "vcd-open": ("vcd", {"amplification": 0.5, "plausibility": 0, "noiseStep": 200, "noiseSeed": 4294967295}),
    "dola": ("dola", {}),
    "dola-low": ("dola", {"candidates": "low", "plausibility": 0.01}),
    "dola-later": ("dola", {"earlyLayers": [1, 2, 3], "plausibility": 0.001}),
    "dola-static": ("dola", {"earlyLayers": [1], "plausibility": 0}),
    "dola-code": ("dola", {"variant": "code"}),
    "dola-code-all": ("dola", {"earlyLayers": [0, 1, 2, 3], "plausibility": 0.001, "variant": "code"}),
}


def finalise(words):
    """MurmurHash3's 32-bit finaliser of a uint32 array."""
    words = words.astype(numpy.uint64)
    mask = numpy.uint64(0xFFFFFFFF)
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        words = ((words ^ (words >> numpy.uint64(shift))) * numpy.uint64(factor)) & mask
    return words ^ (words >> numpy.uint64(16))


def normals(count, seed):
    """`count` standard normal numbers in float64."""
    start = int(finalise(numpy.array([seed % 2**32]))[0])
    counters = (start + numpy.arange(1, count + count % 2 + 1, dtype=numpy.uint64) * numpy.uint64(0x9E3779B9)) % numpy.uint64(2**32)
    first, second = finalise(counters).astype(numpy.float64).reshape(-1, 2).T
    radius, angle = numpy.sqrt(-2 * numpy.log((first + 1) / 2**32)), 2 * numpy.pi * second / 2**32
    return numpy.stack([radius * numpy.cos(angle), radius * numpy.sin(angle)], 1).reshape(-1)[:count]


def remaining_variance():
    """The product of 1 - beta up to each of the 1000 steps."""
    betas = torch.sigmoid(torch.linspace(-6, 6, 1000, dtype=torch.float64)) * (0.5e-2 - 1e-5) + 1e-5
    return torch.cumprod(1 - betas, 0)


def noised(pixels, step, seed):
    """Pixel values after `step` steps of noise."""
    remaining = remaining_variance()[step]
    noise = torch.from_numpy(normals(pixels.numel(), seed)).reshape(pixels.shape)
    return (remaining.sqrt() * pixels.double() + (1 - remaining).sqrt() * noise).float().double()


def implausible(logits, plausibility):
    """Tokens below the cut of the adaptive plausibility constraint [V]."""
    if plausibility == 0:
        return torch.zeros_like(logits, dtype=torch.bool)
    cut = logits.max() + math.log(plausibility)
    assert (logits - cut).abs().min() > SMALLEST_GAP, "a token is at the cut"
    return logits < cut


def js_divergence(p, q, variant):
    """[V] log-probabilities each. torch's kl_div(input, target) is KL(target ‖ exp(input))."""
    mean = (p.exp() + q.exp()) / 2
    kl = lambda target, log_input: torch.nn.functional.kl_div(log_input, target, reduction="sum")
    if variant == "code":
        return (kl(mean, p) + kl(mean, q)) / 2
    return (kl(p.exp(), mean.log()) + kl(q.exp(), mean.log())) / 2


def candidates(half, num_layers):
    """Of an untied model of at most 40 layers."""
    return list(range(0, num_layers // 2, 2)) if half == "low" else list(range(num_layers // 2, num_layers, 2))


def vcd(model, ids, pixels, settings):
    """What VCD computes from the ids so far, step by step."""
    noisy = noised(pixels, settings["noiseStep"], settings["noiseSeed"])

    def step(ids):
        last = prefill(model, ids, pixel_values=pixels.double()).logits[0, -1]
        other = prefill(model, ids, pixel_values=noisy).logits[0, -1]
        combined = (1 + settings["amplification"]) * last - settings["amplification"] * other
        return {"last": last, "other": other, "step_logits": combined}

    return step, {"noised": noisy}


def dola(model, ids, pixels, settings):
    """What DoLa computes from the ids so far, step by step."""
    decoder = decoder_of(model)
    layers = settings.get("earlyLayers") or candidates(settings["candidates"], len(decoder.layers))

    def step(ids):
        states = hidden_states(model, ids, pixel_values=pixels.double())
        head = lambda state, is_normed: model.lm_head(decoder.norm(state) if is_normed else state)
        last = head(states[-1][-1], True)
        early = [head(states[layer][-1], settings["variant"] == "paper") for layer in layers]
        p, others = last.log_softmax(-1), [logits.log_softmax(-1) for logits in early]
        divergences = torch.stack([js_divergence(p, q, settings["variant"]) for q in others])
        if len(layers) > 1:
            best = divergences.topk(2).values
            assert best[0] - best[1] > SMALLEST_DIVERGENCE_LEAD, f"two layers differ alike: {divergences.tolist()}"
        chosen = int(divergences.argmax())
        return {"last": last, "other": torch.stack(early), "step_logits": p - others[chosen], "chosen": torch.tensor(layers[chosen])}

    return step, {"layers": i32(layers)}


@torch.no_grad()
def main():
    golden = Path(sys.argv[1])
    model = load_float64(golden / CHECKPOINT)
    image = model.config.image_token_id
    generator = torch.Generator().manual_seed(SEED)
    side = model.config.vision_config.image_size
    pixels = torch.randn(1, 3, side, side, generator=generator)
    ids = [1, *numbers(3, generator), image, *numbers(13, generator)]
    expanded, _ = expand(ids, image, (side // model.config.vision_config.patch_size) ** 2)
    tensors = {"pixel_values": pixels, "input_ids": i32(ids), "expanded_ids": i32(expanded)}
    tensors.update({f"noise.{seed}": torch.from_numpy(normals(9, seed)) for seed in (0, 1, 7, 4294967295)})
    tensors["remaining_variance"] = remaining_variance()
    active["edits"], active["probs"] = [], None
    listed = []
    for case, (method, given) in CASES.items():
        settings = {**(VCD if method == "vcd" else DOLA), **given}
        step, extra = (vcd if method == "vcd" else dola)(model, expanded, pixels, settings)
        tensors.update({f"{case}.{name}": tensor for name, tensor in extra.items()})
        steps, generated = [], []
        for index in range(NEW_TOKENS):
            values = step(expanded + generated)
            out = implausible(values["last"], settings["plausibility"])
            values["step_logits"] = values["step_logits"].masked_fill(out, RULED_OUT)
            best = values["step_logits"].topk(2).values
            assert best[0] - best[1] > SMALLEST_LEAD, f"{case}, step {index}: the best logit leads by {best[0] - best[1]:.1e} only"
            generated.append(int(values["step_logits"].argmax()))
            steps.append(values)
        tensors.update({f"{case}.{name}": torch.stack([values[name] for values in steps]) for name in steps[0]})
        tensors[f"{case}.generated"] = i32(generated)
        kept = [int((values["step_logits"] > RULED_OUT).sum()) for values in steps]
        plain = [int(values["last"].argmax()) for values in steps]
        chosen = [int(values["chosen"]) for values in steps if "chosen" in values]
        print(f"{case:14} {generated} uncontrasted {plain} plausible {kept} layers {chosen}")
        listed.append({"name": case, "method": method, "settings": given})
    folder = golden / "contrast-methods"
    save(tensors, folder / "expected.safetensors", CHECKPOINT, SEED)
    versions = {"torch": torch.__version__, "transformers": transformers.__version__, "numpy": numpy.__version__}
    content = {"versions": versions, "checkpoint": CHECKPOINT, "seed": SEED, "dtype": "float64", "cases": listed}
    (folder / "cases.json").write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
