"""The plates of the colour vision screen: dots with a number that dichromats cannot read.

A dichromat lacks one kind of cone and cannot tell colours apart that differ in that cone's response alone: the
confusion lines. On each plate, number and ground differ along such a line and nothing else; the brightness of every
dot varies at random, so that brightness gives nothing away. It is a screen on an uncalibrated display, not a diagnosis.

References
----------
.. [1] F. Viénot, H. Brettel, J. D. Mollon, "Digital video colourmaps for checking the legibility of displays by
   dichromats", Color Research & Application 24(4), 1999: the cone responses of a display's primaries.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    from evalkit.arrays import BoolArray, FloatArray, Rgb8

__all__ = ["PlateImage", "draw_plates"]

SIZE = 256  # side of a plate, pixels
KINDS = ("control", "protan", "deutan", "protan", "deutan")
"""What each plate tells: the first is readable by anybody who sees the screen."""

# Linear RGB to the responses of the long, medium and short cones [1]_, equation 4.
LMS_FROM_RGB = ((17.8824, 43.5161, 4.11935), (3.45565, 27.1554, 3.86714), (0.0299566, 0.184309, 1.46709))
CONE = {"protan": 0, "deutan": 1}  # the missing one: row of LMS_FROM_RGB

# Digits of 3 x 5 blocks. Any two differ in two blocks or more, so that a lost dot makes no other digit.
DIGITS = {
    "2": "###..#####..###",
    "3": "###..####..####",
    "4": "#.##.####..#..#",
    "5": "####..###..####",
    "7": "###..#..#..#..#",
}


@dataclass(frozen=True, eq=False)
class PlateImage:
    """One plate.

    Attributes
    ----------
    kind : {"control", "protan", "deutan"}
    answer : str
        The number, two digits.
    rgb8 : ndarray of uint8, shape (256, 256, 3)
    """

    kind: str
    answer: str
    rgb8: Rgb8


def draw_plates(key: bytes) -> list[PlateImage]:
    """Draw the plates of a study, one for each of `KINDS`.

    Parameters
    ----------
    key : bytes
        The study's secret: numbers and dots differ from study to study, so that no answer sheet fits.

    Returns
    -------
    list of PlateImage
    """
    import numpy as np

    rng = np.random.default_rng(int.from_bytes(hmac.digest(key, b"plates", "sha256"), "big"))
    numbers = rng.permutation([a + b for a in DIGITS for b in DIGITS if a != b])
    return [
        PlateImage(kind, str(number), _draw(kind, str(number), rng))
        for kind, number in zip(KINDS, numbers, strict=False)
    ]


def _draw(kind: str, number: str, rng: np.random.Generator) -> Rgb8:
    import numpy as np
    from PIL import Image, ImageDraw

    dots = _dots(rng)
    figure, ground = _colors(kind)
    inside = _glyphs(number)[dots[:, 1].astype(int), dots[:, 0].astype(int)]
    # The control is read by brightness, so there the dots vary little.
    spread = 0.05 if kind == "control" else 0.25
    light = rng.uniform(1 - spread, 1 + spread, len(dots))
    linear = np.where(inside[:, None], figure, ground) * light[:, None]
    colors = _encode(linear)
    scale = 4  # drawn large and averaged: smooth edges
    canvas = Image.new("RGB", (SIZE * scale, SIZE * scale), (128, 128, 128))
    draw = ImageDraw.Draw(canvas)
    for (x, y, radius), color in zip(dots * scale, colors, strict=True):
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=tuple(map(int, color)))
    return np.ascontiguousarray(np.asarray(canvas.resize((SIZE, SIZE), Image.Resampling.BOX)))


def _colors(kind: str) -> tuple[FloatArray, FloatArray]:
    """Linear RGB of number and ground, on the two sides of a grayish middle along a confusion line."""
    import numpy as np

    middle = np.array([0.30, 0.26, 0.20])
    if kind == "control":
        return middle * 1.9, middle * 0.5
    direction = np.linalg.inv(np.array(LMS_FROM_RGB))[:, CONE[kind]]
    # As far as the brightest dots (1.25 times) stay inside the gamut on both sides, and a margin.
    room = np.minimum(middle, 1 / 1.25 - middle) / np.abs(direction)
    step = 0.85 * room.min() * direction
    return middle + step, middle - step


def _encode(linear: FloatArray) -> Rgb8:
    """Linear RGB to 8-bit sRGB (IEC 61966-2-1)."""
    import numpy as np

    value = np.where(linear > 0.0031308, 1.055 * np.maximum(linear, 0) ** (1 / 2.4) - 0.055, 12.92 * linear)
    rgb8: Rgb8 = np.rint(255 * np.clip(value, 0, 1)).astype(np.uint8)
    return rgb8


def _glyphs(number: str) -> BoolArray:
    """Where the number stands, shape (256, 256)."""
    import numpy as np

    block = 22
    cells = np.zeros((5, 7), dtype=bool)
    for k, digit in enumerate(number):
        cells[:, 4 * k : 4 * k + 3] = np.array([c == "#" for c in DIGITS[digit]]).reshape(5, 3)
    mask = np.zeros((SIZE, SIZE), dtype=bool)
    shape = np.kron(cells, np.ones((block, block), dtype=bool))
    top, left = (SIZE - shape.shape[0]) // 2, (SIZE - shape.shape[1]) // 2
    mask[top : top + shape.shape[0], left : left + shape.shape[1]] = shape
    return mask


def _dots(rng: np.random.Generator) -> FloatArray:
    """Centres and radii of dots that do not touch, filling a disc, shape (n, 3): x, y, radius."""
    import numpy as np

    center, disc = SIZE / 2, SIZE / 2 - 6
    placed = np.empty((0, 3))
    for radius, tries in ((5.0, 600), (4.0, 1500), (3.0, 2500), (2.2, 3500)):  # large ones first, small ones between
        for _ in range(tries):
            angle, distance = rng.uniform(0, 2 * np.pi), (disc - radius) * np.sqrt(rng.uniform())
            x, y = center + distance * np.cos(angle), center + distance * np.sin(angle)
            gaps = np.hypot(placed[:, 0] - x, placed[:, 1] - y) - placed[:, 2]
            if not (gaps < radius + 1).any():
                placed = np.vstack([placed, (x, y, radius)])
    return placed
