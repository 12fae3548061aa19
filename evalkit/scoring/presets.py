"""Conventions of papers under one name: which metrics, at what size, under which definition."""

from __future__ import annotations

from dataclasses import dataclass

from evalkit.errors import InputError
from evalkit.wording import unknown_name

__all__ = ["PRESETS", "Preset", "load_preset"]


@dataclass(frozen=True, kw_only=True)
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
    images : str
        The test images of the paper.
    note : str
        What the paper does not say, or what differs.
    """

    name: str
    paper: str
    metrics: tuple[str, ...]
    size: int | None
    fit: str = "warp"
    quadrature: str = "exact"
    images: str
    note: str = ""


# Fréchet distance and colourfulness, as the papers on ImageNet, COCO-Stuff and ADE20K report them since 2020; of the
# difference of colourfulness two definitions are in use, and of colourfulness itself one on |rg| and |yb|.
_SET_METRICS = ("fid", "colorfulness", "colorfulness_abs", "colorfulness_diff", "colorfulness_set_diff", "psnr_rgb")
_WHICH_DIFFERENCE = (
    "the difference of colourfulness is taken of set means (colorfulness_set_diff) or image by image (colorfulness_diff), "
    "and published scripts take |rg| and |yb| (colorfulness_abs): papers seldom say which"
)

PRESETS = {
    preset.name: preset
    for preset in (
        Preset(
            name="zhang2016",
            paper="R. Zhang, P. Isola, A. A. Efros, Colorful Image Colorization, ECCV 2016, table 1",
            metrics=("ab_auc", "ab_auc_rebal", "vgg16_top1"),
            size=256,
            quadrature="thresholds",
            images="ctest10k, 10,000 of ImageNet's validation photos",
            note="how VGG-16 was fed is not said (see --preprocess); its weights there were Caffe's",
        ),
        Preset(
            name="larsson2016",
            paper="G. Larsson, M. Maire, G. Shakhnarovich, Learning Representations for Automatic Colorization, ECCV 2016",
            metrics=("ab_rmse", "psnr_rgb"),
            size=None,
            images="ctest10k, 10,000 of ImageNet's validation photos",
            note="its gray is the mean of R, G and B, not L, and its RMSE is in another unit of ab: compare orders, not values",
        ),
        Preset(
            name="su2020",
            paper="J.-W. Su, H.-K. Chu, J.-B. Huang, Instance-aware Image Colorization, CVPR 2020, table 1",
            metrics=("psnr_rgb", "ssim_rgb", "lpips_alex"),
            size=256,
            images="ctest10k; COCO-Stuff, 5,000 of validation; Places205",
            note="which network LPIPS had and the window of SSIM are not said",
        ),
        Preset(
            name="deshpande2017",
            paper="A. Deshpande et al., Learning Diverse Image Colorization, CVPR 2017, tables 1 and 3",
            metrics=("ab_rmse", "diversity_variance"),
            size=64,
            images="LFW, LSUN-Church, ImageNet-Val",
            note="needs methods with several images per photo; error_of_best and the variance stand in samples.csv",
        ),
        Preset(
            name="anwar2022",
            paper="S. Anwar et al., Image Colorization: A Survey and Dataset, 2020-2022 (NCD)",
            metrics=("psnr_rgb", "ssim_rgb", "pcqi", "uiqm"),
            size=256,
            images="NCD, natural-colour photos of fruit and vegetables",
            note="implementations of UIQM differ",
        ),
        Preset(
            name="ct2-2022",
            paper="S. Weng et al., CT2: Colorization Transformer via Color Tokens, ECCV 2022",
            metrics=(*_SET_METRICS, "ssim_rgb", "lpips_alex"),
            size=256,
            fit="crop",
            images="val5k, the first 5,000 of ImageNet's validation photos, centre-cropped and resized to 256; COCO-Stuff",
            note=_WHICH_DIFFERENCE,
        ),
        Preset(
            name="colorformer2022",
            paper="X. Ji et al., ColorFormer: Image Colorization via Color Memory Assisted Hybrid-attention Transformer, "
            "ECCV 2022",
            metrics=_SET_METRICS,
            size=256,
            fit="crop",
            images="val5k, the first 5,000 of ImageNet's validation photos, centre-cropped and resized to 256; COCO-Stuff and "
            "CelebA-HQ",
            note=f"for sets that are warped to 256 add --fit warp; {_WHICH_DIFFERENCE}",
        ),
        Preset(
            name="ddcolor2023",
            paper="X. Kang et al., DDColor: Towards Photo-Realistic Image Colorization via Dual Decoders, ICCV 2023",
            metrics=_SET_METRICS,
            size=256,
            images="val50k (all of ImageNet's validation photos), COCO-Stuff and ADE20K, warped to 256; val5k",
            note=f"for val5k, which is centre-cropped, add --fit crop; {_WHICH_DIFFERENCE}",
        ),
        Preset(
            name="deoldify-video",
            paper="frames of a colorized video beside the true ones, as projects in the manner of DeOldify show them, with the "
            "colour distribution consistency of Y. Liu et al. 2021",
            metrics=("cdc", "fid", "colorfulness", "psnr_rgb", "ssim_rgb"),
            size=None,
            images="frames of each video in a folder of their own, named in their order",
            note="no paper fixes this set of metrics",
        ),
        Preset(
            name="ntire2023",
            paper="X. Kang et al., NTIRE 2023 Video Colorization Challenge, CVPR Workshops 2023: FID and CDC",
            metrics=("fid", "cdc"),
            size=None,
            images="frames of the challenge's videos, a folder for each",
            note="the challenge ranked its two tracks by one of the two numbers each",
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
