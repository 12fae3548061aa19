"""Train a variant of the reference colorizer: resumable to the bit, on one device or several.

Everything that chance decides depends on the seed and on the number of the step alone: the first weights, the order
of the photos, every crop. So a run that was killed and continued, or that loads its data in other processes, is the
same run.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader

from evalkit.color.ab_classes import AbClasses, annealed_mean, load_prior, rebalancing_weights, smoothed_shares
from evalkit.colorizers.learned.checkpoints import Checkpoint, load_checkpoint, load_tensors, save_tensors
from evalkit.colorizers.learned.encoder import ENCODER, EncoderColorizationNet, load_pretrained_encoder
from evalkit.colorizers.learned.memory import out_of_memory_advice
from evalkit.colorizers.learned.network import AB_SPAN, LAYOUTS, STRIDE, ColorizationNet, n_parameters
from evalkit.colorizers.training.data import Crops, PhotoSurvey, survey_photos
from evalkit.colorizers.training.objective import ClassificationLoss, L2Loss
from evalkit.colorizers.training.panels import write_panel
from evalkit.colorizers.training.processes import Processes
from evalkit.colorizers.variants import VARIANTS
from evalkit.errors import InputError
from evalkit.files import atomic_file

if TYPE_CHECKING:
    import numpy.typing as npt
    from torch import Tensor

__all__ = ["StepReport", "TrainingOptions", "TrainingReport", "train"]

RUN_FILES = frozenset({"weights.pt", "state.pt", "log.csv", "photos.csv", "prior.json", "panels"})
"""What a run leaves in its folder."""

LOG_HEADER = "step,loss,learning_rate,images_per_second,waiting_share\n"


@dataclass(frozen=True)
class TrainingOptions:
    """What decides the weights that come out, but for the device's rounding.

    Attributes
    ----------
    variant : {"l2", "l2-finetuned", "classification", "full"}
    classes : AbClasses
    layout : {"full", "small", "tiny", "lite0"}
        Size of the published network; or the one with a pretrained encoder.
    steps : int
        Number of updates.
    batch_size : int
        Crops an update, over all processes.
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
    amp : {"off", "bf16", "fp16"}
        Precision of the network's arithmetic; the loss is always taken in float32.
    crops : {"random", "whole"}
        Random parts of the photos, their L as if exposed otherwise; or whole photos. Both are mirrored half of the
        time.
    encoder_learning_rate : float
        Largest learning rate of a pretrained encoder.
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
    amp: str = "off"
    crops: str = "random"
    encoder_learning_rate: float = 5e-4

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
        for name in ("steps", "batch_size", "accumulate"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}; it must be at least 1")
        for what, rate in (("", self.learning_rate), (" of the encoder", self.encoder_learning_rate)):
            if not 0 < rate < math.inf:
                raise InputError(f"the learning rate{what} is {rate}; it must be a positive number")

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


@dataclass(frozen=True)
class StepReport:
    """One line of the log: means since the line before.

    Attributes
    ----------
    step : int
        Updates done.
    steps : int
        Updates in all.
    loss : float
    learning_rate : float
    images_per_second : float
        Of this process.
    waiting_share : float
        Share of the time that the device waited for data, 0..1.
    """

    step: int
    steps: int
    loss: float
    learning_rate: float
    images_per_second: float
    waiting_share: float


@dataclass(frozen=True)
class TrainingReport:
    """What a run did.

    Attributes
    ----------
    weights : Path
        The checkpoint.
    survey : PhotoSurvey
    first_step : int
        Updates that an earlier part of the run had done already.
    n_parameters : int
    """

    weights: Path
    survey: PhotoSurvey = field(repr=False)
    first_step: int
    n_parameters: int


