"""Classifiers: what an image goes through on its way to class scores.

Three kinds, by name: any classifier of torchvision (``vgg16``, ``resnet50``, ...), the original VGG-16 of Caffe
(``vgg16_caffe``), and the user's own module (``package.module:function``).
"""

from __future__ import annotations

import copy
import hashlib
import importlib
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
import numpy.typing as npt

from evalkit.arrays import BoolArray, Rgb8
from evalkit.errors import InputError
from evalkit.networks.catalogue import check_weights_file, classifier_function, published_release, published_weights
from evalkit.networks.devices import BatchRunner, choose_device, standardized, torch_dtype, uploaded
from evalkit.networks.doubt import FP32_BATCH, SAFETY, ScoreError, first_in_doubt, trial_images
from evalkit.networks.needs import missing_packages
from evalkit.networks.options import NetworkOptions, Precision, Setup
from evalkit.networks.output_cache import computed_by
from evalkit.networks.weight_files import file_digest, load_state

if TYPE_CHECKING:
    import torch
    from torch import nn

__all__ = [
    "Classifier",
    "Preprocessing",
    "precision_field",
    "set_up_classifier",
    "weights_field",
    "weights_path",
]

Normalization = Literal["imagenet", "half", "caffe"]

NORMALIZATION: Mapping[str, tuple[tuple[float, float, float], tuple[float, float, float]]] = {
    # Mean and standard deviation on the scale 0..1 (torchvision's weights).
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    # To [-1, 1] (TensorFlow's weights).
    "half": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    # Simonyan and Zisserman's Caffe networks: 0..255 less the mean, then BGR; here in the order R, G, B.
    "caffe": ((123.68 / 255, 116.779 / 255, 103.939 / 255), (1 / 255, 1 / 255, 1 / 255)),
}
"""Mean and divisor by channel R, G, B, on the scale 0..1."""

_SPEC = re.compile(
    r"(?P<resize>short|warp)(?P<size>\d+)(-crop(?P<crop>\d+))?(-(?P<filter>bilinear|bicubic))?"
    r"(-(?P<normalization>imagenet|half|caffe))?"
)

