"""Everything that a training needs before its first step: photos, network, optimizer, and what was done before."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from evalkit.color.ab_classes import annealed_mean, load_prior, loss_weights, smoothed_shares
from evalkit.colorizers.learned.checkpoints import Checkpoint, load_checkpoint
from evalkit.colorizers.learned.encoder import ENCODER, EncoderColorizationNet, load_pretrained_encoder
from evalkit.colorizers.learned.network import AB_SPAN, LAYOUTS, ColorizationNet
from evalkit.colorizers.training.data import PhotoSurvey, survey_photos
from evalkit.colorizers.training.objective import ClassificationLoss, L2Loss
from evalkit.colorizers.training.options import Compute, TrainingOptions
from evalkit.colorizers.training.processes import Processes
from evalkit.colorizers.training.speed import Speed, fastest
from evalkit.colorizers.training.validation import BestValidation, validation_photos
from evalkit.colorizers.variants import VARIANTS, Variant
from evalkit.errors import InputError
from evalkit.images.image_files import DEFAULT_OPTIONS, DecodeOptions
from evalkit.images.places import ImageFile, PlaceLike, place_of
from evalkit.images.surveys import MAX_UNREADABLE
from evalkit.scoring.workers import available_cores
from evalkit.wording import counted

if TYPE_CHECKING:
    import numpy.typing as npt
    from torch import Tensor

    Network = ColorizationNet | EncoderColorizationNet

__all__ = ["Request", "TrainingState", "prepare"]

ONE_PROCESS_OF_SEVERAL = Compute(threads=None, amp="off", channels_last=True)
"""Several processes must choose alike, and would disturb each other's measurements: nothing is measured."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """What the user asks a training for.

    Attributes
    ----------
    source : path-like or str
        Folder of colour photos.
    options : TrainingOptions
    prior : Path, optional
        Class shares for the rebalancing.
    init : Path, optional
        Checkpoint to start from.
    validation : path-like or str, optional
        Folder of photos to validate on.
    data_source : str
        Where the photos come from, in words.
    max_unreadable : int
        Photos that may be passed over because they cannot be read.
    decoding : DecodeOptions
        How large a photo may be, and whether CMYK is converted.
    """

    source: PlaceLike
    options: TrainingOptions
    prior: Path | None = None
    init: Path | None = None
    validation: PlaceLike | None = None
    data_source: str = ""
    max_unreadable: int = MAX_UNREADABLE
    decoding: DecodeOptions = DEFAULT_OPTIONS

    @property
    def variant(self) -> Variant:
        """What distinguishes the variant that is trained."""
        return VARIANTS[self.options.variant]

    def as_record(self) -> dict[str, Any]:
        """Plain values of all that decides the weights but the photos."""
        validation = None if self.validation is None else place_of(self.validation)
        places = (("prior", self.prior), ("init", self.init), ("validation", validation))
        return {
            **self.options.as_record(),
            **{name: None if place is None else str(place) for name, place in places},
        }

    def check(self, n_processes: int) -> None:
        """Refuse what does not go together.

        Raises
        ------
        InputError
            If the variant lacks its start, the batch does not divide, or patience has nothing to wait for.
        """
        options = self.options
        if self.variant.needs_init and self.init is None:
            raise InputError(
                f"'{self.variant.name}' starts from a classification network; name its weights with --init"
            )
        if options.patience is not None and self.validation is None:
            raise InputError("--patience stops by the score on validation photos; name their folder with --validation")
        shares = n_processes * options.accumulate
        if options.batch_size % shares:
            raise InputError(
                f"a batch of {counted(options.batch_size, 'crop')} does not divide among {counted(n_processes, 'process', 'processes')} in "
                f"{options.accumulate} parts each; give a multiple of {shares}"
            )


@dataclass(frozen=True, kw_only=True)
class TrainingState:
    """A training, ready for its next step.

    Attributes
    ----------
    request : Request
    compute : Compute
        How the arithmetic is done; nothing is left open.
    measured : tuple of Speed
        What the choice was made by; empty where nothing was measured.
    survey : PhotoSurvey
    shares : ndarray of float64, shape (Q,)
        Class shares that rare colours are weighted up by.
    validation : tuple of Path or PlacedImage
        Photos to validate on; empty where there are none.
    validate_every : int
        Steps between validations.
    device : torch.device
    objective : nn.Module
    network : ColorizationNet or EncoderColorizationNet
        The weights that the steps change.
    averaged : mapping of str to Tensor, optional
        Exponential average of the network's state.
    optimizer : torch.optim.Optimizer
    scaler : torch.amp.GradScaler
    first_step : int
        Updates that an earlier part of the run has done.
    best : BestValidation
        Best validation of the earlier part.
    """

    request: Request
    compute: Compute
    measured: tuple[Speed, ...] = ()
    survey: PhotoSurvey = field(repr=False)
    shares: npt.NDArray[np.float64] = field(repr=False)
    validation: tuple[ImageFile, ...] = field(repr=False)
    validate_every: int
    device: torch.device
    objective: nn.Module = field(repr=False)
    network: Network = field(repr=False)
    averaged: Mapping[str, Tensor] | None = field(repr=False)
    optimizer: torch.optim.Optimizer = field(repr=False)
    scaler: torch.amp.GradScaler = field(repr=False)
    first_step: int
    best: BestValidation

    @property
    def memory_format(self) -> torch.memory_format:
        """Memory layout of the activations."""
        return torch.channels_last if self.compute.channels_last else torch.contiguous_format

    @torch.no_grad()
    def update_average(self, step: int) -> None:
        """Move the average towards the weights after update number ``step``, the first being number 0."""
        if self.averaged is None:
            return
        # Early on a long memory would hold nothing but the first weights.
        decay = min(self.request.options.average, (1 + step) / (10 + step))
        for name, value in self.network.state_dict().items():
            if value.is_floating_point():
                self.averaged[name].lerp_(value, 1 - decay)
            else:
                self.averaged[name].copy_(value)

    def checkpoint(self) -> Checkpoint:
        """The network as it stands, or its average."""
        request, options = self.request, self.request.options
        training = {
            **request.as_record(),
            "compute": asdict(self.compute),
            "n_photos": len(self.survey.photos),
            "data_source": request.data_source,
            "torch": torch.__version__,
        }
        tensors = self.network.state_dict() if self.averaged is None else self.averaged
        weights = {key: value.detach().clone().contiguous() for key, value in tensors.items()}
        encoder = ENCODER if options.layout == ENCODER else ""
        widths = self.network.widths
        return Checkpoint(
            variant=options.variant,
            classes=options.classes,
            widths=widths,
            input_size=options.crop_size,
            state=weights,
            training=training,
            encoder=encoder,
            shares=self.shares / self.shares.sum(),
        )

    def as_record(self, step: int, best: BestValidation) -> dict[str, Any]:
        """All that the run needs to continue after an update."""
        return {
            "options": json.dumps(self.request.as_record()),
            "compute": json.dumps(asdict(self.compute)),
            "photos": list(self.survey.photos),
            "step": step,
            "best": json.dumps(asdict(best)),
            "network": self.network.state_dict(),
            "averaged": None if self.averaged is None else dict(self.averaged),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
        }


def prepare(
    request: Request,
    compute: Compute,
    processes: Processes,
    saved: Mapping[str, Any] | None,
    on_survey: Callable[[int, int], None] = lambda done, total: None,
) -> TrainingState:
    """Look at the photos, make the network, and take up what an earlier part of the run has saved.

    Parameters
    ----------
    request : Request
    compute : Compute
        What is None is measured; a continued run keeps what it was started with.
    processes : Processes
    saved : mapping, optional
        `TrainingState.as_record` of the earlier part.
    on_survey : callable
        Called with photos looked at, and photos in all.

    Raises
    ------
    InputError
        If photos or files are unusable, or the earlier part was started otherwise.
    """
    request.check(processes.n)
    options, device = request.options, processes.device
    if saved is not None:
        _refuse_other_options(request, json.loads(saved["options"]))
        compute = _continued(compute, Compute(**json.loads(saved["compute"])))
    survey = survey_photos(
        request.source, options.classes, on_survey, available_cores(), request.max_unreadable, request.decoding
    )
    if saved is not None and list(saved["photos"]) != list(survey.photos):
        raise InputError(f"the photos in {place_of(request.source)} are not those that the run was started with")
    validation = (
        () if request.validation is None else validation_photos(request.validation, request.source, request.decoding)
    )
    shares = survey.prior.counts.astype(np.float64)
    if request.prior is not None:
        shares = load_prior(request.prior, options.classes).shares

    objective: nn.Module = L2Loss()
    if request.variant.classifies:
        objective = ClassificationLoss(options.classes, shares if request.variant.rebalanced else None)
    objective.to(device)
    network = first_network(request, shares)
    measured: tuple[Speed, ...] = ()
    if processes.n > 1:
        compute = compute.completed(ONE_PROCESS_OF_SEVERAL)
    else:
        n_crops = options.batch_size // options.accumulate
        compute, measured = fastest(network, objective, device, compute, n_crops, options.crop_size)
    layout = torch.channels_last if compute.channels_last else torch.contiguous_format
    network = network.to(device, memory_format=layout)  # type: ignore[call-overload]
    averaged = None
    if options.average:
        averaged = {name: value.detach().clone() for name, value in network.state_dict().items()}
    optimizer = torch.optim.AdamW(
        _parameter_groups(network, options), options.learning_rate, betas=(0.9, 0.99), weight_decay=options.weight_decay
    )
    # bf16 has the exponents of float32; only fp16 needs its small gradients scaled up.
    scaler = torch.amp.GradScaler(device.type, enabled=compute.amp == "fp16")
    state = TrainingState(
        request=request,
        compute=compute,
        measured=measured,
        survey=survey,
        shares=shares,
        validation=validation,
        validate_every=options.validate_every or max(1, math.ceil(len(survey.photos) / options.batch_size)),
        device=device,
        objective=objective,
        network=network,
        averaged=averaged,
        optimizer=optimizer,
        scaler=scaler,
        first_step=0,
        best=BestValidation(),
    )
    return state if saved is None else _taken_up(state, saved)


def _continued(asked: Compute, before: Compute) -> Compute:
    if asked.amp is not None and asked.amp != before.amp:
        raise InputError(
            f"the run was started with amp {before.amp!r}, not {asked.amp!r}: --resume continues the same run; give "
            "another output folder for a new one"
        )
    return asked.completed(before)


def _taken_up(state: TrainingState, saved: Mapping[str, Any]) -> TrainingState:
    state.network.load_state_dict(saved["network"])
    state.optimizer.load_state_dict(saved["optimizer"])
    state.scaler.load_state_dict(saved["scaler"])
    if state.averaged is not None:
        for name, value in state.averaged.items():
            value.copy_(saved["averaged"][name])
    return replace(state, first_step=int(saved["step"]), best=BestValidation(**json.loads(saved["best"])))


def _refuse_other_options(request: Request, before: Mapping[str, Any]) -> None:
    now = json.loads(json.dumps(request.as_record()))
    differing = [key for key in now if now[key] != before.get(key)]
    if differing:
        key = differing[0]
        raise InputError(
            f"the run was started with {key} {before.get(key)!r}, not {now[key]!r}: --resume continues the same run; "
            "give another output folder for a new one"
        )


def _parameter_groups(network: Network, options: TrainingOptions) -> list[dict[str, Any]]:
    """What is learnt, with the share of the learning rate that it is learnt at."""
    if not isinstance(network, EncoderColorizationNet):
        return [{"params": list(network.parameters()), "rate": 1.0}]
    encoder = [value for value in network.encoder.parameters() if value.requires_grad]
    decoder = [value for name, value in network.named_parameters() if not name.startswith("encoder.")]
    share = options.encoder_learning_rate / options.learning_rate
    return [{"params": encoder, "rate": share}, {"params": decoder, "rate": 1.0}]


def first_network(request: Request, shares: npt.NDArray[np.float64]) -> Network:
    """The network before the first step, in evaluation of nothing but the seed, the photos and `Request.init`.

    Raises
    ------
    InputError
        If the weights to start from are absent or do not fit.
    """
    options, variant = request.options, request.variant
    n_outputs = len(options.classes) if variant.classifies else 2
    network: Network
    # Not the global generator: whatever ran before in this process must not change the weights.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(options.seed)
        if options.layout == ENCODER:
            network = EncoderColorizationNet(n_outputs)
            if request.init is None:
                load_pretrained_encoder(network)
        else:
            network = ColorizationNet(n_outputs, LAYOUTS[options.layout])
    output = network.output_layer
    assert output.bias is not None
    with torch.no_grad():
        output.bias.copy_(torch.from_numpy(_first_answer(request, shares)))
        if variant.needs_init:
            # What the trunk knows already must not drown in what a random layer makes of it.
            output.weight.zero_()
    if request.init is not None:
        _take_over(network, request, request.init, shares)
    return network


def _first_answer(request: Request, shares: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """Biases of the output layer: before it has seen anything, the network says what the photos hold."""
    classes, variant = request.options.classes, request.variant
    if variant.classifies:
        smooth = smoothed_shares(shares, classes)
        if variant.rebalanced:
            smooth = smooth * loss_weights(shares, classes)
        return np.log(np.maximum(smooth, 1e-9)).astype(np.float32)
    if variant.needs_init or request.options.layout == ENCODER:
        return annealed_mean(shares, classes, temperature=1).astype(np.float32) / AB_SPAN
    return np.zeros(2, np.float32)


def _take_over(network: Network, request: Request, path: Path, shares: npt.NDArray[np.float64]) -> None:
    start, options, variant = load_checkpoint(path), request.options, request.variant
    if variant.needs_init and start.is_regression:
        raise InputError(f"{path} holds '{start.variant}'; '{variant.name}' starts from a network that classifies")
    if (start.encoder, start.widths) != (ENCODER * (options.layout == ENCODER), network.widths):
        kind = f"encoder '{start.encoder}'" if start.encoder else f"widths {start.widths}"
        raise InputError(f"{path} is a network of {kind}, not of the layout '{options.layout}'")
    if variant.classifies and not start.is_regression and start.classes.digest != options.classes.digest:
        raise InputError(
            f"{path} speaks the ab classes {start.classes.name}, not {options.classes.name}; train with its preset"
        )
    own = network.state_dict()
    network.load_state_dict(
        {key: start.state[key] if start.state[key].shape == value.shape else value for key, value in own.items()}
    )
    if variant.rebalanced and not start.is_regression and not VARIANTS[start.variant].rebalanced:
        # Where log p is learnt under plain loss, log p + log w is under class weights w: the start is there already.
        weights = loss_weights(shares, options.classes)
        bias = network.output_layer.bias
        assert bias is not None
        with torch.no_grad():
            bias += torch.from_numpy(np.log(weights)).float()