def train(
    source: Path,
    out: Path,
    options: TrainingOptions,
    *,
    prior: Path | None = None,
    init: Path | None = None,
    data_source: str = "",
    device: str = "auto",
    channels_last: bool = True,
    compile_network: bool = False,
    workers: int = 0,
    save_every: int = 500,
    log_every: int = 20,
    panel_every: int = 500,
    resume: bool = False,
    overwrite: bool = False,
    on_survey: Callable[[int, int], None] = lambda done, total: None,
    on_step: Callable[[StepReport], None] = lambda report: None,
) -> TrainingReport:
    """Train a variant on the photos of a folder.

    Parameters
    ----------
    source : Path
        Folder of colour photos, searched with its sub-folders.
    out : Path
        Folder for ``weights.pt``, ``log.csv``, ``panels/``, ``photos.csv``, ``prior.json`` and ``state.pt``.
    options : TrainingOptions
    prior : Path, optional
        Class shares for the rebalancing; those of the photos where not given.
    init : Path, optional
        Checkpoint to start from; layers of the same shape are taken over. ``l2-finetuned`` needs one that classifies.
    data_source : str
        Where the photos come from, in words, for the checkpoint.
    device : str
        As `evalkit.networks.devices.choose_device` takes it; under ``torchrun`` each process takes its own.
    channels_last, compile_network : bool
        Memory layout of the activations; whether torch compiles the network.
    workers : int
        Processes that load data; 0 loads in the training process.
    save_every, log_every, panel_every : int
        Steps between saves, lines of the log, and pictures.
    resume : bool
        Continue the run in ``out`` from its last save; the result is that of a run that was never stopped.
    overwrite : bool
        Replace the run in ``out`` by a new one; a folder that holds anything else is refused.
    on_survey : callable
        Called with photos looked at, and photos in all.
    on_step : callable
        Called with each line of the log.

    Returns
    -------
    TrainingReport

    Raises
    ------
    InputError
        If the photos, the folder, a file or an option is unusable, the run in ``out`` was started with other options,
        the loss is no longer finite, or the device runs out of memory.
    """
    if resume and overwrite:
        raise InputError("a run is continued (--resume) or replaced (--overwrite), not both")
    processes = Processes.join(device)
    advice = (
        f"at {options.batch_size} crops of {options.crop_size} pixels an update: halve --batch-size, or say "
        f"--accumulate {2 * options.accumulate} (the same gradient, half the memory), or --amp bf16"
    )
    try:
        run = _Run(source, out, options, processes, prior, init, data_source, channels_last, compile_network)
        with out_of_memory_advice(advice):
            run.prepare(resume, overwrite, on_survey)
            run.go(workers, save_every, log_every, panel_every, on_step)
        return TrainingReport(out / "weights.pt", run.survey, run.first_step, n_parameters(run.network))
    finally:
        processes.leave()


