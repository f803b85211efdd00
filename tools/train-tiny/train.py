"""Trains the checkpoint. Resumable: run the same command again.

    python train.py vision --work-dir DIR            # stage 1: vision tower on patch labels
    python train.py joint  --work-dir DIR --out DIR  # stage 2: everything; auxiliary losses fade out on the way

Every batch is a function of (seed, stage, step), so a resumed run is the run.
"""

import argparse
import math
import os
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from torch import nn

from batches import KINDS, Batch, Batcher, Pool
from model import TinyLlava, export, load_config
from probes import PatchProbe, TextProbe
from settings import SETTINGS

STAGES = ["vision", "joint"]  # a stage's place here is part of the seeds of its batches


class Trainer:
    """The model with its probes, one optimiser, and the schedule of one stage."""

    def __init__(self, args: argparse.Namespace):
        self.args = args
        torch.manual_seed(args.seed)
        torch.set_num_threads(args.threads)
        self.model = TinyLlava(load_config(args.model_dir))
        self.probes = nn.ModuleDict({"feature": PatchProbe(128), "token": PatchProbe(128), "text": TextProbe(128)})
        tokenizer = Tokenizer.from_file(str(args.model_dir / "tokenizer.json"))
        self.tokenizer = tokenizer
        self.batcher = self.make_batcher()
        named = [*self.model.named_parameters(), *self.probes.named_parameters()]
        groups = defaultdict(list)
        for name, p in named:
            groups[0.02 if p.ndim > 1 else 0.0, self.share_of_rate(name)].append(p)
        self.optimiser = torch.optim.AdamW(
            [{"params": group, "weight_decay": decay, "share_of_rate": share} for (decay, share), group in groups.items()],
            lr=args.lr,
            betas=(0.9, 0.98),
            fused=True,
        )
        self.parameters = [p for _, p in named]
        self.step = 0

    def make_batcher(self) -> Batcher:
        return Batcher(Pool(self.args.work_dir), self.tokenizer)

    def share_of_rate(self, name: str) -> float:
        """The share of the learning rate that a parameter learns at."""
        return 1.0

    def rate(self) -> float:
        """Linear warm-up, then cosine to a hundredth."""
        warm = min(1.0, (self.step + 1) / 200)
        done = self.step / self.args.steps
        return self.args.lr * warm * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * done)))

    def fade(self) -> float:
        """Weight of the auxiliary losses: 1, from `fade_from` falling to 0 at `fade_to` (shares of the stage)."""
        done = self.step / self.args.steps
        return min(1.0, max(0.0, (self.args.fade_to - done) / (self.args.fade_to - self.args.fade_from)))

    def vision_loss(self, rng: np.random.Generator) -> tuple[torch.Tensor, dict[str, float]]:
        batch = self.batcher.pictures(rng, self.args.batch, self.num_chunks())
        with torch.autocast("cpu", torch.bfloat16):
            features, _ = self.model.see(batch.images)
        return self.probes["feature"](features, batch)

    def questions(self, rng: np.random.Generator) -> Batch:
        return self.batcher.questions(rng, self.args.batch, self.num_chunks())

    def more_loss(self, rng: np.random.Generator, attentions: list[torch.Tensor], batch: Batch) -> tuple[torch.Tensor | float, dict[str, float]]:
        """What a recipe adds to the joint stage's loss, and its figures."""
        return 0.0, {}

    def joint_loss(self, rng: np.random.Generator) -> tuple[torch.Tensor, dict[str, float]]:
        batch = self.questions(rng)
        asked = batch.weights > 0
        with torch.autocast("cpu", torch.bfloat16):
            features, tokens = self.model.see(batch.images)
            streams, attentions = self.model.read(tokens, batch.ids)
            logits = self.model.logits(streams[-1][asked])
        losses = F.cross_entropy(logits.float(), batch.targets[asked], reduction="none")
        loss = (losses * batch.weights[asked]).sum() / (batch.kind > 0).sum()
        figures = {"answer": loss.item()}
        fade = self.fade()
        if fade > 0:
            on_features, figures_feature = self.probes["feature"](features, batch)
            on_tokens, figures_token = self.probes["token"](tokens, batch)
            on_text, figures_text = self.probes["text"](streams, attentions, batch)
            loss = loss + fade * (0.5 * on_features + 0.3 * on_tokens + on_text)
            figures |= {"patch": figures_feature["patch"], "row": figures_token["row"], "depth": figures_token["depth"]} | figures_text
        hits = torch.zeros(batch.ids.shape)
        hits[asked] = (logits.argmax(-1) == batch.targets[asked]).float()
        first = hits.gather(2, batch.last[..., None])[..., 0]
        for index, kind in enumerate(KINDS[1:5], 1):
            if (batch.kind == index).any():
                figures[kind] = first[batch.kind == index].mean().item()
        more, more_figures = self.more_loss(rng, attentions, batch)
        loss, figures = loss + more, figures | more_figures
        what = batch.kind == 5
        if what.any():
            figures["what"] = (hits[what].sum() / asked[what].sum()).item()
        return loss, figures

    def num_chunks(self) -> int:
        """Pictures come from the first chunks only at first, so that drawing may go on beside training."""
        return min(self.args.chunks, self.args.first_chunks + self.step // self.args.steps_per_chunk)

    def train(self, stage: int) -> None:
        loss_of = getattr(self, f"{self.args.stage}_loss")
        sums, counts, began = defaultdict(float), defaultdict(int), time.time()
        end = self.args.stop or self.args.steps
        while self.step < end:
            loss, figures = loss_of(np.random.default_rng([self.args.seed, stage, self.step]))
            self.optimiser.zero_grad(set_to_none=True)
            loss.backward()
            norm = nn.utils.clip_grad_norm_(self.parameters, 1.0)
            for group in self.optimiser.param_groups:
                group["lr"] = self.rate() * group["share_of_rate"]
            self.optimiser.step()
            self.step += 1
            for name, value in (figures | {"loss": loss.item(), "norm": norm.item()}).items():
                if not math.isnan(value):
                    sums[name] += value
                    counts[name] += 1
            if self.step % self.args.log_every == 0:
                line = " ".join(f"{name} {sums[name] / counts[name]:.3f}" for name in sums)
                print(f"{self.step} {(time.time() - began) / self.args.log_every:.2f}s {line}", flush=True)
                sums, counts, began = defaultdict(float), defaultdict(int), time.time()
            if self.step % self.args.save_every == 0 or self.step == end:
                self.save()
            self.after_step()

    def after_step(self) -> None:
        """What a recipe does after each step."""

    def checkpoint(self, stage: str) -> Path:
        return self.args.work_dir / f"{self.args.run}-{stage}.pt"

    def save(self) -> None:
        path = self.checkpoint(self.args.stage)
        state = {
            "model": self.model.state_dict(),
            "probes": self.probes.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "step": self.step,
        }
        torch.save(state, path.with_suffix(".partial"))
        os.replace(path.with_suffix(".partial"), path)
        if self.args.out:
            export(self.model, self.args.out / "model.safetensors")

    def load(self, path: Path, resume: bool, part: str = "") -> None:
        """Takes the tensors whose names begin with `part`; the read-outs too where that is all, and the rest to resume."""
        state = torch.load(path, weights_only=True)
        self.model.load_state_dict({name: t for name, t in state["model"].items() if name.startswith(part)}, strict=part == "")
        if part == "":
            self.probes.load_state_dict(state["probes"])
        if resume:
            self.optimiser.load_state_dict(state["optimiser"])
            self.step = state["step"]


def make_parser(description: str, stages: list[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stage", choices=stages)
    parser.add_argument("--work-dir", type=Path, required=True)
    parser.add_argument("--model-dir", type=Path, default=Path("../../weights") / SETTINGS.name, help="config.json and tokenizer.json")
    parser.add_argument("--out", type=Path, help="folder for model.safetensors")
    parser.add_argument("--run", default="run", help="name of the run's checkpoints")
    parser.add_argument("--start", type=Path, help="checkpoint to start from (default: the vision stage's)")
    parser.add_argument("--steps", type=int, default=8000)
    parser.add_argument("--stop", type=int, help="stop after this step of the schedule (default: at its end)")
    parser.add_argument("--batch", type=int, default=20)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--fade-from", type=float, default=0.55)
    parser.add_argument("--fade-to", type=float, default=0.8)
    parser.add_argument("--chunks", type=int, default=60)
    parser.add_argument("--first-chunks", type=int, default=8)
    parser.add_argument("--steps-per-chunk", type=int, default=40)
    parser.add_argument("--log-every", type=int, default=50)
    parser.add_argument("--save-every", type=int, default=250)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    return parser


def main() -> None:
    args = make_parser(__doc__, STAGES).parse_args()
    trainer = Trainer(args)
    own, vision = trainer.checkpoint(args.stage), args.start or trainer.checkpoint("vision")
    if own.exists():
        trainer.load(own, resume=True)
    elif args.stage == "joint":
        trainer.load(vision, resume=False)
    trainer.train(STAGES.index(args.stage))


if __name__ == "__main__":
    main()
