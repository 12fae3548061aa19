"""Scores of image colorizations: from folders of images to numbers with intervals and signatures.

>>> import evalkit
>>> scores = evalkit.score("truth/", {"mine": "out/mine", "gray": None})  # doctest: +SKIP
>>> scores["mine", "ab_auc"].value  # doctest: +SKIP
0.9157

Rooms, from the ground up. Each imports only from rooms before it in this list (``tests/test_imports.py`` holds that):

- ``errors``, ``arrays``, ``files``, ``wording``, ``needs``: what every room uses
- ``color``: CIE Lab, ab classes, the kernel that counts ab errors
- ``images``: image files, pairs of them, what is wrong in a folder
- ``datasets``: ctest10k, synsets, labels
- ``networks``: weights, classifiers, devices
- ``metrics``: from a pair to statistics, from summed statistics to a score
- ``resampling``: intervals and tests of scores
- ``colorizers``: what a method is; the built-in ones
- ``scoring``: the run over folders, its store, its results
- ``hints``: points and patches of true colour for colorizers that take them
- ``colorizers.classical``: baselines from the literature
- ``colorizers.learned``: networks that colour
- ``colorizers.training``: how they are made
- ``demo``: photos and a figure for the first minute
- ``cli``, ``__main__``: the command line, which finds commands by their entry points
- ``commands``: one module per command
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from evalkit.errors import InputError
    from evalkit.metrics.ab_counts import AbErrorOptions
    from evalkit.metrics.ab_error import ab_auc, ab_auc_rebal
    from evalkit.metrics.accumulator import Accumulator
    from evalkit.metrics.color_difference import ciede2000
    from evalkit.metrics.colorfulness import colorfulness, colorfulness_abs, colorfulness_diff
    from evalkit.metrics.fidelity import ab_rmse, l_mae, psnr_ab, psnr_rgb
    from evalkit.metrics.ssim import ms_ssim_ab, ssim_rgb
    from evalkit.scoring.run import score
    from evalkit.scoring.scores import Scores

_HOMES = {
    "Accumulator": "evalkit.metrics.accumulator",
    "InputError": "evalkit.errors",
    "AbErrorOptions": "evalkit.metrics.ab_counts",
    "ab_auc": "evalkit.metrics.ab_error",
    "ab_auc_rebal": "evalkit.metrics.ab_error",
    "ciede2000": "evalkit.metrics.color_difference",
    "colorfulness": "evalkit.metrics.colorfulness",
    "colorfulness_abs": "evalkit.metrics.colorfulness",
    "colorfulness_diff": "evalkit.metrics.colorfulness",
    "ab_rmse": "evalkit.metrics.fidelity",
    "l_mae": "evalkit.metrics.fidelity",
    "psnr_ab": "evalkit.metrics.fidelity",
    "psnr_rgb": "evalkit.metrics.fidelity",
    "ms_ssim_ab": "evalkit.metrics.ssim",
    "ssim_rgb": "evalkit.metrics.ssim",
    "Scores": "evalkit.scoring.scores",
    "score": "evalkit.scoring.run",
}

__all__ = [
    "AbErrorOptions",
    "Accumulator",
    "InputError",
    "Scores",
    "ab_auc",
    "ab_auc_rebal",
    "ab_rmse",
    "ciede2000",
    "colorfulness",
    "colorfulness_abs",
    "colorfulness_diff",
    "l_mae",
    "ms_ssim_ab",
    "psnr_ab",
    "psnr_rgb",
    "score",
    "ssim_rgb",
]

__version__ = version("colorization-evalkit")


def __getattr__(name: str) -> Any:
    """Load a public name on first use: ``import evalkit`` itself costs nothing."""
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'evalkit' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
