"""The file that holds a trained variant: weights, the ab classes they speak, and where they come from."""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from evalkit.arrays import FloatArray
from evalkit.color.ab_classes import PRESETS, AbClasses, preset
from evalkit.colorizers.learned.encoder import ENCODER, EncoderColorizationNet
from evalkit.colorizers.learned.network import ColorizationNet
from evalkit.colorizers.variants import VARIANTS
from evalkit.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Checkpoint", "load_checkpoint", "load_tensors", "save_tensors", "shipped_weights"]

FORMAT = "evalkit-colorizer/1"


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A trained variant.

    Attributes
    ----------
    variant : {"l2", "l2-finetuned", "classification", "full"}
    classes : AbClasses
        Classes of the outputs; a regression variant keeps those that it was compared under.
    widths : tuple of int
        Channels of the eight blocks; of the decoder where there is an encoder.
    input_size : int
        Side of the square that photos are resized to before they enter the network.
    state : mapping of str to Tensor
        Weights of `ColorizationNet`, or of `EncoderColorizationNet`.
    training : mapping
        How it was trained and on what: options, number of photos, their source in words.
    encoder : {"", "lite0"}
        The pretrained encoder, trained with labels; empty for a network from scratch.
    shares : ndarray of float64, shape (Q,), optional
        Shares of the ab classes in the photos that were learnt from; files of releases before 0.2 have none.
    """

    variant: str
    classes: AbClasses
    widths: tuple[int, ...]
    input_size: int
    state: Mapping[str, Tensor] = field(repr=False)
    training: Mapping[str, Any] = field(default_factory=dict, repr=False)
    encoder: str = ""
    shares: FloatArray | None = field(default=None, repr=False)

    @property
    def is_regression(self) -> bool:
        """Whether the network predicts ab itself."""
        return not VARIANTS[self.variant].classifies

    def network(self) -> ColorizationNet | EncoderColorizationNet:
        """The network with these weights, in evaluation mode."""
        n_outputs = 2 if self.is_regression else len(self.classes)
        network: ColorizationNet | EncoderColorizationNet
        if self.encoder == ENCODER:
            network = EncoderColorizationNet(n_outputs, *self.widths)
        elif not self.encoder:
            network = ColorizationNet(n_outputs, self.widths)
        else:
            raise ValueError(f"there is no encoder '{self.encoder}'")
        network.load_state_dict(dict(self.state))
        return network.eval()

    def save(self, path: Path, dtype: torch.dtype | None = None) -> None:
        """Write the file, whole or not at all.

        Parameters
        ----------
        path : Path
        dtype : torch.dtype, optional
            Type to store the weights in; half precision halves the file.
        """
        state = {
            name: value.detach().cpu().to(dtype if dtype is not None and value.is_floating_point() else value.dtype)
            for name, value in self.state.items()
        }
        classes = self.classes
        record = {
            "format": FORMAT,
            "variant": self.variant,
            "classes": {
                "name": classes.name,
                "centers": torch.from_numpy(classes.centers.copy()),
                "sigma": classes.sigma,
                "smoothing_sigma": classes.smoothing_sigma,
                "rebalancing": classes.rebalancing,
                "temperature": classes.temperature,
            },
            "widths": list(self.widths),
            "encoder": self.encoder,
            "input_size": self.input_size,
            "training": json.dumps(dict(self.training)),
            "shares": None if self.shares is None else torch.from_numpy(np.array(self.shares, dtype=np.float64)),
            "state": state,
        }
        save_tensors(record, path)


def load_checkpoint(path: Path, *, variant: str | None = None, classes: AbClasses | None = None) -> Checkpoint:
    """Read a file of `Checkpoint.save`.

    Parameters
    ----------
    path : Path
    variant : str, optional
        Which variant it must hold.
    classes : AbClasses, optional
        Which ab classes it must speak.

    Returns
    -------
    Checkpoint
        Weights in float32.

    Raises
    ------
    InputError
        If it is not such a file, does not fit together, or holds another variant or other classes than asked for.
    """
    record = load_tensors(path)
    if "format" not in record and any(key in record for key in ("model1.0.weight", "model_out.weight")):
        raise InputError(
            f"{path} is a checkpoint of the paper's release; colour with 'evalkit colorize eccv16' or 'siggraph17'"
        )
    if record.get("format") != FORMAT:
        raise InputError(f"{path} is not a checkpoint of 'evalkit train' (format {record.get('format')!r})")
    try:
        checkpoint = Checkpoint(
            variant=record["variant"],
            classes=_classes(record["classes"]),
            widths=tuple(record["widths"]),
            input_size=record["input_size"],
            state={
                key: value.float() if value.is_floating_point() else value for key, value in record["state"].items()
            },
            training=json.loads(record["training"]),
            encoder=record.get("encoder", ""),
            shares=_shares(record),
        )
        checkpoint.network()
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:300]
        raise InputError(f"{path} is damaged: its weights and its description do not fit ({reason})") from None
    if variant is not None and checkpoint.variant != variant:
        raise InputError(f"{path} holds the variant '{checkpoint.variant}', not '{variant}'")
    if classes is not None and checkpoint.classes.digest != classes.digest:
        raise InputError(
            f"{path} speaks the ab classes {checkpoint.classes.name} ({len(checkpoint.classes)} of them), "
            f"not {classes.name} ({len(classes)})"
        )
    return checkpoint


def _shares(record: Mapping[str, Any]) -> FloatArray | None:
    if record.get("shares") is None:
        return None
    shares = np.asarray(record["shares"], dtype=np.float64)
    if shares.shape != (len(record["classes"]["centers"]),) or not np.isfinite(shares).all() or shares.min() < 0:
        raise ValueError("its class shares are not one number for each class")
    return shares


def _classes(record: Mapping[str, Any]) -> AbClasses:
    name = str(record["name"])
    classes = AbClasses(
        name=name,
        centers=np.asarray(record["centers"], dtype=np.float64),
        **{key: float(record[key]) for key in ("sigma", "smoothing_sigma", "rebalancing", "temperature")},
    )
    if name in PRESETS and classes.digest != preset(name).digest:
        raise ValueError(f"its centres are not those of {name}")
    return classes


def save_tensors(record: Mapping[str, Any], path: Path) -> None:
    """Write what `load_tensors` reads; the file appears whole or not at all."""
    from evalkit.files import atomic_file

    with atomic_file(path) as file:
        torch.save(dict(record), file)


def load_tensors(path: Path) -> dict[str, Any]:
    """Read a file of tensors and plain values; nothing in it is ever executed.

    Raises
    ------
    InputError
        If there is no such file, or it holds anything else.
    """
    if not path.is_file():
        raise InputError(f"{path}: there is no such file of weights")
    try:
        record = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError, OSError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{path} is not a file of weights that torch can read ({reason[:200]})") from None
    if not isinstance(record, Mapping):
        raise InputError(f"{path} holds no table of weights")
    return dict(record)


def shipped_weights(variant: str) -> Path:
    """The trained checkpoint that comes with the package.

    Those of the variants have a pretrained encoder; ``classification-small`` is one from scratch.

    Raises
    ------
    InputError
        If this installation has none for the variant.
    """
    path = Path(os.fspath(files("evalkit.colorizers") / "weights" / f"{variant}.pt"))  # type: ignore[call-overload]
    if not path.is_file():
        raise InputError(f"no weights for '{variant}' come with this installation; name a file with --weights")
    return path
