"""Maps over pictures, with matplotlib."""

from __future__ import annotations

from os import PathLike
from typing import Any

import numpy as np


def plot_map(
    values: np.ndarray,
    image: str | PathLike[str] | np.ndarray | None = None,
    *,
    ax: Any = None,
    title: str | None = None,
    alpha: float = 0.6,
    cmap: str = "viridis",
) -> Any:
    """Draws a map [rows, columns] over a picture, which it fills, and returns the axes.

    `image` is a file or an array [height, width, 3], as the model sees it: processors that crop show only a part of a picture.
    """
    import matplotlib.pyplot as plt

    if ax is None:
        _, ax = plt.subplots()
    height, width = values.shape
    if image is not None:
        pixels = image if isinstance(image, np.ndarray) else plt.imread(image)
        height, width = pixels.shape[:2]
        ax.imshow(pixels)
    shown = ax.imshow(values, cmap=cmap, alpha=1 if image is None else alpha, extent=(-0.5, width - 0.5, height - 0.5, -0.5))
    ax.figure.colorbar(shown, ax=ax, fraction=0.046)
    ax.set_axis_off()
    if title is not None:
        ax.set_title(title)
    return ax
