"""Methods that give several colorizations of a photo: their files, and scores of the best of n.

The files of a method are ``stem/0.png, stem/1.png, ...`` or ``stem_0.png, stem_1.png, ...``. Every sample is scored as a
method of its own, ``NAME.0``, ``NAME.1``, ...; what the samples are worth together follows from the per-image values:

``METRIC_best_of_n``
    the best value among the n samples of each image, for each metric on its own, mean over images;
``METRIC_joint_best_of_n``
    of each image the one sample with the lowest ab RMSE (else the best by the first metric of the run), and its value in
    every metric: what a user sees who picks one;
``error_of_best``
    the ab RMSE of the best sample of each image, mean over images.

A. Deshpande et al., "Learning Diverse Image Colorization", CVPR 2017 (error of best, variance).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from evalkit.arrays import FloatArray
from evalkit.errors import InputError
from evalkit.images.image_pairs import FolderScan, PairTable
from evalkit.images.places import ImageFile
from evalkit.metrics.base import Metric, SetMetric, mean_score, mean_terms
from evalkit.scoring.arrow_columns import values_of
from evalkit.wording import agree, counted, some_names

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Group", "SampleScore", "expand_samples", "sample_files", "sample_scores", "without_photos"]

JUDGE = "ab_rmse"
"""Metric whose best sample is picked; where a run lacks it, its first that has a direction."""


Group = Mapping[str, tuple[str, ...]]
"""Names of the sample methods (``NAME.0``, ...) by name of the method."""


def sample_files(scan: FolderScan[ImageFile], names: Iterable[str]) -> dict[int, dict[str, ImageFile]] | None:
    """Files of a folder that holds several colorizations of every photo.

    Parameters
    ----------
    scan : FolderScan
        What the folder holds.
    names : iterable of str
        Names of the true photos.

    Returns
    -------
    dict or None
        File by sample number and photo; None where the folder holds one image per photo (or none at all).

    Raises
    ------
    InputError
        If files belong to no photo, or photos have unequal samples.
    """
    photos = set(names)
    if any(key in photos for key in scan.images):
        return None
    files_of: dict[int, dict[str, ImageFile]] = {}
    strangers = []
    for key, path in scan.images.items():
        stem, digits = _split(key)
        if stem in photos and digits.isdigit():
            number = int(digits)
            if stem in files_of.setdefault(number, {}):
                raise InputError(f"{scan.folder}: sample {number} of '{stem}' is there twice.")
            files_of[number][stem] = path
        else:
            strangers.append(key)
    if not files_of:
        return None
    if strangers:
        raise InputError(
            f"{scan.folder}: {len(strangers)} of {counted(len(scan.images), 'file')} {agree(len(strangers), 'is', 'are')} samples of no true photo "
            f"({some_names(strangers)}); samples are called stem/0.png or stem_0.png."
        )
    sampled = set().union(*files_of.values())
    for number, files in sorted(files_of.items()):
        absent = sorted(sampled - files.keys())
        if absent:
            raise InputError(
                f"{scan.folder}: sample {number} of {some_names(absent)} is missing; every photo needs the same samples."
            )
    return dict(sorted(files_of.items()))


def without_photos(scan: FolderScan[ImageFile], photos: Collection[str]) -> FolderScan[ImageFile]:
    """What a folder holds beside the colorizations of some photos, samples included.

    Parameters
    ----------
    scan : FolderScan
    photos : collection of str
        Names of the true photos whose files are set aside.
    """

    def is_of_them(key: str) -> bool:
        stem, digits = _split(key)
        return key in photos or (stem in photos and digits.isdigit())

    return replace(scan, images={key: path for key, path in scan.images.items() if not is_of_them(key)})


def _split(key: str) -> tuple[str, str]:
    """A photo's name and what follows the last separator: the name itself may hold digits."""
    place = max(key.rfind("/"), key.rfind("_"))
    return (key[:place], key[place + 1 :]) if place > 0 else (key, "")


