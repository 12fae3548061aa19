"""What the networks of a run are told, and what one metric makes of it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from evalkit.errors import InputError, check_kind, check_path, check_whole

__all__ = ["NetworkOptions", "Precision", "Setup", "check_device_name", "chosen_networks"]

Precision = Literal["fp32", "bf16", "fp16"]


@dataclass(frozen=True, kw_only=True)
class NetworkOptions:
    """What the networks of a run are told.

    Attributes
    ----------
    labels : str or None
        Label file, or ``folders`` or ``names`` (see `evalkit.datasets.labels`).
    weights : mapping of str to Path
        Weights file by network name; others are looked for in the torch hub cache.
    classifiers : mapping of str to str
        The user's own classifiers: ``package.module:function`` by name.
    preprocessing : mapping of str to str
        By classifier name, for example ``"warp227"`` (see `evalkit.networks.classifiers.Preprocessing`).
    device : {"auto", "cpu", "cuda", "mps"} or a torch device such as "cuda:1"
    batch_size : int or None
        Images per batch; None chooses by device. Results agree within 1e-4 in probability.
    precision : {"fp32", "bf16", "fp16"}
        Classifiers compute in fp32 what leaves the first class in doubt in the shorter ones (`evalkit.networks.doubt`).
    cache : str, Path or None
        Folder in which outputs of true photos are kept for other runs. ``"auto"``: a run uses what ``EVALKIT_CACHE`` names,
        else the user's own (`evalkit.networks.output_cache.chosen_cache_folder`), and functions and accumulators on arrays
        use none. None: no cache.
    loaded : dict
        The user's classifiers that were loaded for these options, by name, so that each is loaded once in a process;
        stays behind when the options go to another process.
    """

    labels: str | None = None
    weights: Mapping[str, Path] = field(default_factory=dict)
    classifiers: Mapping[str, str] = field(default_factory=dict)
    preprocessing: Mapping[str, str] = field(default_factory=dict)
    device: str = "auto"
    batch_size: int | None = None
    precision: Precision = "fp32"
    cache: str | Path | None = "auto"
    loaded: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.labels is not None:
            check_path("labels", self.labels)
        for name in ("weights", "classifiers", "preprocessing"):
            check_kind(name, getattr(self, name), Mapping, "a mapping by the name of a network")
        for network, file in self.weights.items():
            check_path(f"weights[{network!r}]", file)
        for name in ("classifiers", "preprocessing"):
            for network, text in getattr(self, name).items():
                check_kind(f"{name}[{network!r}]", text, str, "a text")
        check_device_name(self.device)
        if self.batch_size is not None:
            check_whole("batch_size", self.batch_size, 1)
        if self.precision not in get_args(Precision):
            raise InputError(f"precision {self.precision!r} is unknown; allowed: {', '.join(get_args(Precision))}")
        if self.cache is not None:
            check_path("cache", self.cache)

    @property
    def cache_folder(self) -> Path | None:
        """Folder of the cache, where one was chosen."""
        return None if self.cache is None or self.cache == "auto" else Path(self.cache)

    def __getstate__(self) -> dict[str, Any]:
        """Without the networks: they may be large, and need not be of a kind that travels."""
        return {**self.__dict__, "loaded": {}}


def check_device_name(name: object) -> None:
    """Refuse what no machine has, also where nothing will run on it and torch need not be loaded.

    Parameters
    ----------
    name : str or torch.device
        As `evalkit.networks.devices.choose_device` takes it.

    Raises
    ------
    InputError
        If it names no kind of device.
    """
    if re.fullmatch(r"auto|(cpu|cuda|mps)(:[0-9]+)?", str(name)) is None:
        raise InputError(f"device {str(name)!r} is unknown; allowed: auto, cpu, cuda, cuda:N, mps.")


def chosen_networks(networks: NetworkOptions | None) -> NetworkOptions:
    """Options as they were given, or the default; anything else is refused in a sentence."""
    if networks is not None:
        check_kind("networks", networks, NetworkOptions, "evalkit.NetworkOptions(...)")
    return networks or NetworkOptions()


@dataclass(frozen=True)
class Setup:
    """What the options come to for one metric; stored in ``run.json``.

    Attributes
    ----------
    fields : mapping of str to str
        Signature fields that the options decide (weights, preprocessing, precision).
    reason : str
        Why the metric is unscored (no weights file, say); empty where it is measured.
    """

    fields: Mapping[str, str] = field(default_factory=dict)
    reason: str = ""
