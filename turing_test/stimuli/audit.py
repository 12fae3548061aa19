"""Visual confounds: what lets a participant tell the real photo from the fake without judging its colours.

Everything is measured on the sealed images, which is what participants see; only the sizes of files are those of the
source folders.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from evalkit.errors import InputError
from turing_test.study.build_record import BuildRecord
from turing_test.study.study_folder import BUILT, Study

if TYPE_CHECKING:
    from evalkit.arrays import FloatArray, Rgb8
    from evalkit.images.image_pairs import PairTable

__all__ = ["FINDINGS", "PairAudit", "audit_study", "blockiness", "lightness_change", "source_pairs"]

FINDINGS: Mapping[str, str] = {
    "identical": "truth and method are the same pixel by pixel: nobody can tell them apart",
    "gray_truth": "the truth has hardly any colour, so a colorization of it is easy to find or identical",
    "size": "the files differ in size, so one of the two was resized more than the other",
    "lightness": "the method changed L, so contrast or detail may tell them apart",
    "blocks_in_truth": "JPEG blocks in the truth alone",
    "blocks_in_method": "JPEG blocks in the method alone",
}
"""Confounds of a pair, and what each means."""

LOOKS_GRAY_CHROMA = 2.0  # mean chroma of a photo that looks black and white; rounding of 8-bit grays stays below 1
# Both thresholds on 300 published colorizations, which were saved as JPEG like their photos: they keep L but for that,
# with a median mean |dL| of 0.7 and 1.7 at the 95th percentile; their blockiness differs from the photo's by 0.04 at most,
# and JPEG of quality 75 adds 0.1.
LIGHTNESS_CHANGE = 2.0
BLOCKINESS_GAP = 0.05


@dataclass(frozen=True, kw_only=True)
class PairAudit:
    """One pair, measured.

    Attributes
    ----------
    image, method : str
    findings : tuple of str
        Keys of `FINDINGS`; empty when nothing is wrong.
    lightness_change : float
        Mean absolute difference of L, CIE Lab units.
    chroma_truth, chroma_method : float
        Mean chroma, CIE Lab units.
    blockiness_truth, blockiness_method : float
        See `blockiness`.
    """

    image: str
    method: str
    findings: tuple[str, ...]
    lightness_change: float
    chroma_truth: float
    chroma_method: float
    blockiness_truth: float
    blockiness_method: float


def audit_study(study: Study, on_pair: Callable[[int, int], None] | None = None) -> Iterator[PairAudit]:
    """Measure every pair of truth and method; the truth as a method of its own is left out.

    Sizes of files are compared where these still are (`source_pairs`).

    Parameters
    ----------
    study : Study
    on_pair : callable, optional
        Called with the pairs done so far and their total.

    Yields
    ------
    PairAudit
        Image by image, methods in order.
    """
    import numpy as np

    manifest = study.manifest
    differ_in_size = _differ_in_size(source_pairs(study))
    methods = [method for method in manifest.methods if method != "truth"]
    n_pairs, n_audited = len(manifest.images) * len(methods), 0
    for image in manifest.images:
        truth = _Measured(_pixels(study, image, "truth", None))
        for method in methods:
            rgb8 = _pixels(study, image, "method", method)
            fake = _Measured(rgb8)
            change = lightness_change(truth.lightness, fake.lightness)
            differences = {
                "identical": bool(np.array_equal(rgb8, truth.rgb8)),
                "gray_truth": truth.chroma < LOOKS_GRAY_CHROMA,
                "size": differ_in_size(image, method),
                "lightness": change > LIGHTNESS_CHANGE,
                "blocks_in_truth": truth.blockiness - fake.blockiness > BLOCKINESS_GAP,
                "blocks_in_method": fake.blockiness - truth.blockiness > BLOCKINESS_GAP,
            }
            yield PairAudit(
                image=image,
                method=method,
                findings=tuple(name for name, here in differences.items() if here),
                lightness_change=change,
                chroma_truth=truth.chroma,
                chroma_method=fake.chroma,
                blockiness_truth=truth.blockiness,
                blockiness_method=fake.blockiness,
            )
            n_audited += 1
            if on_pair is not None:
                on_pair(n_audited, n_pairs)


class _Measured:
    """What is measured of one image."""

    def __init__(self, rgb8: Rgb8) -> None:
        import numpy as np

        from evalkit.color.colorspace import lab_planes

        lightness, a, b = lab_planes(rgb8)
        self.rgb8 = rgb8
        self.lightness: FloatArray = lightness.reshape(rgb8.shape[:2])
        self.chroma = float(np.hypot(a, b).mean())
        self.blockiness = blockiness(self.lightness)


def lightness_change(truth: FloatArray, method: FloatArray) -> float:
    """Mean absolute difference of two planes of L of the same shape."""
    import numpy as np

    return float(np.abs(truth - method).mean())


def blockiness(lightness: FloatArray) -> float:
    """How much steeper an image is at the borders of 8 x 8 blocks than beside them.

    Parameters
    ----------
    lightness : ndarray of float64, shape (H, W)
        L; both sides at least 32.

    Returns
    -------
    float
        Relative excess of the mean absolute step across block borders over that of the neighbouring steps, at the
        phase where it is largest and above the median phase, the smaller of the two directions: about 0.02 for photos
        without blocks, 0.1 for JPEG of quality 85, 0.3 for quality 50. Blocks that were resized are not found.
    """
    return min(_excess(lightness), _excess(lightness.T))


def _excess(lightness: FloatArray) -> float:
    import numpy as np

    step = np.abs(np.diff(lightness, axis=1)).mean(axis=0)
    beside = (step[:-2] + step[2:]) / 2
    inner = step[1:-1]
    phase = np.arange(inner.size) % 8
    # A flat image has no steps: no blocks either.
    excess = [inner[phase == p].mean() / max(beside[phase == p].mean(), 1e-9) for p in range(8)]
    return float(np.max(excess) - np.median(excess)) if step.any() else 0.0


def _pixels(study: Study, image: str, role: str, method: str | None) -> Rgb8:
    from evalkit.images.image_files import decode

    return decode(study.stimulus_path(study.find(image, role, method))).rgb8


def source_pairs(study: Study) -> PairTable[Path] | None:
    """The files that a study was built from; None where they are gone (a copy of the study on a server)."""
    from evalkit.images.image_pairs import pair_folders

    try:
        built = BuildRecord.read(study.folder / BUILT)
        folders = {name: folder for name, folder in built.methods.items() if folder is not None}
        return pair_folders(built.truth, folders, allow_missing=True)
    except InputError:
        return None


def _differ_in_size(sources: PairTable[Path] | None) -> Callable[[str, str], bool]:
    """Whether the files of a pair differ in size; False where that is not known."""
    if sources is None:
        return lambda image, method: False
    index = {name: k for k, name in enumerate(sources.names)}

    def differ(image: str, method: str) -> bool:
        if image not in index or method not in sources.methods:  # a built-in method has no files
            return False
        return _size(sources.truth[index[image]]) != _size(sources.methods[method][index[image]])

    return differ


def _size(path: Path) -> tuple[int, int]:
    """Width and height of an upright image, from its header."""
    from PIL import Image

    with Image.open(path) as image:
        turned = image.getexif().get(0x0112, 1) >= 5
        width, height = image.size
    return (height, width) if turned else (width, height)