CAFFE_RENAMED = {"classifier.1.": "classifier.0.", "classifier.4.": "classifier.3."}
"""Layers that the usual conversion of the Caffe VGG-16 numbers differently from torchvision."""


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """What is done to an image before a classifier sees it.

    Attributes
    ----------
    resize : {"short", "warp"}
        Scale the short side to `size` and keep the aspect ratio, or scale both sides to `size`.
    size : int
    crop : int or None
        Side of the square cut from the centre; None keeps everything (only with ``warp``).
    filter : {"bilinear", "bicubic"}
        Antialiased, by Pillow: the very pixels of torchvision's ``Resize`` on a PIL image.
    normalization : {"imagenet", "half", "caffe"}
        Mean and standard deviation of ImageNet; to [-1, 1]; or 0..255 less the mean, as BGR.
    """

    resize: Literal["short", "warp"] = "short"
    size: int = 256
    crop: int | None = 224
    filter: Literal["bilinear", "bicubic"] = "bilinear"
    normalization: Normalization = "imagenet"

    def __post_init__(self) -> None:
        if self.resize == "short" and self.crop is None:
            raise InputError(f"preprocessing {self}: short{self.size} needs a crop, for example short256-crop224.")
        if not 16 <= self.side <= self.size <= 4096:
            raise InputError(f"preprocessing {self}: sizes are 16 to 4096 pixels, the crop no larger than the image.")

    @classmethod
    def parse(cls, text: str, default: Normalization = "imagenet") -> Preprocessing:
        """Read a specification such as ``short256-crop224``, ``warp227`` or ``warp224-bicubic-half``.

        Raises
        ------
        InputError
            If it has another form, or its sizes do not fit together.

        Examples
        --------
        >>> str(Preprocessing.parse("warp227"))
        'warp227-bilinear-imagenet'
        """
        match = _SPEC.fullmatch(text)
        if match is None:
            raise InputError(
                f"preprocessing {text!r} is not understood; allowed: shortN-cropM or warpN or warpN-cropM, then optionally "
                "-bilinear or -bicubic and -imagenet, -half or -caffe, for example short256-crop224 or warp227."
            )
        return cls(
            resize=cast('Literal["short", "warp"]', match["resize"]),
            size=int(match["size"]),
            crop=int(match["crop"]) if match["crop"] else None,
            filter=cast('Literal["bilinear", "bicubic"]', match["filter"] or "bilinear"),
            normalization=cast(Normalization, match["normalization"] or default),
        )

    def __str__(self) -> str:
        crop = "" if self.crop is None else f"-crop{self.crop}"
        return f"{self.resize}{self.size}{crop}-{self.filter}-{self.normalization}"

    @property
    def side(self) -> int:
        """Side in pixels of what the network sees."""
        return self.size if self.crop is None else self.crop

    @property
    def pixels_key(self) -> tuple[str, int, int | None, str]:
        """What `pixels` depends on; the normalization comes later."""
        return self.resize, self.size, self.crop, self.filter

    def pixels(self, rgb8: Rgb8) -> Rgb8:
        """Resize and crop: uint8, shape (H, W, 3) to (side, side, 3)."""
        from PIL import Image

        height, width = rgb8.shape[:2]
        if self.resize == "warp":
            new_height = new_width = self.size
        else:
            short = min(height, width)
            new_height, new_width = self.size * height // short, self.size * width // short
        if (new_height, new_width) != (height, width):
            resampling = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}[self.filter]
            rgb8 = np.array(Image.fromarray(rgb8).resize((new_width, new_height), resampling))
        # torchvision's CenterCrop.
        top, left = round((new_height - self.side) / 2), round((new_width - self.side) / 2)
        return np.ascontiguousarray(rgb8[top : top + self.side, left : left + self.side])

    def tensor(self, batch: Rgb8, device: torch.device) -> torch.Tensor:
        """Normalise: uint8, shape (N, side, side, 3) to float32, shape (N, 3, side, side)."""
        import torch

        mean, divisor = NORMALIZATION[self.normalization]
        n_images, height, width = batch.shape[:3]
        # Bytes travel to the device, a quarter of the floats.
        rows = uploaded(batch, device).view(n_images, height, width * 3).float().div_(255)
        shift, scale = (torch.tensor(one, dtype=torch.float32, device=device) for one in (mean, divisor))
        x = standardized(rows, shift, scale)
        return x.flip(1) if self.normalization == "caffe" else x


PixelsFunction = Callable[[Rgb8], npt.NDArray[Any]]
"""A user's preprocessing: uint8, shape (H, W, 3), to float32, shape (3, H', W'), of one size for all images."""


def _default_preprocessing(network: str) -> Preprocessing:
    preset = published_release(network).transforms()
    return Preprocessing(
        resize="short",
        size=preset.resize_size[0],
        crop=preset.crop_size[0],
        filter=preset.interpolation.value,
        normalization="imagenet",
    )


def _base(network: str) -> str:
    return "vgg16" if network == "vgg16_caffe" else network


def _preprocessing(network: str, options: NetworkOptions) -> Preprocessing:
    normalization: Normalization = "caffe" if network == "vgg16_caffe" else "imagenet"
    text = options.preprocessing.get(network)
    if text is not None:
        return Preprocessing.parse(text, normalization)
    if network == "vgg16_caffe":
        return Preprocessing(normalization="caffe")
    return _default_preprocessing(network)


def weights_path(network: str, options: NetworkOptions) -> tuple[Path | None, str]:
    """Weights file of a classifier of torchvision, and why there is none."""
    given = options.weights.get(network)
    if given is not None:
        check_weights_file(network, given)
        return given, ""
    if network == "vgg16_caffe":
        return (
            None,
            "vgg16_caffe has no published file in torch's format: name a converted one with --weights vgg16_caffe=FILE",
        )
    published = published_weights(network)
    return (published.path, "") if published.path.is_file() else (None, published.absence)