def expand_samples(
    pairs: PairTable[ImageFile], files_of: Mapping[str, Mapping[int, Mapping[str, ImageFile]]]
) -> tuple[PairTable[ImageFile], Group]:
    """The table of pairs with every sample as a method of its own, and which methods belong together.

    Raises
    ------
    InputError
        If a true photo has no samples.
    """
    methods = dict(pairs.methods)
    groups: dict[str, tuple[str, ...]] = {}
    for name, samples in files_of.items():
        groups[name] = tuple(f"{name}.{number}" for number in samples)
        for method, files in zip(groups[name], samples.values(), strict=True):
            absent = [image for image in pairs.names if image not in files]
            if absent:
                raise InputError(
                    f"method '{name}': {counted(len(absent), 'true photo')} {agree(len(absent), 'has', 'have')} no samples ({some_names(absent)})."
                )
            methods[method] = tuple(files[image] for image in pairs.names)
    return replace(pairs, methods=methods), groups


@dataclass(frozen=True)
class SampleScore:
    """One number of several samples together: name of the value, per-image values, how the sample was chosen."""

    method: str
    metric: str
    per_image: FloatArray
    fields: Mapping[str, str]

    @property
    def terms(self) -> Any:
        """Value and count of the images, shape (n, 2)."""
        return mean_terms(self.per_image)

    @property
    def value(self) -> float:
        """Mean over images."""
        return float(mean_score(self.terms.sum(axis=0)))


def sample_scores(table: pa.Table, metrics: Sequence[Metric], groups: Group) -> list[SampleScore]:
    """Scores of all samples of a method together, from the per-image values.

    Parameters
    ----------
    table : pyarrow.Table
        Per-image table of the run.
    metrics : sequence of Metric
    groups : mapping of str to tuple of str

    Returns
    -------
    list of SampleScore
    """
    method_of_row = np.array(table["method"].to_pylist())
    scores: list[SampleScore] = []
    for name, methods in groups.items():
        values: dict[str, FloatArray] = {
            metric.name: np.array(
                [values_of(table[metric.name])[method_of_row == method] for method in methods],
                np.float64,
            )
            for metric in metrics
        }
        comparable = [metric for metric in metrics if _has_a_best(metric)]
        scores += [*_best_of_n(name, comparable, values), *_joint_best_of_n(name, comparable, values)]
        scores += _of_all_samples(name, metrics, values, len(methods))
    return scores


def _has_a_best(metric: Metric) -> bool:
    return metric.better != "neither" and not metric.of_samples and not isinstance(metric, SetMetric)


def _best_of_n(name: str, metrics: Sequence[Metric], values: Mapping[str, FloatArray]) -> Iterator[SampleScore]:
    """The best value among the samples of each image, for each metric on its own."""
    for metric in metrics:
        # NaN wins: a sample with an infinite PSNR is the best there is, and infinite values are counted apart.
        best = np.maximum if metric.better == "higher" else np.minimum
        per_image = best.reduce(values[metric.name])
        n = len(values[metric.name])
        fields = {"agg": "image", "samples": str(n), "choice": "per-metric"}
        yield SampleScore(name, f"{metric.name}_best_of_{n}", per_image, fields)
        if metric.name == JUDGE:
            yield SampleScore(name, "error_of_best", per_image, fields)


def _joint_best_of_n(name: str, metrics: Sequence[Metric], values: Mapping[str, FloatArray]) -> Iterator[SampleScore]:
    """Of each image the sample that one metric likes best, and its value in every metric."""
    judge = next((metric for metric in metrics if metric.name == JUDGE), metrics[0] if metrics else None)
    if judge is None:
        return
    sign = 1.0 if judge.better == "higher" else -1.0
    merit = sign * values[judge.name]
    best_sample = np.where(np.isnan(merit), -np.inf, merit).argmax(axis=0)
    for metric in metrics:
        per_image = values[metric.name][best_sample, np.arange(len(best_sample))]
        n = len(values[metric.name])
        fields = {"agg": "image", "samples": str(n), "choice": f"joint-{judge.name}"}
        yield SampleScore(name, f"{metric.name}_joint_best_of_{n}", per_image, fields)


def _of_all_samples(
    name: str, metrics: Sequence[Metric], values: Mapping[str, FloatArray], n: int
) -> Iterator[SampleScore]:
    """Values that belong to all samples of an image together: the same in the row of each."""
    for metric in metrics:
        if metric.of_samples:
            yield SampleScore(name, metric.name, values[metric.name][0], {**metric.fields, "samples": str(n)})
