"""What a run was: enough to compute its summary again from its statistics. Stored as ``run.json``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from evalkit.color.ab_classes import AbClasses, Prior, preset
from evalkit.errors import InputError
from evalkit.metrics.ab_counts import AbErrorOptions
from evalkit.networks.options import Setup
from evalkit.text_formats import parse_json
from evalkit.wording import error_reason

__all__ = ["RunDefinition", "RunRecord"]


@dataclass(frozen=True, kw_only=True)
class RunDefinition:
    """What defines the numbers of a run, whatever the images are.

    Attributes
    ----------
    methods : tuple of str
        In the order of the tables.
    builtins : tuple of str
        Those of them that evalkit makes itself (truth, gray, random), scored as anchors.
    metrics : tuple of str
    options : AbErrorOptions
    size : int or None
        Everything is resized to this size first; None scores the files as they are.
    fit : {"warp", "crop"}
    resample : {"bicubic", "bilinear", "area"}
        With which filter.
    seed : int
        Of the ``random`` method and of the bootstrap.
    setups : mapping of str to Setup
        What the network options come to, by metric.
    samples : mapping of str to tuple of str
        Methods that are samples of one, by its name.
    """

    methods: tuple[str, ...]
    builtins: tuple[str, ...]
    metrics: tuple[str, ...]
    options: AbErrorOptions = field(default_factory=AbErrorOptions)
    size: int | None = None
    fit: str = "warp"
    resample: str = "bicubic"
    seed: int = 0
    setups: Mapping[str, Setup] = field(default_factory=dict)
    samples: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def size_field(self) -> str:
        """Signature field: ``native``, or for example ``256-warp-bicubic``."""
        return size_field(self.size, self.fit, self.resample)

    @property
    def own_methods(self) -> tuple[str, ...]:
        """Methods that are neither anchors nor the truth."""
        return tuple(name for name in self.methods if name not in self.builtins and name != "truth")


def size_field(size: int | None, fit: str, resample: str) -> str:
    """How images were resized, as signatures say it: ``native``, or for example ``256-warp-bicubic``."""
    return "native" if size is None else f"{size}-{fit}-{resample}"


@dataclass(frozen=True, kw_only=True)
class RunRecord(RunDefinition):
    """A run that was made.

    Attributes
    ----------
    n_bootstrap : int
        Replicates behind the intervals; 0 for no intervals.
    allow_missing : bool
        Whether images were left out that not all methods had.
    inputs : mapping
        Digest of every folder.
    missing : sequence of mappings
        What `allow_missing` left out: ``image``, ``method``, ``reason``.
    notes : tuple of str
        What the run noticed, beside what the statistics show.
    shards : mapping of str to int
        File name and rows of every shard of the statistics: how every reader notices that some are missing.
    reading : mapping
        How files were read, where not as they are by default: ``max_megapixels``, ``convert_cmyk``, ``turn_like_truth``.
        The report shows pictures so.
    cache : mapping of str to str or int
        Cache of network outputs: its ``folder``, and how many outputs of true photos were ``read`` there, ``stored``, and
        ``damaged`` there and computed anew; empty where none took part. The numbers do not depend on it.
    """

    n_bootstrap: int
    allow_missing: bool = False
    inputs: Mapping[str, Any] = field(default_factory=dict)
    missing: Sequence[Mapping[str, str]] = ()
    notes: tuple[str, ...] = ()
    shards: Mapping[str, int] = field(default_factory=dict)
    reading: Mapping[str, Any] = field(default_factory=dict)
    cache: Mapping[str, str | int] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "methods": list(self.methods),
            "builtins": list(self.builtins),
            "metrics": list(self.metrics),
            "options": {
                **_options_to_json(self.options),
                "networks": {
                    name: {"fields": dict(setup.fields), "reason": setup.reason} for name, setup in self.setups.items()
                },
            },
            "size": self.size,
            "fit": self.fit,
            "resample": self.resample,
            "seed": self.seed,
            "bootstrap": self.n_bootstrap,
            "allow_missing": self.allow_missing,
            "inputs": dict(self.inputs),
            "missing": [dict(entry) for entry in self.missing],
            "notes": list(self.notes),
            "shards": dict(self.shards),
            "reading": dict(self.reading),
            "cache": dict(self.cache),
            "samples": {name: list(methods) for name, methods in self.samples.items()},
        }

    @classmethod
    def from_json(cls, path: Path) -> RunRecord:
        """Read ``run.json``.

        Raises
        ------
        InputError
            If the file is missing or not a record of a scoring run.
        """
        try:
            data = parse_json(path.read_text(encoding="utf-8"))
            return cls(
                methods=tuple(data["methods"]),
                builtins=tuple(data["builtins"]),
                metrics=tuple(data["metrics"]),
                options=_options_from_json(data["options"]),
                size=data["size"],
                fit=data["fit"],
                resample=data["resample"],
                seed=data["seed"],
                n_bootstrap=data["bootstrap"],
                allow_missing=data["allow_missing"],
                inputs=data["inputs"],
                missing=tuple(data["missing"]),
                setups={name: Setup(**setup) for name, setup in data["options"]["networks"].items()},
                notes=tuple(data["notes"]),
                shards=dict(data["shards"]),
                # Runs of before it was kept have none.
                reading=dict(data.get("reading", {})),
                cache=dict(data.get("cache", {})),
                samples={name: tuple(methods) for name, methods in data["samples"].items()},
            )
        except (FileNotFoundError, NotADirectoryError):
            raise InputError(f"{path}: no such file; name a finished --out folder of 'evalkit score'") from None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"{path}: not a record of a scoring run ({error_reason(error)})") from None


def _options_to_json(options: AbErrorOptions) -> dict[str, Any]:
    is_own = options.classes.name.startswith("file")
    return {
        "classes": options.classes.name,
        "class_centers": options.classes.centers.tolist() if is_own else None,
        "prior": "truth" if options.prior is None else options.prior.name,
        "prior_shares": None if options.prior is None else options.prior.shares.tolist(),
        "quadrature": options.quadrature,
        "max_threshold": options.max_threshold,
        "lambda": options.rebalancing,
    }


def _options_from_json(data: Mapping[str, Any]) -> AbErrorOptions:
    name, centers, shares = data["classes"], data["class_centers"], data["prior_shares"]
    return AbErrorOptions(
        classes=preset(name) if centers is None else AbClasses(name=name, centers=np.array(centers, dtype=np.float64)),
        prior=None if shares is None else Prior(data["prior"], np.array(shares)),
        quadrature=data["quadrature"],
        max_threshold=data["max_threshold"],
        rebalancing=data["lambda"],
    )