def set_up_classifier(network: str, options: NetworkOptions) -> Setup:
    """Choose weights and preprocessing of a classifier; say why where it cannot run.

    Raises
    ------
    InputError
        Unknown classifier or device, weights file that does not exist or belongs to another network, preprocessing
        that is not understood.
    """
    if network not in options.classifiers:
        reason = missing_packages("torch", "torchvision")
        if reason:
            return Setup(reason=reason)
    choose_device(options.device)
    precision = {"prec": precision_field(options.precision)}
    if network in options.classifiers:
        own = _load_own(network, options)
        return Setup({"prep": own.prep_field, "weights": own.weights_field, **precision})
    prep = _preprocessing(network, options)
    path, reason = weights_path(network, options)
    if path is None:
        return Setup({"prep": str(prep), **precision}, reason)
    # Built here too: a file of another network is told before the first image is decoded.
    _build(network, path)
    return Setup({"prep": str(prep), "weights": weights_field(network, path), **precision})


def precision_field(precision: Precision) -> str:
    """Signature field of the numbers that a classifier computes with: those in doubt are computed anew in fp32.

    >>> precision_field("bf16")
    'bf16+fp32'
    """
    return precision if precision == "fp32" else f"{precision}+fp32"


def weights_field(network: str, path: Path) -> str:
    """Signature field of a weights file: the published release where it is that file, else its digest."""
    digest = file_digest(path)
    if network != "vgg16_caffe":
        published = published_weights(network)
        if published.sha256 and digest.startswith(published.sha256):
            return f"{published.version}@{digest[:8]}"
    return f"file@{digest[:8]}"


def _build(network: str, path: Path) -> nn.Module:
    import torch

    from evalkit.networks._torchvision_compat import import_torchvision

    state = load_state(path)
    if network == "vgg16_caffe":
        renamed = {old for old in CAFFE_RENAMED if any(name.startswith(old) for name in state)}
        for old in renamed:
            state = {name.replace(old, CAFFE_RENAMED[old]): value for name, value in state.items()}
    # Without storage: the tensors of the file become the parameters, nothing is initialised in vain.
    with torch.device("meta"):
        model = import_torchvision().models.get_model(_base(network), weights=None, **_plain(network))
    wanted = model.state_dict()
    # BatchNorm counts batches for training alone; old files lack it.
    missing = [name for name in wanted if name not in state and not name.endswith("num_batches_tracked")]
    shapes = [name for name in wanted if name in state and state[name].shape != wanted[name].shape]
    surplus = [name for name in state if name not in wanted]
    if missing or shapes or surplus:
        raise InputError(f"{path}: are weights of another network than {network} ({_difference(state, wanted)}).")
    for name in wanted:
        state.setdefault(name, torch.zeros((), dtype=torch.int64))
    model.load_state_dict(state, assign=True)
    return cast("nn.Module", model.eval())


def _plain(network: str) -> dict[str, Any]:
    # Two architectures take other inputs than their weights were given here, and mend that inside when told to.
    return {"init_weights": False, "transform_input": True} if network in ("inception_v3", "googlenet") else {}


def _difference(state: Mapping[str, torch.Tensor], wanted: Mapping[str, torch.Tensor]) -> str:
    for name, tensor in wanted.items():
        if name not in state:
            if not name.endswith("num_batches_tracked"):
                return f"it has no {name}"
        elif state[name].shape != tensor.shape:
            return f"its {name} is {'x'.join(map(str, state[name].shape))}, not {'x'.join(map(str, tensor.shape))}"
    return f"its {next(name for name in state if name not in wanted)} is unknown there"


@dataclass(frozen=True)
class _OwnClassifier:
    module: nn.Module
    preprocessing: Preprocessing | PixelsFunction
    where: str

    @property
    def prep_field(self) -> str:
        return str(self.preprocessing) if isinstance(self.preprocessing, Preprocessing) else self.where

    @property
    def weights_field(self) -> str:
        return f"{self.where}@{self.digest[:8]}"

    @cached_property
    def digest(self) -> str:
        import torch

        digest = hashlib.sha256()
        for name, value in sorted(self.module.state_dict().items()):
            digest.update(name.encode())
            digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()


