"""Conventions of papers under one name: which metrics, at what size, under which definition."""

from __future__ import annotations

from dataclasses import dataclass

from evalkit.errors import InputError
from evalkit.wording import unknown_name

__all__ = ["PRESETS", "Preset", "load_preset"]


@dataclass(frozen=True)
class Preset:
    """The conventions of one paper.

    Attributes
    ----------
    name : str
        On the command line.
    paper : str
        What it follows.
    metrics : tuple of str
    size : int or None
        Side that images are resized to; None scores them as they are.
    fit : {"warp", "crop"}
    quadrature : {"exact", "thresholds"}
        How the area under the ab curve is taken.
    note : str
        What the paper does not say, or what differs.
    """

    name: str
    paper: str
    metrics: tuple[str, ...]
    size: int | None
    fit: str = "warp"
    quadrature: str = "exact"
    note: str = ""


PRESETS = {
    preset.name: preset
    for preset in (
        Preset(
            "zhang2016",
            "R. Zhang, P. Isola, A. A. Efros, Colorful Image Colorization, ECCV 2016, table 1",
            ("ab_auc", "ab_auc_rebal", "vgg16_top1"),
            256,
            "warp",
            "thresholds",
            "how VGG-16 was fed is not said (see --preprocess); its weights there were Caffe's",
        ),
        Preset(
            "larsson2016",
            "G. Larsson, M. Maire, G. Shakhnarovich, Learning Representations for Automatic Colorization, ECCV 2016",
            ("ab_rmse", "psnr_rgb"),
            None,
            note="its gray is the mean of R, G and B, not L, and its RMSE is in another unit of ab: compare orders, not values",
        ),
        Preset(
            "su2020",
            "J.-W. Su, H.-K. Chu, J.-B. Huang, Instance-aware Image Colorization, CVPR 2020, table 1",
            ("psnr_rgb", "ssim_rgb", "lpips_alex"),
            256,
            note="which network LPIPS had and the window of SSIM are not said",
        ),
        Preset(
            "deshpande2017",
            "A. Deshpande et al., Learning Diverse Image Colorization, CVPR 2017, tables 1 and 3",
            ("ab_rmse", "diversity_variance"),
            64,
            note="needs methods with several images per photo; error_of_best and the variance stand in samples.csv",
        ),
        Preset(
            "anwar2022",
            "S. Anwar et al., Image Colorization: A Survey and Dataset, 2020-2022 (NCD)",
            ("psnr_rgb", "ssim_rgb", "pcqi", "uiqm"),
            256,
            note="implementations of UIQM differ",
        ),
    )
}


def load_preset(name: str) -> Preset:
    """The preset of that name.

    Raises
    ------
    InputError
        If there is none, with the nearest name.

    Examples
    --------
    >>> load_preset("zhang2016").quadrature
    'thresholds'
    """
    if name in PRESETS:
        return PRESETS[name]
    raise InputError(unknown_name("preset", name, PRESETS))
