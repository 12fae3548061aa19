"""Threads, precision and memory layout of a training, chosen by measuring on the machine at hand.

None of them can be told beforehand. A CPU without bf16 instructions emulates them, many times slower than float32;
two threads beside another busy process wait for each other at every layer and can be ten times slower than one; and
which layout the convolutions of a library are best at changes with their shapes.
"""

from __future__ import annotations

import copy
import time
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from evalkit.colorizers.training.options import Compute
from evalkit.scoring.workers import available_cores

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Speed", "fastest", "mixed_precision"]

ROUNDS = 3
"""Passes that are timed for each candidate; the quickest counts, since other processes only ever slow one down."""
N_CROPS = 4
"""Crops of a measured pass, at most."""
N_SMALL_CROPS = 2
SMALL_SIDE = 64
"""Crops that bf16 is first tried on, and their side: an emulated pass over whole ones can take a minute."""
HOPELESS = 2.0
"""So many times slower on small crops, and bf16 is not measured on whole ones."""


@dataclass(frozen=True)
class Speed:
    """Forward and backward pass of a network under one choice.

    Attributes
    ----------
    compute : Compute
    images_per_second : float
    """

    compute: Compute
    images_per_second: float


def mixed_precision(device: torch.device, compute: Compute) -> AbstractContextManager[Any]:
    """Context in which the network computes in the precision that was chosen."""
    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(compute.amp or "off", torch.float32)
    return torch.autocast(device.type, dtype, enabled=dtype != torch.float32)


def fastest(
    network: nn.Module, objective: nn.Module, device: torch.device, open_choice: Compute, n_crops: int, size: int
) -> tuple[Compute, tuple[Speed, ...]]:
    """Measure what is left open, one choice after the other: threads, then memory layout, then precision.

    Parameters
    ----------
    network : nn.Module
        L, shape (N, 1, S, S), to the outputs that the objective takes. It is not changed, and no random numbers of
        torch's generator are used.
    objective : nn.Module
    device : torch.device
    open_choice : Compute
        What is None is measured.
    n_crops : int
        Crops that go through the network together; four at most are measured.
    size : int
        Their side in pixels.

    Returns
    -------
    compute : Compute
        Nothing is None, but for the threads where the device is no CPU.
    measured : tuple of Speed
        Every candidate; empty where there was nothing to choose.
    """
    measured: dict[Compute, float] = {}
    n_crops = min(n_crops, N_CROPS)

    def best(candidates: list[Compute]) -> Compute:
        if len(candidates) > 1:
            for candidate in candidates:
                if candidate not in measured:
                    seconds = _seconds(network, objective, device, candidate, n_crops, size)
                    measured[candidate] = n_crops / seconds
            return max(candidates, key=measured.__getitem__)
        return candidates[0]

    chosen = open_choice.completed(Compute(threads=None, amp="off", channels_last=True))
    if open_choice.threads is None and device.type == "cpu":
        cores = available_cores()
        chosen = best([replace(chosen, threads=n) for n in sorted({1, max(1, cores // 2), cores})])
    if open_choice.channels_last is None:
        chosen = best([chosen, replace(chosen, channels_last=False)])
    if open_choice.amp is None and _bf16_is_worth_a_try(network, objective, device, chosen):
        chosen = best([chosen, replace(chosen, amp="bf16")])
    return chosen, tuple(Speed(compute, rate) for compute, rate in measured.items())


def _bf16_is_worth_a_try(network: nn.Module, objective: nn.Module, device: torch.device, compute: Compute) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    if device.type != "cpu":
        return False
    plain, mixed = (
        _seconds(network, objective, device, replace(compute, amp=amp), N_SMALL_CROPS, SMALL_SIDE)
        for amp in ("off", "bf16")
    )
    return mixed < HOPELESS * plain


def _seconds(
    network: nn.Module, objective: nn.Module, device: torch.device, compute: Compute, n_crops: int, size: int
) -> float:
    """Time of the quickest of some forward and backward passes, after one that warms up."""
    layout = torch.channels_last if compute.channels_last else torch.contiguous_format
    tried = copy.deepcopy(network).to(device, memory_format=layout).train()  # type: ignore[call-overload]
    random = torch.Generator().manual_seed(0)
    lightness = (100 * torch.rand(n_crops, 1, size, size, generator=random)).to(device, memory_format=layout)
    ab = (15 * torch.randn(n_crops, 2, size // 4, size // 4, generator=random)).to(device)
    threads_before = torch.get_num_threads()
    if compute.threads is not None:
        torch.set_num_threads(compute.threads)
    try:
        return min(_one_pass(tried, objective, device, compute, lightness, ab) for _ in range(1 + ROUNDS))
    finally:
        torch.set_num_threads(threads_before)


def _one_pass(
    network: nn.Module, objective: nn.Module, device: torch.device, compute: Compute, lightness: Tensor, ab: Tensor
) -> float:
    def wait() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    wait()
    start = time.perf_counter()
    with mixed_precision(device, compute):
        output = network(lightness)
    objective(output.float(), ab).backward()
    network.zero_grad(set_to_none=True)
    wait()
    return max(time.perf_counter() - start, 1e-9)
