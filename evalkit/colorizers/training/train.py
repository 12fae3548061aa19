"""Train a variant of the reference colorizer: resumable to the bit, on one device or several.

Everything that chance decides depends on the seed and on the number of the step alone: the first weights, the order
of the photos, every crop. So a run that was killed and continued, or that loads its data in other processes, is the
same run.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.utils.data import DataLoader

from evalkit.colorizers.learned.network import n_parameters
from evalkit.colorizers.training.data import Crops, PhotoSurvey, prefetched
from evalkit.colorizers.training.options import Compute, TrainingOptions
from evalkit.colorizers.training.processes import Processes
from evalkit.colorizers.training.run_folder import LogLine, RunFolder
from evalkit.colorizers.training.speed import Speed, mixed_precision
from evalkit.colorizers.training.state import Request, TrainingState, prepare
from evalkit.colorizers.training.validation import BestValidation, validate
from evalkit.errors import InputError
from evalkit.images.image_files import DEFAULT_OPTIONS, DecodeOptions
from evalkit.images.places import PlaceLike
from evalkit.images.surveys import MAX_UNREADABLE
from evalkit.networks.memory import out_of_memory_advice
from evalkit.wording import counted

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["TrainingReport", "train"]

N_PANEL_PHOTOS = 6


@dataclass(frozen=True, kw_only=True)
class TrainingReport:
    """What a run did.

    Attributes
    ----------
    weights : Path
        The checkpoint.
    survey : PhotoSurvey
    first_step : int
        Updates that an earlier part of the run had done already.
    last_step : int
        Updates done in all; fewer than asked for where the run stopped early.
    best : BestValidation
        The best validation; of a run without validation photos it has no step.
    n_parameters : int
    """

    weights: Path
    survey: PhotoSurvey = field(repr=False)
    first_step: int
    last_step: int
    best: BestValidation
    n_parameters: int


def train(
    source: PlaceLike,
    out: Path,
    options: TrainingOptions,
    *,
    compute: Compute | None = None,
    prior: Path | None = None,
    init: Path | None = None,
    validation: PlaceLike | None = None,
    data_source: str = "",
    device: str = "auto",
    compile_network: bool = False,
    workers: int = 0,
    save_every: int = 500,
    log_every: int = 20,
    panel_every: int = 500,
    resume: bool = False,
    overwrite: bool = False,
    max_unreadable: int = MAX_UNREADABLE,
    decoding: DecodeOptions = DEFAULT_OPTIONS,
    on_survey: Callable[[int, int], None] = lambda done, total: None,
    on_compute: Callable[[Compute, tuple[Speed, ...]], None] = lambda compute, measured: None,
    on_step: Callable[[LogLine], None] = lambda line: None,
) -> TrainingReport:
    """Train a variant on the photos of a folder.

    Parameters
    ----------
    source : path-like or str
        Folder of colour photos, searched with its sub-folders, or the address of another place
        (`evalkit.images.places.place_of`).
    out : Path
        Folder for ``weights.pt``, ``log.csv``, ``panels/``, ``photos.csv``, ``prior.json`` and ``state.pt``.
    options : TrainingOptions
    compute : Compute, optional
        Threads, precision and memory layout; what it leaves open is measured before the first step.
    prior : Path, optional
        Class shares for the rebalancing; those of the photos where not given.
    init : Path, optional
        Checkpoint to start from; layers of the same shape are taken over. ``l2-finetuned`` needs one that classifies.
    validation : path-like or str, optional
        Folder or address of photos that are not trained on: AuC and rebalanced AuC on them go into the log once per epoch.
    data_source : str
        Where the photos come from, in words, for the checkpoint.
    device : str
        As `evalkit.networks.devices.choose_device` takes it; under ``torchrun`` each process takes its own.
    compile_network : bool
        Whether torch compiles the network.
    workers : int
        Processes that load data; 0 loads in a thread of the training process.
    save_every, log_every, panel_every : int
        Steps between saves, lines of the log, and pictures.
    resume : bool
        Continue the run in ``out`` from its last save; the result is that of a run that was never stopped.
    overwrite : bool
        Replace the run in ``out`` by a new one; a folder that holds anything else is refused.
    max_unreadable : int
        Photos that may be passed over because they cannot be read (those to validate on are refused by name).
    decoding : DecodeOptions
        How large a photo may be, and whether CMYK is converted.
    on_survey : callable
        Called with photos looked at, and photos in all.
    on_compute : callable
        Called before the first step with how the arithmetic is done, and what that was chosen by.
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
    request = Request(
        source=source, options=options, prior=prior, init=init, validation=validation, data_source=data_source,
        max_unreadable=max_unreadable, decoding=decoding,
    )  # fmt: skip
    processes = Processes.join(device)
    threads_before = torch.get_num_threads()
    advice = (
        f"at {counted(options.batch_size, 'crop')} of {options.crop_size} pixels an update: halve --batch-size, or say "
        f"--accumulate {2 * options.accumulate} (the same gradient, half the memory), or --amp bf16"
    )
    try:
        request.check(processes.n)
        folder = RunFolder(out)
        if processes.is_first:
            folder.claim(resume=resume, overwrite=overwrite)
        processes.wait()
        with out_of_memory_advice(advice):
            state = prepare(request, compute or Compute(), processes, folder.saved() if resume else None, on_survey)
            # Nothing of an earlier run is touched before all that is needed has been read, its weights included.
            if processes.is_first:
                folder.begin(state.survey, state.first_step, overwrite=overwrite)
                on_compute(state.compute, state.measured)
            if state.compute.threads is not None:
                torch.set_num_threads(state.compute.threads)
            trained = processes.wrap(state.network)
            if compile_network:
                trained = torch.compile(trained)  # type: ignore[assignment]
            every = _Intervals(save=save_every, log=log_every, panel=panel_every)
            with _batches(state, processes, workers) as parts:
                last_step, best = _run_steps(
                    state, trained, parts, folder=folder, processes=processes, every=every, on_step=on_step
                )
        return TrainingReport(
            weights=folder.weights,
            survey=state.survey,
            first_step=state.first_step,
            last_step=last_step,
            best=best,
            n_parameters=n_parameters(state.network),
        )
    finally:
        torch.set_num_threads(threads_before)
        processes.leave()