def _load_own(network: str, options: NetworkOptions) -> _OwnClassifier:
    """The user's classifier as it was made, on the CPU; loaded once per run and process."""
    if network not in options.loaded:
        options.loaded[network] = _made_own(network, options)
    return cast(_OwnClassifier, options.loaded[network])


def _made_own(network: str, options: NetworkOptions) -> _OwnClassifier:
    address = options.classifiers[network]
    module_name, function_name = classifier_function(network, address)
    # A command does not look into the current folder for modules, `python -m` does; people expect the latter.
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))
    try:
        function = getattr(importlib.import_module(module_name), function_name)
    except (ImportError, AttributeError) as error:
        raise InputError(f"--classifier {network}={address}: does not load ({error}).") from error
    import torch

    made = function()
    module, preprocessing = made if isinstance(made, tuple) and len(made) == 2 else (made, None)
    if not isinstance(module, torch.nn.Module) or not (
        preprocessing is None or isinstance(preprocessing, str | Preprocessing) or callable(preprocessing)
    ):
        raise InputError(
            f"--classifier {network}={address}: the function must return a torch.nn.Module, or a pair of one and its "
            "preprocessing (a text such as 'short256-crop224', or a function of one uint8 image)."
        )
    given = options.preprocessing.get(network)
    if given is not None:
        preprocessing = given
    if preprocessing is None:
        preprocessing = Preprocessing()
    if isinstance(preprocessing, str):
        preprocessing = Preprocessing.parse(preprocessing)
    return _OwnClassifier(module.eval(), preprocessing, address)


