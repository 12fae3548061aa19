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

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from evalkit.arrays import FloatArray
from evalkit.errors import InputError
from evalkit.images.image_pairs import PairTable, find_images
from evalkit.metrics.base import Metric, mean_score, mean_terms
from evalkit.wording import some_names

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Group", "expand_samples", "sample_files", "sample_scores"]


Group = Mapping[str, tuple[str, ...]]
"""Names of the sample methods (``NAME.0``, ...) by name of the method."""


def sample_files(folder: Path, names: Sequence[str]) -> dict[int, dict[str, Path]] | None:
    """Files of a folder that holds several colorizations of every photo.

    Parameters
    ----------
    folder : Path
    names : sequence of str
        Names of the true photos.

    Returns
    -------
    dict or None
        File by sample number and photo; None where the folder holds one image a photo (or none at all).

    Raises
    ------
    InputError
        If files belong to no photo, or photos have unequal samples.
    """
    images = find_images(folder)
    known = set(names)
    if any(key in known for key in images):
        return None
    found: dict[int, dict[str, Path]] = {}
    strangers = []
    for key, path in images.items():
        stem, digits = _split(key)
        if stem in known and digits.isdigit():
            number = int(digits)
            if stem in found.setdefault(number, {}):
                raise InputError(f"{folder}: sample {number} of '{stem}' is there twice.")
            found[number][stem] = path
        else:
            strangers.append(key)
    if not found:
        return None
    if strangers:
        raise InputError(
            f"{folder}: {len(strangers)} of {len(images)} files are samples of no true photo ({some_names(strangers)}); samples are "
            "called stem/0.png or stem_0.png."
        )
    wanted = set().union(*found.values())
    for number, files in sorted(found.items()):
        absent = sorted(wanted - files.keys())
        if absent:
            raise InputError(
                f"{folder}: sample {number} of {some_names(absent)} is missing; every photo needs the same samples."
            )
    return dict(sorted(found.items()))


def _split(key: str) -> tuple[str, str]:
    """A photo's name and what follows the last separator: the name itself may hold digits."""
    place = max(key.rfind("/"), key.rfind("_"))
    return (key[:place], key[place + 1 :]) if place > 0 else (key, "")


def expand_samples(
    pairs: PairTable, files_of: Mapping[str, Mapping[int, Mapping[str, Path]]]
) -> tuple[PairTable, Group]:
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
                raise InputError(f"method '{name}': {len(absent)} true photos have no samples ({some_names(absent)}).")
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
    """Scores of the best of n samples, from the per-image values.

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
    found = []
    directed = [
        metric for metric in metrics if metric.better != "neither" and not metric.of_set and not metric.of_samples
    ]
    which = np.array(table["method"].to_pylist())
    for name, methods in groups.items():
        n = len(methods)
        values = {
            metric.name: np.array(
                [table[metric.name].to_numpy(zero_copy_only=False)[which == method] for method in methods], np.float64
            )
            for metric in metrics
        }
        for metric in directed:
            # NaN wins: a sample with an infinite PSNR is the best there is, and infinite values are counted apart.
            best = np.maximum if metric.better == "higher" else np.minimum
            fields = {"agg": "image", "samples": str(n), "choice": "per-metric"}
            found.append(SampleScore(name, f"{metric.name}_best_of_{n}", best.reduce(values[metric.name]), fields))
            if metric.name == "ab_rmse":
                found.append(SampleScore(name, "error_of_best", best.reduce(values[metric.name]), fields))
        judge = next((metric for metric in directed if metric.name == "ab_rmse"), directed[0] if directed else None)
        if judge is not None:
            judged = values[judge.name]
            worst = -np.inf if judge.better == "higher" else np.inf
            known = np.where(np.isnan(judged), worst, judged)
            chosen = known.argmax(axis=0) if judge.better == "higher" else known.argmin(axis=0)
            for metric in directed:
                picked = values[metric.name][chosen, np.arange(len(chosen))]
                fields = {"agg": "image", "samples": str(n), "choice": f"joint-{judge.name}"}
                found.append(SampleScore(name, f"{metric.name}_joint_best_of_{n}", picked, fields))
        for metric in metrics:
            if metric.of_samples:
                fields = {**metric.fields, "samples": str(n)}
                found.append(SampleScore(name, metric.name, values[metric.name][0], fields))
    return found