@dataclass(frozen=True)
class _Intervals:
    """Steps between what is written."""

    save: int
    log: int
    panel: int


def _run_steps(
    state: TrainingState,
    trained: nn.Module,
    parts: Iterator[tuple[Tensor, Tensor]],
    *,
    folder: RunFolder,
    processes: Processes,
    every: _Intervals,
    on_step: Callable[[LogLine], None],
) -> tuple[int, BestValidation]:
    """Take the steps that are left; the number of updates done, and the best validation."""
    options, best = state.request.options, state.best
    patience = options.patience
    panel_photos = list(state.survey.files.values())[:N_PANEL_PHOTOS]
    meter = _Meter()
    trained.train()
    steps_done = state.first_step
    stopped = _has_waited_enough(best, patience)
    while steps_done < options.steps and not stopped:
        _take_step(state, trained, steps_done, parts, processes, meter)
        state.update_average(steps_done)
        steps_done += 1
        last = steps_done == options.steps
        validated = bool(state.validation) and (steps_done % state.validate_every == 0 or last)
        if steps_done % every.log == 0 or last or validated:
            line = _log_line(state, processes, meter, steps_done)
            if processes.is_first:
                if validated:
                    found = validate(state.checkpoint(), state.validation, state.device, state.request.decoding)
                    line = replace(line, validation=found)
                    best = best.after(found.score(options.variant), steps_done)
                    if patience is not None and best.step == steps_done:
                        state.checkpoint().save(folder.weights)
                folder.append(line)
                on_step(line)
            if validated and patience is not None:
                stopped = processes.first_says(_has_waited_enough(best, patience))
        if processes.is_first:
            if steps_done % every.panel == 0 or last or stopped:
                folder.draw(steps_done, panel_photos, state.checkpoint(), state.device, state.request.decoding)
            if steps_done % every.save == 0 or last or stopped:
                # With patience the weights are the best ones, which are there already.
                folder.save(state.as_record(steps_done, best), state.checkpoint() if patience is None else None)
        if steps_done % every.log == 0 or validated:
            meter = _Meter()
    if state.first_step >= options.steps and processes.is_first and patience is None:
        state.checkpoint().save(folder.weights)
    processes.wait()
    return steps_done, best


