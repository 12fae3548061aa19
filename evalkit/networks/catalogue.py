"""What is published: which weights a network has, and where they are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from evalkit.errors import InputError
from evalkit.networks._torchvision_compat import import_torchvision
from evalkit.networks.inception import torch_fidelity
from evalkit.networks.needs import missing_packages
from evalkit.networks.weight_files import PublishedWeights
from evalkit.wording import did_you_mean

__all__ = ["LISTED", "published_inception", "published_release", "published_weights"]

LISTED = ("vgg16", "alexnet", "inception_fid")
"""Networks of built-in metrics, for ``evalkit weights`` without a name."""


def published_weights(network: str) -> PublishedWeights:
    """The published weights of a network.

    Parameters
    ----------
    network : str
        ``inception_fid``, or any classifier of torchvision by name (of several releases its first, ``IMAGENET1K_V1``).

    Raises
    ------
    InputError
        If there is no such network, with the nearest name; or torch or torchvision is not installed.
    """
    if network == "inception_fid":
        return published_inception()
    release = published_release(network)
    meta: Mapping[str, Any] = release.meta
    return PublishedWeights(network, release.name, release.url, meta.get("_file_size"))


def published_release(network: str) -> Any:
    """Published weights of a classifier of torchvision: its first release, ``IMAGENET1K_V1``, else its default.

    Raises
    ------
    InputError
        If there is no such classifier (with the nearest name), or torchvision is not installed.
    """
    models = import_torchvision().models
    names = models.list_models(module=models)
    if network not in names:
        raise InputError(
            f"there is no classifier '{network}' in torchvision{did_you_mean(network, names)}. Your own is named with --classifier "
            "NAME=package.module:function."
        )
    releases = models.get_model_weights(network)
    return getattr(releases, "IMAGENET1K_V1", None) or releases.DEFAULT


def published_inception() -> PublishedWeights:
    """Weights of the Inception network of FID, converted by torch-fidelity."""
    reason = missing_packages("torch", "torchvision", "torch_fidelity")
    if reason:
        raise InputError(reason)
    url: str = torch_fidelity("feature_extractor_inceptionv3").URL_INCEPTION_V3
    return PublishedWeights("inception_fid", "inception-2015-12-05", url)
