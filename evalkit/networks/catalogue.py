"""What is published: which weights a network has, and where they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from evalkit.errors import InputError
from evalkit.networks._torchvision_compat import import_torchvision
from evalkit.networks.inception import torch_fidelity
from evalkit.networks.needs import missing_packages
from evalkit.networks.options import NetworkOptions
from evalkit.networks.weight_files import PublishedWeights
from evalkit.wording import did_you_mean, some_names

__all__ = ["LISTED", "check_network_names", "published_inception", "published_release", "published_weights"]

LISTED = ("vgg16", "alexnet", "inception_fid")
"""Networks of built-in metrics, for ``evalkit weights`` without a name."""

WITHOUT_RELEASE = ("vgg16_caffe",)
"""Networks of built-in metrics whose weights nobody publishes in torch's format."""


def check_network_names(
    options: NetworkOptions, users: Mapping[str, Sequence[str]], recognisers: Mapping[str, Sequence[str]]
) -> tuple[str, ...]:
    """Refuse weights, preprocessing and classifiers that cannot be, used or not; say which ones nothing uses.

    A misspelt name would otherwise leave its network without weights, and the metric unscored, or quietly score under
    the preprocessing of the default.

    Parameters
    ----------
    options : NetworkOptions
    users : mapping of str to sequence of str
        Metrics that use a network, by its name.
    recognisers : mapping of str to sequence of str
        Those of them that classify images, whose preprocessing can be chosen.

    Returns
    -------
    tuple of str
        One sentence per name that exists and that none of these metrics uses.

    Raises
    ------
    InputError
        A name that no network has (with the nearest), weights for a classifier of the user's own or from a file that does
        not exist, or a classifier that is no ``package.module:function``.
    """
    own = tuple(options.classifiers)
    for name, path in options.weights.items():
        if name in own:
            raise InputError(
                f"--weights {name}={path}: {name} is a classifier of your own, which loads its weights itself."
            )
        _check_network_name(f"--weights {name}={path}", "network", name, users, (*LISTED, *WITHOUT_RELEASE))
        check_weights_file(name, path)
    for name, address in options.classifiers.items():
        classifier_function(name, address)
    for name, text in options.preprocessing.items():
        _check_network_name(f"--preprocess {name}={text}", "classifier", name, recognisers, (*own, *WITHOUT_RELEASE))
    return (
        *(
            f"{option} {name} is used by no metric of this run; they use {_users_in_words(by) or 'no network'}"
            for option, given, by in (
                ("--weights", options.weights, users),
                ("--preprocess", options.preprocessing, recognisers),
            )
            for name in given
            if name not in by
        ),
        *(
            f"--classifier {name} is used by no metric of this run; add {name}_top1 or {name}_top5 to the metrics"
            for name in own
            if name not in recognisers
        ),
    )


def check_weights_file(network: str, path: Path) -> None:
    """Refuse a file of weights that does not exist."""
    if not path.is_file():
        raise InputError(f"--weights {network}={path}: no such file.")


def classifier_function(network: str, address: str) -> tuple[str, str]:
    """Module and function of ``package.module:function``.

    Raises
    ------
    InputError
        If it has another form.
    """
    module, colon, function = address.partition(":")
    if not colon or not module or not function:
        raise InputError(f"--classifier {network}={address}: expected package.module:function.")
    return module, function


def _check_network_name(
    option: str, what: str, name: str, users: Mapping[str, Sequence[str]], listed: Sequence[str]
) -> None:
    names = dict.fromkeys((*users, *listed))
    if name in names or missing_packages("torch", "torchvision"):
        return
    models = import_torchvision().models
    in_torchvision = models.list_models(module=models)
    if name in in_torchvision:
        return
    # A part of a name means the network of this run that bears it: 'inception' is nearer to 'inception_v3' by its letters.
    parts = [network for network in (*users, *listed) if name.casefold() in network.casefold()]
    meant = (
        f" (did you mean '{parts[0]}'?)" if parts else did_you_mean(name, names) or did_you_mean(name, in_torchvision)
    )
    of_run = f"the metrics of this run use {_users_in_words(users)}" if users else "no metric of this run uses one"
    raise InputError(
        f"{option}: there is no {what} '{name}'{meant}; {of_run}; allowed are {', '.join(names)} and torchvision's "
        "classifiers by name."
    )


def _users_in_words(users: Mapping[str, Sequence[str]]) -> str:
    return ", ".join(f"{network} ({some_names(metrics)})" for network, metrics in users.items())


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