def _has_waited_enough(best: BestValidation, patience: int | None) -> bool:
    return patience is not None and best.n_since >= patience


@contextmanager
def _batches(state: TrainingState, processes: Processes, workers: int) -> Iterator[Iterator[tuple[Tensor, Tensor]]]:
    """Parts of the batches of this process, in order, from the first step on; made while the network computes."""
    options, survey = state.request.options, state.survey
    size = options.batch_size // (processes.n * options.accumulate)
    crops = Crops(
        survey.files, options.crop_size, options.seed,
        whole=options.crops == "whole", decoding=state.request.decoding,
    )  # fmt: skip
    numbers = [
        list(range(start, start + size))
        for step in range(state.first_step, options.steps)
        for part in range(options.accumulate)
        for start in [step * options.batch_size + (processes.rank * options.accumulate + part) * size]
    ]
    loader = DataLoader(
        crops,
        batch_sampler=numbers,
        num_workers=workers,
        pin_memory=state.device.type == "cuda",
        multiprocessing_context="spawn" if workers else None,
    )
    if workers:
        yield iter(loader)
        return
    parts = prefetched(loader)
    try:
        yield parts
    finally:
        parts.close()


def _take_step(
    state: TrainingState,
    trained: nn.Module,
    step: int,
    parts: Iterator[tuple[Tensor, Tensor]],
    processes: Processes,
    meter: _Meter,
) -> None:
    """One update of the network."""
    options, device = state.request.options, state.device
    for group in state.optimizer.param_groups:
        group["lr"] = options.learning_rate_at(step) * group["rate"]
    state.optimizer.zero_grad(set_to_none=True)
    losses = []
    for part in range(options.accumulate):
        with meter.waiting():
            lightness, ab = next(parts)
        lightness = lightness.to(device, non_blocking=True, memory_format=state.memory_format)
        ab = ab.to(device, non_blocking=True)
        is_last = part == options.accumulate - 1
        with nullcontext() if is_last else processes.no_sync(trained):
            with mixed_precision(device, state.compute):
                output = trained(lightness)
            loss = state.objective(output.float(), ab) / options.accumulate
            state.scaler.scale(loss).backward()
        losses.append(loss.detach())
    state.scaler.step(state.optimizer)
    state.scaler.update()
    meter.add(torch.stack(losses).sum(), options.batch_size // processes.n)


def _log_line(state: TrainingState, processes: Processes, meter: _Meter, done: int) -> LogLine:
    """Means over the steps since the last line, and over the processes.

    Raises
    ------
    InputError
        If the loss is no longer finite.
    """
    options = state.request.options
    # float() waits for the device, so it happens once per line.
    loss = processes.mean(torch.stack(meter.losses).mean()).item()
    if not math.isfinite(loss):
        raise InputError(
            f"the loss is {loss} at step {done}: lower --learning-rate (now {options.learning_rate:g}), "
            "then continue from the last save with a new run and --init"
        )
    seconds = max(time.perf_counter() - meter.start, 1e-9)
    return LogLine(
        step=done,
        steps=options.steps,
        loss=loss,
        learning_rate=options.learning_rate_at(done - 1),
        images_per_second=meter.n_images / seconds,
        waiting_share=meter.waited / seconds,
    )


class _Meter:
    """Losses, images and waiting time since the last line of the log."""

    def __init__(self) -> None:
        self.start = time.perf_counter()
        self.waited = 0.0
        self.n_images = 0
        self.losses: list[Tensor] = []

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Adds the time spent inside to the time waited."""
        start = time.perf_counter()
        yield
        self.waited += time.perf_counter() - start

    def add(self, loss: Tensor, n_images: int) -> None:
        """Count a step."""
        self.losses.append(loss)
        self.n_images += n_images
