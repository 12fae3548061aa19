"""Names of the classical baselines and what each needs; names only, so that the command line stays light."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["CLASSICAL", "ClassicalMethod"]


@dataclass(frozen=True)
class ClassicalMethod:
    """One baseline of the literature.

    Attributes
    ----------
    name : str
        On the command line: first author and year.
    paper : str
        Who, what, where.
    needs : {"hints", "example"}
        What it colours with, beside the photo's L.
    """

    name: str
    paper: str
    needs: Literal["hints", "example"]


CLASSICAL = {
    method.name: method
    for method in (
        ClassicalMethod(
            "levin2004", "Levin, Lischinski, Weiss, Colorization using Optimization, SIGGRAPH 2004", "hints"
        ),
        ClassicalMethod(
            "welsh2002",
            "Welsh, Ashikhmin, Mueller, Transferring Color to Greyscale Images, SIGGRAPH 2002",
            "example",
        ),
        ClassicalMethod(
            "luan2007", "Luan, Wen, Cohen-Or, Liang, Xu, Shum, Natural Image Colorization, EGSR 2007", "hints"
        ),
        ClassicalMethod(
            "sousa2012",
            "Sousa, Kabirzadeh, Blaes, Automatic Colorization of Grayscale Images, Stanford CS229 report",
            "example",
        ),
    )
}
"""The classical baselines by name."""