class _Run:
    """The parts of one run and their state."""

    def __init__(
        self,
        source: Path,
        out: Path,
        options: TrainingOptions,
        processes: Processes,
        prior: Path | None,
        init: Path | None,
        data_source: str,
        channels_last: bool,
        compile_network: bool,
    ) -> None:
        variant = VARIANTS[options.variant]
        if variant.needs_init and init is None:
            raise InputError(f"'{variant.name}' starts from a classification network; name its weights with --init")
        shares = processes.n * options.accumulate
        if options.batch_size % shares:
            raise InputError(
                f"a batch of {options.batch_size} crops does not divide among {processes.n} processes in "
                f"{options.accumulate} parts each; give a multiple of {shares}"
            )
        self.source, self.out, self.options, self.processes = source, out, options, processes
        self.prior, self.init, self.data_source = prior, init, data_source
        self.variant = variant
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        self.compile_network = compile_network
        self.device = processes.device
        self.first_step = 0

    # --- before the first step ----------------------------------------------------------------------------

    def prepare(self, resume: bool, overwrite: bool, on_survey: Callable[[int, int], None]) -> None:
        out, options = self.out, self.options
        state_file = out / "state.pt"
        if self.processes.is_first:
            content = {path.name for path in out.iterdir()} if out.is_dir() else set()
            if content and not resume and not overwrite:
                raise InputError(
                    f"the output folder {out} is not empty; continue the run there with --resume, or replace it with "
                    "--overwrite"
                )
            if overwrite and content - RUN_FILES:
                raise InputError(
                    f"{out} holds {min(content - RUN_FILES)}, which no training wrote: --overwrite replaces a run alone"
                )
            out.mkdir(parents=True, exist_ok=True)
            (out / "panels").mkdir(exist_ok=True)
        self.processes.wait()
        saved = load_tensors(state_file) if resume and state_file.is_file() else None
        if saved is not None:
            self._check_same_run(json.loads(saved["options"]))
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        self.survey = survey_photos(self.source, options.classes, on_survey, cores)
        self._check_same_photos(saved)
        counts = self.survey.prior.counts.astype(np.float64)
        self.shares = counts if self.prior is None else load_prior(self.prior, options.classes).shares

        self.objective: nn.Module = L2Loss()
        if self.variant.classifies:
            self.objective = ClassificationLoss(options.classes, self.shares if self.variant.rebalanced else None)
        self.objective.to(self.device)
        self.network = self._first_network().to(self.device, memory_format=self.memory_format)  # type: ignore[call-overload]
        self.optimizer = torch.optim.AdamW(
            self._parameter_groups(), options.learning_rate, betas=(0.9, 0.99), weight_decay=options.weight_decay
        )
        # bf16 has the exponents of float32; only fp16 needs its small gradients scaled up.
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=options.amp == "fp16")
        if saved is not None:
            self.first_step = int(saved["step"])
            self.network.load_state_dict(saved["network"])
            self.optimizer.load_state_dict(saved["optimizer"])
            self.scaler.load_state_dict(saved["scaler"])
        # Nothing of an earlier run is touched before everything that is needed has been read, its weights included.
        if self.processes.is_first:
            if overwrite:
                for path in (state_file, out / "weights.pt", *(out / "panels").glob("*.png")):
                    path.unlink(missing_ok=True)
            _write(out / "photos.csv", self.survey.to_csv())
            _write(out / "prior.json", self.survey.prior.to_json())
        self.trained = self.processes.wrap(self.network)
        if self.compile_network:
            self.trained = torch.compile(self.trained)  # type: ignore[assignment]

    def _parameter_groups(self) -> list[dict[str, Any]]:
        """What is learnt, with the share of the learning rate that it is learnt at."""
        if not isinstance(self.network, EncoderColorizationNet):
            return [{"params": list(self.network.parameters()), "rate": 1.0}]
        encoder = [value for value in self.network.encoder.parameters() if value.requires_grad]
        decoder = [value for name, value in self.network.named_parameters() if not name.startswith("encoder.")]
        share = self.options.encoder_learning_rate / self.options.learning_rate
        return [{"params": encoder, "rate": share}, {"params": decoder, "rate": 1.0}]

    def _first_network(self) -> ColorizationNet | EncoderColorizationNet:
        options = self.options
        n_outputs = len(options.classes) if self.variant.classifies else 2
        network: ColorizationNet | EncoderColorizationNet
        # Not the global generator: whatever ran before in this process must not change the weights.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(options.seed)
            if options.layout == ENCODER:
                network = EncoderColorizationNet(n_outputs)
                if self.init is None:
                    load_pretrained_encoder(network)
            else:
                network = ColorizationNet(n_outputs, LAYOUTS[options.layout])
        output = network.output_layer
        assert output.bias is not None
        with torch.no_grad():
            output.bias.copy_(torch.from_numpy(self._first_answer()))
            if self.variant.needs_init:
                # What the trunk knows already must not drown in what a random layer makes of it.
                output.weight.zero_()
        if self.init is not None:
            self._take_over(network, self.init)
        return network

    def _first_answer(self) -> npt.NDArray[np.float32]:
        """Biases of the output layer: before it has seen anything, the network says what the photos hold."""
        classes = self.options.classes
        if self.variant.classifies:
            smooth = smoothed_shares(self.shares, classes)
            if self.variant.rebalanced:
                smooth = smooth * rebalancing_weights(smooth, classes.rebalancing)
            return np.log(np.maximum(smooth, 1e-9)).astype(np.float32)
        if self.variant.needs_init or self.options.layout == ENCODER:
            return annealed_mean(self.shares, classes, temperature=1).astype(np.float32) / AB_SPAN
        return np.zeros(2, np.float32)

    def _take_over(self, network: ColorizationNet | EncoderColorizationNet, path: Path) -> None:
        start = load_checkpoint(path)
        if self.variant.needs_init and start.is_regression:
            raise InputError(
                f"{path} holds '{start.variant}'; '{self.variant.name}' starts from a network that classifies"
            )
        if (start.encoder, start.widths) != (ENCODER * (self.options.layout == ENCODER), network.widths):
            kind = f"encoder '{start.encoder}'" if start.encoder else f"widths {start.widths}"
            raise InputError(f"{path} is a network of {kind}, not of the layout '{self.options.layout}'")
        if self.variant.classifies and not start.is_regression and start.classes.digest != self.options.classes.digest:
            raise InputError(
                f"{path} speaks the ab classes {start.classes.name}, not {self.options.classes.name}; train with its preset"
            )
        own = network.state_dict()
        network.load_state_dict(
            {key: start.state[key] if start.state[key].shape == value.shape else value for key, value in own.items()}
        )

    def _check_same_run(self, before: Mapping[str, Any]) -> None:
        now = json.loads(json.dumps(self._record()))
        other = [key for key in now if now[key] != before.get(key)]
        if other:
            key = other[0]
            raise InputError(
                f"the run in {self.out} was started with {key} {before.get(key)!r}, not {now[key]!r}: "
                "--resume continues the same run; give another output folder for a new one"
            )

    def _check_same_photos(self, saved: Mapping[str, Any] | None) -> None:
        if saved is not None and list(saved["photos"]) != list(self.survey.photos):
            raise InputError(f"the photos in {self.source} are not those that the run in {self.out} was started with")

    def _record(self) -> dict[str, Any]:
        return {
            **self.options.as_record(),
            "prior": None if self.prior is None else str(self.prior),
            "init": None if self.init is None else str(self.init),
        }

    # --- the steps ----------------------------------------------------------------------------------------

    def go(
        self,
        workers: int,
        save_every: int,
        log_every: int,
        panel_every: int,
        on_step: Callable[[StepReport], None],
    ) -> None:
        if self.processes.is_first:
            self._trim_log()
        steps = self.options.steps
        parts = self._parts(workers)
        meter = _Meter()
        self.trained.train()
        for step in range(self.first_step, steps):
            self._step(step, parts, meter)
            done = step + 1
            if done % log_every == 0 or done == steps:
                # The mean over processes; float() waits for the device, so it happens once a line.
                mean = self.processes.mean(torch.stack(meter.losses).mean()).item()
                report = meter.report(done, steps, mean, self.options)
                if not math.isfinite(mean):
                    raise InputError(
                        f"the loss is {mean} at step {done}: lower --learning-rate (now {self.options.learning_rate:g}), "
                        "then continue from the last save with a new run and --init"
                    )
                if self.processes.is_first:
                    self._log(report)
                    on_step(report)
                meter = _Meter()
            if self.processes.is_first:
                if done % panel_every == 0 or done == steps:
                    self._panel(done)
                if done % save_every == 0 or done == steps:
                    self._save(done)
        if self.first_step >= steps and self.processes.is_first:
            self._checkpoint().save(self.out / "weights.pt")
        self.processes.wait()

    def _parts(self, workers: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Parts of the batches of this process, in order, from the first step on."""
        options, rank = self.options, self.processes.rank
        size = options.batch_size // (self.processes.n * options.accumulate)
        whole = options.crops == "whole"
        crops = Crops(self.source, self.survey.photos, options.crop_size, options.seed, whole=whole)
        batches = [
            list(range(start, start + size))
            for step in range(self.first_step, options.steps)
            for part in range(options.accumulate)
            for start in [step * options.batch_size + (rank * options.accumulate + part) * size]
        ]
        loader = DataLoader(
            crops,
            batch_sampler=batches,
            num_workers=workers,
            pin_memory=self.device.type == "cuda",
            multiprocessing_context="spawn" if workers else None,
        )
        return iter(loader)

    def _step(self, step: int, parts: Iterator[tuple[Tensor, Tensor]], meter: _Meter) -> None:
        options = self.options
        for group in self.optimizer.param_groups:
            group["lr"] = options.learning_rate_at(step) * group["rate"]
        self.optimizer.zero_grad(set_to_none=True)
        losses = []
        for part in range(options.accumulate):
            with meter.waiting():
                lightness, ab = next(parts)
            lightness = lightness.to(self.device, non_blocking=True, memory_format=self.memory_format)
            ab = ab.to(self.device, non_blocking=True)
            last = part == options.accumulate - 1
            with nullcontext() if last else self.processes.no_sync(self.trained):
                with self._precision():
                    output = self.trained(lightness)
                loss = self.objective(output.float(), ab) / options.accumulate
                self.scaler.scale(loss).backward()
            losses.append(loss.detach())
        self.scaler.step(self.optimizer)
        self.scaler.update()
        meter.add(torch.stack(losses).sum(), options.batch_size // self.processes.n)

    def _precision(self) -> Any:
        dtype = {"off": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[self.options.amp]
        return torch.autocast(self.device.type, dtype, enabled=self.options.amp != "off")

    # --- what is written ----------------------------------------------------------------------------------

    def _trim_log(self) -> None:
        """Drop the lines of steps that a killed run had done after its last save: they will come again."""
        path = self.out / "log.csv"
        lines = path.read_text().splitlines(keepends=True)[1:] if path.is_file() else []
        kept = [line for line in lines if line.endswith("\n") and int(line.split(",")[0]) <= self.first_step]
        _write(path, LOG_HEADER + "".join(kept))

    def _log(self, report: StepReport) -> None:
        with (self.out / "log.csv").open("a") as file:
            file.write(
                f"{report.step},{report.loss:.6f},{report.learning_rate:.4g},{report.images_per_second:.1f},"
                f"{report.waiting_share:.3f}\n"
            )

    def _panel(self, step: int) -> None:
        photos = [self.source / name for name in self.survey.photos[:6]]
        self.network.eval()
        write_panel(self.out / "panels" / f"{step:07d}.png", photos, self._checkpoint(), self.device)
        self.network.train()

    def _checkpoint(self) -> Checkpoint:
        options = self.options
        training = {
            **self._record(),
            "n_photos": len(self.survey.photos),
            "data_source": self.data_source,
            "torch": torch.__version__,
        }
        state = {key: value.detach().clone().contiguous() for key, value in self.network.state_dict().items()}
        encoder = ENCODER if options.layout == ENCODER else ""
        widths = self.network.widths
        return Checkpoint(options.variant, options.classes, widths, options.crop_size, state, training, encoder)

    def _save(self, step: int) -> None:
        # The checkpoint first: whoever finds the state of a step finds its weights.
        self._checkpoint().save(self.out / "weights.pt")
        record = {
            "options": json.dumps(self._record()),
            "photos": list(self.survey.photos),
            "step": step,
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
        }
        save_tensors(record, self.out / "state.pt")


class _Meter:
    """Loss, speed and waiting time since the last line of the log."""

    def __init__(self) -> None:
        self.start = time.perf_counter()
        self.waited = 0.0
        self.n_images = 0
        self.losses: list[Tensor] = []

    def waiting(self) -> _Waiting:
        return _Waiting(self)

    def add(self, loss: Tensor, n_images: int) -> None:
        self.losses.append(loss)
        self.n_images += n_images

    def report(self, step: int, steps: int, loss: float, options: TrainingOptions) -> StepReport:
        seconds = max(time.perf_counter() - self.start, 1e-9)
        rate = options.learning_rate_at(step - 1)
        return StepReport(step, steps, loss, rate, self.n_images / seconds, self.waited / seconds)


class _Waiting:
    """Adds the time spent inside to a meter."""

    def __init__(self, meter: _Meter) -> None:
        self.meter = meter

    def __enter__(self) -> None:
        self.start = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self.meter.waited += time.perf_counter() - self.start


def _write(path: Path, text: str) -> None:
    with atomic_file(path) as file:
        file.write(text.encode())
