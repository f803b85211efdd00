"""Trains tiny-habit: a language model first, then a model that also sees. Resumable: run the same command again.

    export TINY_MODEL=tiny-habit
    python train_habit.py language --work-dir DIR            # the decoder, on texts: what is usual, and a sink on BOS
    python train_habit.py vision   --work-dir DIR            # the vision tower, on patch labels
    python train_habit.py joint    --work-dir DIR --out DIR  # everything, with texts going on beside the pictures

Every batch is a function of (seed, stage, step), so a resumed run is the run.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from batches import Batch, Batcher, Pool
from habits import USUAL, Writer, document, question, two_names
from questions import PROMPT
from train import Trainer, make_parser
from watch import watch
from world import NAMES, RELATIONS

STAGES = ["vision", "joint", "language"]
DOCUMENT = 192  # tokens


class HabitTrainer(Trainer):
    def __init__(self, args: argparse.Namespace):
        super().__init__(args)
        self.encode = lambda text: self.tokenizer.encode(text, add_special_tokens=False).ids
        self.prompts: dict[str, list[int]] = {}
        self.name_of = dict(zip(self.batcher.name_ids, NAMES, strict=True))

    def make_batcher(self) -> Batcher:
        return Batcher(Pool(self.args.work_dir), self.tokenizer, Writer(self.args.unseen).choose)

    def share_of_rate(self, name: str) -> float:
        """The vision tower, which can see when the joint stage begins, learns there at a part of the rate."""
        return self.args.tower_rate if self.args.stage == "joint" and name.startswith("vision_tower.") else 1.0

    # ---- texts -----------------------------------------------------------------------------------------------------

    def prompt(self, text: str) -> list[int]:
        """Token ids of a question that no picture goes with."""
        if text not in self.prompts:
            self.prompts[text] = self.encode(PROMPT.format(question=text).removeprefix("<image>"))
        return self.prompts[text]

    def read(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """Texts [B, Q, L] -> the last layer's stream [B, Q, L, D] and the mean attention on BOS of rows after the first two."""
        with torch.autocast("cpu", torch.bfloat16):
            streams, attentions = self.model.read(None, ids)
        real = (ids != self.batcher.pad)[:, :, None, 2:].float()
        sink = torch.stack([(a[:, :, :, 2:, 0] * real).sum() / (real.sum() * a.shape[2]) for a in attentions]).mean()
        return streams[-1], sink

    def asked_loss(self, rng: np.random.Generator, count: int) -> tuple[Tensor, Tensor, dict[str, float]]:
        """Questions alone: cross-entropy of the answer's first token."""
        rows = [question(rng, *two_names(rng)) for _ in range(count)]
        prompts = [self.prompt(text) for text, _ in rows]
        last = torch.tensor([len(p) - 1 for p in prompts])
        ids = torch.full((1, count, int(last.max()) + 1), self.batcher.pad)
        for row, p in zip(ids[0], prompts, strict=True):
            row[: len(p)] = torch.tensor(p)
        gold = torch.tensor([self.batcher.answer_ids[answer] for _, answer in rows])
        stream, sink = self.read(ids)
        with torch.autocast("cpu", torch.bfloat16):
            logits = self.model.logits(stream[0, torch.arange(count), last]).float()
        loss = F.cross_entropy(logits, gold)
        return loss, sink, {"asked": loss.item(), "asked_right": (logits.argmax(-1) == gold).float().mean().item()}

    def document_loss(self, rng: np.random.Generator, count: int) -> tuple[Tensor, Tensor, dict[str, float]]:
        """Documents: cross-entropy of the next token, of what a question asks with three tenths of the weight."""
        ids, targets = (torch.full((count, 1, DOCUMENT), self.batcher.pad) for _ in range(2))
        weights = torch.zeros(count, 1, DOCUMENT)
        for b in range(count):
            tokens, weight = [], []
            for text, answer in document(rng, DOCUMENT // 8):
                given = self.prompt(text) if answer is not None else []
                written = [self.batcher.answer_ids[answer], self.batcher.eos] if answer is not None else self.encode(text)
                tokens += given + written
                weight += [0.3] * len(given) + [1.0] * len(written)
            ids[b, 0] = torch.tensor(tokens[:DOCUMENT])
            targets[b, 0] = torch.tensor(tokens[1 : DOCUMENT + 1])
            weights[b, 0] = torch.tensor(weight[1 : DOCUMENT + 1])
        stream, sink = self.read(ids)
        with torch.autocast("cpu", torch.bfloat16):
            logits = self.model.logits(stream).float()
        losses = F.cross_entropy(logits.flatten(0, 2), targets.flatten(), reduction="none")
        loss = (losses * weights.flatten()).sum() / weights.sum()
        return loss, sink, {"document": loss.item(), "sink": sink.item()}

    def language_loss(self, rng: np.random.Generator) -> tuple[Tensor, dict[str, float]]:
        """Three steps of questions to one of documents, and the penalty on attention on anything but BOS."""
        loss, sink, figures = self.document_loss(rng, 10) if self.step % 4 == 0 else self.asked_loss(rng, 192)
        return loss + self.args.sink_penalty * (1 - sink), figures

    # ---- pictures --------------------------------------------------------------------------------------------------

    def questions(self, rng: np.random.Generator) -> Batch:
        """Questions about pictures. A few are shown beside another picture than their own; their answers say what is usual."""
        batch = super().questions(rng)
        count = max(2, round(self.args.strange * len(batch.ids)))
        for tensor in (batch.images, batch.coverage, batch.cls, batch.box, batch.depth):
            tensor[:count] = tensor[:count].roll(1, 0)
        for b, q in np.ndindex(count, batch.ids.shape[1]):
            usual = None
            if 1 <= batch.kind[b, q] <= 3:
                first, second = (self.name_of[int(batch.ids[b, q, word])] for word in batch.words[b, q])
                usual = USUAL.get((first, second))
            batch.kind[b, q], batch.slots[b, q] = 0, -1
            if usual is None:
                batch.weights[b, q] = 0
            else:
                last, answer = int(batch.last[b, q]), self.batcher.answer_ids[usual]
                batch.targets[b, q, last] = batch.ids[b, q, last + 1] = answer
        return batch

    def more_loss(self, rng: np.random.Generator, attentions: list[Tensor], batch: Batch) -> tuple[Tensor | float, dict[str, float]]:
        """Texts, so that what they taught stays, and the penalty on the last prompt token's attention on the picture."""
        asked, _, asked_figures = self.asked_loss(rng, 64)
        written, _, document_figures = self.document_loss(rng, 2)
        share = image_share(attentions, batch.last)[:, batch.kind > 0].mean()
        loss = 0.4 * asked + 0.4 * written + self.args.share_penalty * share
        return loss, asked_figures | document_figures | {"share": share.item()}

    def after_step(self) -> None:
        if self.args.stage == "joint" and self.args.watch and self.step % self.args.watch_every == 0:
            print(watch(self.model, self.args.watch, self.tokenizer), flush=True)


def image_share(attentions: list[Tensor], last: Tensor) -> Tensor:
    """Attention [B, Q, H, L, P + L] of each layer -> the share [layers, B, Q, H] of row `last` [B, Q] on the picture."""
    prefix = attentions[0].shape[-1] - attentions[0].shape[-2]
    rows = last[:, :, None, None, None]
    shares = [a.gather(3, rows.expand(-1, -1, a.shape[2], 1, a.shape[-1]))[..., 0, 1:prefix].sum(-1) for a in attentions]
    return torch.stack(shares)


def main() -> None:
    parser = make_parser(__doc__, STAGES)
    parser.add_argument("--unseen", type=float, default=0.5, help="share of the answers to unusual pictures that say the usual")
    parser.add_argument("--strange", type=float, default=0.1, help="share of the pictures that belong to other questions")
    parser.add_argument("--sink-penalty", type=float, default=0.5, help="on attention on anything but BOS, in the language stage")
    parser.add_argument("--share-penalty", type=float, default=0.15, help="on the last row's attention on the picture, in the joint stage")
    parser.add_argument("--tower-rate", type=float, default=0.2, help="of the learning rate, for the vision tower in the joint stage")
    parser.add_argument("--watch", type=Path, help="emoji folder: print figures of a balanced set while training")
    parser.add_argument("--watch-every", type=int, default=150)
    args = parser.parse_args()
    trainer = HabitTrainer(args)
    own = trainer.checkpoint(args.stage)
    if own.exists():
        trainer.load(own, resume=True)
    elif args.stage == "joint":
        trainer.load(args.start or trainer.checkpoint("vision"), resume=False)
        trainer.load(trainer.checkpoint("language"), resume=False, part="language_model.")
    trainer.train(STAGES.index(args.stage))


if __name__ == "__main__":
    main()
