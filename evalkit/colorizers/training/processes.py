"""The processes of one training run: alone, or started by ``torchrun`` on several devices or hosts."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from evalkit.networks.devices import choose_device

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Processes"]


@dataclass(frozen=True)
class Processes:
    """A process among those of the run.

    Attributes
    ----------
    rank, n : int
        Number of this process, and how many there are.
    device : torch.device
    """

    rank: int
    n: int
    device: torch.device

    @classmethod
    def join(cls, device: str) -> Processes:
        """Meet the other processes, as the environment that ``torchrun`` sets says; alone where it says nothing.

        Raises
        ------
        InputError
            If there is no such device.
        """
        n = int(os.environ.get("WORLD_SIZE", "1"))
        rank = int(os.environ.get("RANK", "0"))
        chosen = choose_device(device)
        if chosen.type == "cuda" and n > 1:
            chosen = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        if n > 1:
            distributed.init_process_group("nccl" if chosen.type == "cuda" else "gloo")
        return cls(rank, n, chosen)

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes files."""
        return self.rank == 0

    def wrap(self, network: nn.Module) -> nn.Module:
        """The network, with gradients averaged over the processes."""
        if self.n == 1:
            return network
        ids = [self.device.index] if self.device.type == "cuda" else None
        return DistributedDataParallel(network, device_ids=ids)

    def no_sync(self, network: nn.Module) -> AbstractContextManager[None]:
        """Context in which gradients are added up here, and not yet averaged."""
        return network.no_sync() if isinstance(network, DistributedDataParallel) else nullcontext()

    def mean(self, value: Tensor) -> Tensor:
        """Mean of a number over the processes."""
        if self.n > 1:
            distributed.all_reduce(value)
            value = value / self.n
        return value

    def first_says(self, answer: bool) -> bool:
        """What the first process answers, told to all."""
        if self.n > 1:
            value = torch.tensor(float(answer), device=self.device)
            distributed.broadcast(value, 0)
            answer = bool(value.item())
        return answer

    def wait(self) -> None:
        """Until every process is here."""
        if self.n > 1:
            distributed.barrier()

    def leave(self) -> None:
        """End the run of this process."""
        if self.n > 1 and distributed.is_initialized():
            distributed.destroy_process_group()
