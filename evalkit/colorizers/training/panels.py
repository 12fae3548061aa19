"""Pictures of what a network does, side by side: gray input, its colours, the true photo."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from evalkit.colorizers.anchors import Gray
from evalkit.colorizers.learned.checkpoints import Checkpoint
from evalkit.colorizers.learned.colorizer import LearnedColorizer, as_ab_network
from evalkit.images.image_files import DEFAULT_OPTIONS, DecodeOptions, decode, resize, write_png
from evalkit.images.places import ImageFile

__all__ = ["write_panel"]

SIDE = 192


def write_panel(
    path: Path,
    photos: Sequence[ImageFile],
    checkpoint: Checkpoint,
    device: torch.device | str = "cpu",
    decoding: DecodeOptions = DEFAULT_OPTIONS,
) -> None:
    """Write one PNG with a row per photo: gray, coloured by the checkpoint, true."""
    colorizer = LearnedColorizer(as_ab_network(checkpoint), checkpoint.input_size, device)
    rows = []
    for photo in photos:
        truth = resize(decode(photo, decoding).rgb8, SIDE, "crop")
        rows.append(np.concatenate([Gray().colorize(truth, None)[0], colorizer([truth])[0][0], truth], axis=1))
    write_png(path, np.concatenate(rows))
