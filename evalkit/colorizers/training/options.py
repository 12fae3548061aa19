"""What decides the weights that a training ends with, and how its arithmetic is done."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields
from typing import Any

from evalkit.color.ab_classes import AbClasses
from evalkit.colorizers.learned.encoder import ENCODER
from evalkit.colorizers.learned.network import LAYOUTS, STRIDE
from evalkit.colorizers.variants import VARIANTS
from evalkit.errors import InputError

__all__ = ["PRECISIONS", "Compute", "TrainingOptions"]

PRECISIONS = ("off", "bf16", "fp16")
"""Mixed precision of the network's arithmetic; ``off`` is float32."""


@dataclass(frozen=True, kw_only=True)
class Compute:
    """How the arithmetic of a training is done: the speed, and the last bits of the result.

    Attributes
    ----------
    threads : int, optional
        Cores that torch computes on; on a CPU only.
    amp : {"off", "bf16", "fp16"}, optional
        Precision of the network's arithmetic; the loss is always taken in float32.
    channels_last : bool, optional
        Memory layout of the activations.

    Notes
    -----
    What is None is measured before the first step, and the fastest is taken; a continued run keeps what it was
    started with. Float32 and bf16 are candidates; fp16 is taken only where it is asked for.
    """

    threads: int | None = None
    amp: str | None = None
    channels_last: bool | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be.

        Raises
        ------
        InputError
            If there are fewer threads than one, or the precision has no such name.
        """
        if self.threads is not None and self.threads < 1:
            raise InputError(f"{self.threads} threads: at least 1 is needed")
        if self.amp is not None and self.amp not in PRECISIONS:
            raise InputError(f"there is no mixed precision '{self.amp}'; allowed: {', '.join(PRECISIONS)}")

    def __str__(self) -> str:
        """In words, for the user."""
        threads = "" if self.threads is None else f"{self.threads} thread{'s' * (self.threads > 1)}, "
        precision = {"off": "float32", None: "float32"}.get(self.amp, str(self.amp))
        return f"{threads}{precision}, {'channels-first' if self.channels_last is False else 'channels-last'}"

    def completed(self, chosen: Compute) -> Compute:
        """With the choices of another record where this one leaves them open."""
        mine = {name: value for name, value in asdict(self).items() if value is not None}
        return Compute(**{**asdict(chosen), **mine})


@dataclass(frozen=True, kw_only=True)
class TrainingOptions:
    """What decides the weights that come out, but for rounding.

    Attributes
    ----------
    variant : {"l2", "l2-finetuned", "classification", "full"}
    classes : AbClasses
    layout : {"full", "small", "tiny", "lite0"}
        Size of the published network; or the one with a pretrained encoder.
    steps : int
        Number of updates.
    batch_size : int
        Crops per update, over all processes.
    accumulate : int
        Parts that a process takes its share of the batch in, one after the other: less memory, the same gradient
        (batch normalisation sees one part at a time, as it sees one process at a time).
    crop_size : int
        Side of the crops; photos are resized to it when the network colours them.
    learning_rate : float
        Largest one; it rises linearly over the first twentieth of the steps (at most 500) and falls to zero as a
        half cosine.
    weight_decay : float
    seed : int
    crops : {"random", "whole"}
        Random parts of the photos, their L as if exposed otherwise; or whole photos. Both are mirrored half of the
        time.
    encoder_learning_rate : float
        Largest learning rate of a pretrained encoder.
    average : float
        Decay per step of an exponential average of the weights, 0 to below 1; the average is then what is validated
        and saved. 0 keeps none.
    validate_every : int, optional
        Steps between validations, where there are validation photos; once per epoch where not given.
    patience : int, optional
        Stop after so many validations without a better score, and keep the best weights. The score is AuC; of
        ``full``, whose objective costs AuC, it is rebalanced AuC.
    """

    variant: str
    classes: AbClasses
    layout: str = "full"
    steps: int = 100_000
    batch_size: int = 32
    accumulate: int = 1
    crop_size: int = 176
    learning_rate: float = 3e-4
    weight_decay: float = 1e-3
    seed: int = 0
    crops: str = "random"
    encoder_learning_rate: float = 5e-4
    average: float = 0.0
    validate_every: int | None = None
    patience: int | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be.

        Raises
        ------
        InputError
            If an option has a value that is not allowed.
        """
        if self.variant not in VARIANTS:
            raise InputError(f"there is no variant '{self.variant}'; allowed: {', '.join(VARIANTS)}")
        if self.layout not in (*LAYOUTS, ENCODER):
            raise InputError(f"there is no network '{self.layout}'; allowed: {', '.join((*LAYOUTS, ENCODER))}")
        if self.crops not in ("random", "whole"):
            raise InputError(f"there are no crops '{self.crops}'; allowed: random, whole")
        if self.crop_size % STRIDE or self.crop_size < 2 * STRIDE:
            raise InputError(f"crops of {self.crop_size} pixels: the side must be a multiple of {STRIDE}, 16 or more")
        for name in ("steps", "batch_size", "accumulate", "validate_every", "patience"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InputError(f"{name} is {value}; it must be at least 1")
        for what, rate in (("", self.learning_rate), (" of the encoder", self.encoder_learning_rate)):
            if not 0 < rate < math.inf:
                raise InputError(f"the learning rate{what} is {rate}; it must be a positive number")
        if not 0 <= self.weight_decay < math.inf:
            raise InputError(f"the weight decay is {self.weight_decay}; it must be 0 or a positive number")
        if not 0 <= self.average < 1:
            raise InputError(f"the decay of the average is {self.average}; it must be 0 (no average) or below 1")

    def learning_rate_at(self, step: int) -> float:
        """Learning rate of an update, the first being number 0."""
        rising = min(500, max(1, self.steps // 20))
        if step < rising:
            return self.learning_rate * (step + 1) / rising
        return self.learning_rate * 0.5 * (1 + math.cos(math.pi * (step - rising) / max(1, self.steps - rising)))

    def as_record(self) -> dict[str, Any]:
        """Plain values, for files; the classes by name and digest."""
        record = {item.name: getattr(self, item.name) for item in fields(self)}
        return {**record, "classes": f"{self.classes.name}@{self.classes.digest}"}