class Classifier:
    """A network with its preprocessing, on its device.

    Parameters
    ----------
    network : str
        Name: ``vgg16``, ``vgg16_caffe``, any classifier of torchvision, or one of ``options.classifiers``.
    options : NetworkOptions

    Raises
    ------
    InputError
        As `set_up_classifier`; also where the weights file is missing.
    """

    def __init__(self, network: str, options: NetworkOptions) -> None:
        import torch

        self.name = network
        self.device = choose_device(options.device)
        self.dtype = torch_dtype(options.precision)
        self._preprocessing: Preprocessing | PixelsFunction
        if network in options.classifiers:
            own = _load_own(network, options)
            module, self._preprocessing = own.module, own.preprocessing
            self._identity = {
                "weights": own.digest,
                "module": own.where,
                "layers": hashlib.sha256(repr(own.module).encode()).hexdigest(),
            }
            if (self.device.type, self.dtype) != ("cpu", torch.float32):
                # Moving or rounding would change the one that later questions of this run are about.
                module = copy.deepcopy(module)
        else:
            self._preprocessing = _preprocessing(network, options)
            path, reason = weights_path(network, options)
            if path is None:
                raise InputError(reason)
            module = _build(network, path)
            self._identity = {"weights": file_digest(path)}
        self.precision = options.precision
        self._options = options
        self.module = self._placed(module, self.dtype)

    def _placed(self, module: nn.Module, dtype: torch.dtype) -> nn.Module:
        import torch

        # Channels last is a fifth faster on CPUs and what tensor cores want.
        placed: nn.Module = module.to(self.device, dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]
        return placed

    @property
    def has_own_pixels(self) -> bool:
        """Whether a function of the user's prepares the images."""
        return not isinstance(self._preprocessing, Preprocessing)

    @property
    def pixels_key(self) -> tuple[str, int, int | None, str] | None:
        """Classifiers of equal key are given the same pixels; None where a function of the user's prepares them."""
        return self._preprocessing.pixels_key if isinstance(self._preprocessing, Preprocessing) else None

    def signature(self, batch_size: int) -> dict[str, str]:
        """Everything that class scores depend on beside the image, for `evalkit.networks.output_cache`.

        The code of a user's module may change while its weights stay: it is told by what it answers to images that are
        always the same.

        Parameters
        ----------
        batch_size : int
            Images per batch.
        """
        signature = {
            "network": self.name,
            "preprocessing": "own function" if self.has_own_pixels else str(self._preprocessing),
            **self._identity,
            **computed_by(self.device, precision_field(self.precision), batch_size),
        }
        if self.precision != "fp32":
            signature["fp32 below"] = f"{SAFETY:g} x {self._error!r}"
        if "module" in self._identity:
            scores = BatchRunner(self.logits, batch_size)(np.stack([self.prepare(image) for image in trial_images(2)]))
            signature["answers"] = hashlib.sha256(np.ascontiguousarray(scores).tobytes()).hexdigest()
        return signature

    def prepare(self, rgb8: Rgb8) -> npt.NDArray[Any]:
        """What is kept of one image until its batch is full."""
        if isinstance(self._preprocessing, Preprocessing):
            return self._preprocessing.pixels(rgb8)
        return np.asarray(self._preprocessing(rgb8), dtype=np.float32)

    def logits(self, batch: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """Class scores of prepared images in the chosen precision, shape (N, ...) to (N, n_classes)."""
        return self._scores(self.module, self.dtype, batch)

    def settled_logits(self, batch: npt.NDArray[Any]) -> tuple[npt.NDArray[np.float32], BoolArray]:
        """Class scores whose first class is that of fp32, as far as `evalkit.networks.doubt` can tell.

        Parameters
        ----------
        batch : ndarray, shape (N, ...)
            Prepared images.

        Returns
        -------
        scores : ndarray of float32, shape (N, n_classes)
        in_fp32 : ndarray of bool, shape (N,)
            Whose scores were computed anew in fp32, since the first class was in doubt.
        """
        scores = self.logits(batch)
        if self.precision == "fp32":
            return scores, np.zeros(len(batch), dtype=np.bool_)
        in_doubt = first_in_doubt(scores, self._error)
        if in_doubt.any():
            scores = scores.copy()
            scores[in_doubt] = self._run_in_fp32(batch[in_doubt])
        return scores, in_doubt

    @cached_property
    def _run_in_fp32(self) -> BatchRunner:
        """The same network in fp32, loaded once it is needed."""
        import torch

        if self.name in self._options.classifiers:
            # Moving would change the one that later questions of this run are about.
            module = copy.deepcopy(_load_own(self.name, self._options).module)
        else:
            path, reason = weights_path(self.name, self._options)
            if path is None:
                raise InputError(reason)
            module = _build(self.name, path)
        placed = self._placed(module, torch.float32)
        return BatchRunner(lambda batch: self._scores(placed, torch.float32, batch), FP32_BATCH)

    @cached_property
    def _error(self) -> ScoreError:
        """Error of the chosen precision on the trial images."""
        prepared = np.stack([self.prepare(image) for image in trial_images()])
        return ScoreError.measured(self._run_in_fp32(prepared), BatchRunner(self.logits, FP32_BATCH)(prepared))

    def _scores(self, module: nn.Module, dtype: torch.dtype, batch: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        import torch

        with torch.inference_mode():
            if isinstance(self._preprocessing, Preprocessing):
                x = self._preprocessing.tensor(batch, self.device)
            else:
                x = uploaded(batch, self.device)
            answer = module(x.to(dtype))
            if not isinstance(answer, torch.Tensor) or answer.ndim != 2 or answer.shape[0] != len(batch):
                shape = tuple(answer.shape) if isinstance(answer, torch.Tensor) else type(answer).__name__
                raise InputError(f"classifier {self.name}: gives {shape}, not one row of class scores an image.")
            scores: npt.NDArray[np.float32] = answer.float().cpu().numpy()
            return scores

    @cached_property
    def n_parameters(self) -> int:
        """Number of parameters."""
        return sum(value.numel() for value in self.module.parameters())
