"""Train-only supervision of the stages a spatial answer goes through. None of it is in the checkpoint.

The stages: a patch knows its object, its place and whether it is in front; the last prompt token finds the two
object words (decoder layer 1) and then looks at their patches (layer 2), so that it holds both places; the rest of
the network compares them.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from batches import Batch
from settings import SETTINGS
from world import GRID, NAMES

BACKGROUND = len(NAMES)
WORD_LAYER, PATCH_LAYER = SETTINGS.word_layer, SETTINGS.patch_layer


class PatchProbe(nn.Module):
    """Linear read-out of object, row, column and depth from patch vectors."""

    def __init__(self, width: int):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.read = nn.Linear(width, BACKGROUND + 1 + 2 * GRID + 3)

    def forward(self, patches: Tensor, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        out = self.read(self.norm(patches.float())).float()
        cls, row, col, depth = out.split([BACKGROUND + 1, GRID, GRID, 3], -1)
        cls_target, depth_target = patch_targets(batch)
        importance = torch.ones(BACKGROUND + 1)
        importance[BACKGROUND] = 0.3
        index = torch.arange(GRID * GRID).expand(len(out), -1)
        loss = F.cross_entropy(cls.flatten(0, 1), cls_target.flatten(), weight=importance, ignore_index=-100)
        loss = loss + 0.15 * F.cross_entropy(row.flatten(0, 1), (index // GRID).flatten())
        loss = loss + 0.15 * F.cross_entropy(col.flatten(0, 1), (index % GRID).flatten())
        rare = torch.tensor([0.1, 1.0, 1.0])
        loss = loss + 0.3 * F.cross_entropy(depth.flatten(0, 1), depth_target.flatten(), weight=rare, ignore_index=-100)
        on_object = (cls_target >= 0) & (cls_target != BACKGROUND)
        moved = on_object & (depth_target > 0)
        with torch.no_grad():
            figures = {
                "patch": (cls.argmax(-1) == cls_target)[on_object].float().mean().item(),
                "row": (row.argmax(-1) == index // GRID).float().mean().item(),
                "depth": (depth.argmax(-1) == depth_target)[moved].float().mean().item(),
            }
        return loss, figures


def patch_targets(batch: Batch) -> tuple[Tensor, Tensor]:
    """Object class and depth class (0 alone, 1 in front, 2 behind) of each patch [B, 64]; -100 where undecided."""
    best, slot = batch.coverage.max(1)
    cls = batch.cls.gather(1, slot)
    depth = torch.tensor([2, 0, 1])[batch.depth.gather(1, slot).long() + 1]
    clear = best >= 0.2
    empty = batch.coverage.sum(1) < 0.05
    cls = torch.where(clear, cls, torch.where(empty, BACKGROUND, -100))
    return cls, torch.where(clear, depth, -100)


class TextProbe(nn.Module):
    """Attention supervision and linear read-outs at the last prompt token."""

    def __init__(self, width: int):
        super().__init__()
        self.norm_who, self.norm_where = nn.LayerNorm(width), nn.LayerNorm(width)
        self.who = nn.Linear(width, 2 * BACKGROUND)
        self.where = nn.Linear(width, 6)

    def forward(self, streams: list[Tensor], attentions: list[Tensor], batch: Batch) -> tuple[Tensor, dict[str, float]]:
        named = batch.slots[..., 0] >= 0
        b, q = named.nonzero(as_tuple=True)
        last, words, slots = batch.last[b, q], batch.words[b, q], batch.slots[b, q]
        prefix = attentions[0].shape[-1] - streams[0].shape[2]

        rows = attentions[WORD_LAYER][b, q, :2, last]  # [N, 2, P + L]
        on_words = rows.gather(2, prefix + words[..., None])[..., 0]
        rows = attentions[PATCH_LAYER][b, q, :2, last, 1:prefix]  # [N, 2, 64]
        covered = (batch.coverage[b[:, None], slots] > 0.15).float()
        on_patches = (rows * covered).sum(-1)
        if SETTINGS.free_share:
            on_patches = on_patches / (rows.sum(-1) + 1e-6)

        who = self.who(self.norm_who(streams[WORD_LAYER][b, q, last].float())).float().unflatten(-1, (2, BACKGROUND))
        cls = batch.cls[b[:, None], slots]
        where = self.where(self.norm_where(streams[PATCH_LAYER][b, q, last].float())).float().unflatten(-1, (2, 3))
        truth = torch.cat([batch.box[b[:, None], slots][..., :2], batch.depth[b[:, None], slots][..., None]], -1)
        error = (where - truth).square().mean((0, 1))
        loss = (
            -0.3 * (on_words + 1e-4).log().mean()
            - 0.5 * (on_patches + 1e-4).log().mean()
            + 0.5 * F.cross_entropy(who.flatten(0, 1), cls.flatten())
            + 2.0 * error[:2].sum()
            + 0.5 * error[2]
        )
        with torch.no_grad():
            figures = {
                "word": on_words.mean().item(),
                "mass": on_patches.mean().item(),
                "who": (who.argmax(-1) == cls).float().mean().item(),
                "ex": error[0].item() ** 0.5,
                "ey": error[1].item() ** 0.5,
                "ez": error[2].item() ** 0.5,
            }
        return loss, figures
