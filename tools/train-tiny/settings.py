"""What differs between the two checkpoints that this folder trains.

The environment variable `TINY_MODEL` chooses one of them, `tiny-spatial` where it is not set. It is an environment
variable because sizes are constants of several modules.
"""

import os
from dataclasses import dataclass

CHUNK = 2048  # pictures in one file of the pool


@dataclass(frozen=True)
class Settings:
    """Sizes of one checkpoint and of its training pictures."""

    name: str  # its folder under weights/
    canvas: int  # side of a drawn picture, in pixels
    side: int  # side of the picture that the vision tower sees, in pixels
    patch: int  # side of a patch of that picture, in pixels
    max_objects: int  # in a training picture
    questions: int  # packed to a picture
    num_layers: int  # of the decoder
    num_heads: int
    head_dim: int
    word_layer: int  # decoder layers whose heads 0 and 1 are supervised at the last prompt token
    patch_layer: int
    # The supervised heads are told where in the picture to look, but not how much of their attention it gets.
    free_share: bool
    has_habits: bool  # trained in the world of habits.py

    @property
    def grid(self) -> int:
        """Patches a side."""
        return self.side // self.patch


ALL = {
    s.name: s
    for s in (
        Settings(
            "tiny-spatial",
            canvas=224,
            side=112,
            patch=14,
            max_objects=3,
            questions=6,
            num_layers=4,
            num_heads=4,
            head_dim=32,
            word_layer=1,
            patch_layer=2,
            free_share=False,
            has_habits=False,
        ),
        Settings(
            "tiny-habit",
            canvas=240,
            side=144,
            patch=12,
            max_objects=2,
            questions=4,
            num_layers=6,
            num_heads=8,
            head_dim=16,
            word_layer=1,
            patch_layer=3,
            free_share=True,
            has_habits=True,
        ),
    )
}
SETTINGS = ALL[os.environ.get("TINY_MODEL", "tiny-spatial")]
