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
    free_share: bool  # of the attention that supervised heads give to the picture: only where in it they look is supervised

    @property
    def grid(self) -> int:
        """Patches a side."""
        return self.side // self.patch


ALL = {
    s.name: s
    for s in (
        Settings("tiny-spatial", 224, 112, 14, 3, 6, num_layers=4, num_heads=4, head_dim=32, word_layer=1, patch_layer=2, free_share=False),
        Settings("tiny-habit", 240, 144, 12, 2, 4, num_layers=6, num_heads=8, head_dim=16, word_layer=1, patch_layer=3, free_share=True),
    )
}
SETTINGS = ALL[os.environ.get("TINY_MODEL", "tiny-spatial")]
