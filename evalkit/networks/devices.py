"""Where networks run: the choice of the device, batches that fit its memory, one thread a process.

Networks run on one CPU thread in every process of a scoring run; the run uses all cores by working in several processes.
So a number never depends on how many threads torch happened to use.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from evalkit.errors import InputError
from evalkit.networks.options import check_device_name

if TYPE_CHECKING:
    import torch

    from evalkit.networks.options import Precision

__all__ = [
    "BatchRunner",
    "choose_device",
    "chosen_batch_size",
    "gpu_of_rank",
    "is_out_of_memory",
    "keep_freed_memory",
    "one_thread",
    "standardized",
    "torch_dtype",
    "uploaded",
]

CPU_BATCH = 8
"""As fast as any larger batch on one CPU thread, in a quarter of the memory of 32."""
GPU_BATCH = 64

LARGEST_KEPT = (32 << 20) - (64 << 10)
"""Bytes of the largest piece that glibc keeps when it is freed, less than its bound of 32 MB."""


def choose_device(name: str) -> torch.device:
    """The device of that name.

    Parameters
    ----------
    name : str
        ``auto`` (CUDA, else Apple's MPS, else the CPU), ``cpu``, ``cuda``, ``cuda:N`` or ``mps``. ``auto`` and ``cuda`` are
        this process's own GPU where ``LOCAL_RANK`` numbers the processes of a machine, as torchrun does.

    Raises
    ------
    InputError
        If there is no such device on this machine.
    """
    import torch

    check_device_name(name)
    if name == "auto" and torch.cuda.is_available():
        name = "cuda"
    if name == "cuda" and torch.cuda.is_available():
        return torch.device("cuda", gpu_of_rank(os.environ.get("LOCAL_RANK", ""), torch.cuda.device_count()))
    if name == "auto":
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise InputError(f"device {name!r}: {str(error).splitlines()[0]}") from None
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise InputError(
            f"device {name!r}: torch finds {torch.cuda.device_count()} CUDA devices here; try --device auto."
        )
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise InputError(f"device {name!r}: torch finds no Apple GPU here; try --device auto.")
    return device


def gpu_of_rank(rank: str, n_gpus: int) -> int:
    """The GPU of a process of that number on its machine; more processes than GPUs share them in turn.

    >>> gpu_of_rank("3", 4), gpu_of_rank("5", 4), gpu_of_rank("", 4)
    (3, 1, 0)
    """
    return int(rank) % n_gpus if rank.isdecimal() else 0


def torch_dtype(precision: Precision) -> torch.dtype:
    """The floating point type of a precision."""
    import torch

    return {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]


def uploaded(array: npt.NDArray[Any], device: torch.device) -> torch.Tensor:
    """An array as a tensor on a device.

    On its way to a GPU it passes through pinned memory, which the GPU copies from while the CPU goes on.

    Parameters
    ----------
    array : ndarray
    device : torch.device

    Returns
    -------
    torch.Tensor
        Of the array's type and shape; on the CPU it shares the array's memory, unless that may only be read.
    """
    import torch

    tensor = torch.from_numpy(array if array.flags.writeable else array.copy())
    if device.type != "cuda":
        return tensor.to(device)
    with torch.cuda.device(device):  # pinned memory belongs to a GPU: else to the first one, also for other processes
        return tensor.pin_memory().to(device, non_blocking=True)


def standardized(rows: torch.Tensor, shift: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """Subtract a number and divide by another, each by channel, in place.

    Parameters
    ----------
    rows : torch.Tensor of float32, shape (N, H, 3 * W)
        A row of pixels as one long row of numbers: three at a time would be slow.
    shift, scale : torch.Tensor of float32, shape (3,)

    Returns
    -------
    torch.Tensor, shape (N, 3, H, W)
        Channels last, which is how pixels lie already.
    """
    n_images, height, n_numbers = rows.shape
    width = n_numbers // 3
    rows.sub_(shift.repeat(width)).div_(scale.repeat(width))
    return rows.view(n_images, height, width, 3).permute(0, 3, 1, 2)


def keep_freed_memory() -> None:
    """Let glibc keep what is freed, 64 MB at most, for the next who asks, in place of giving it back to the system.

    What comes from the system comes page by page and zeroed, for every map of every image anew: a tenth of the time of LPIPS.
    glibc keeps pieces as large as the largest that was ever freed, 32 MB at most (mallopt(3), M_MMAP_THRESHOLD), so one is
    freed here; its pages are never touched. Other allocators make nothing of it.
    """
    import torch

    torch.empty(LARGEST_KEPT, dtype=torch.uint8, device="cpu")


def chosen_batch_size(asked: int | None, device: torch.device) -> int:
    """Images per batch: as many as were asked for (0 too, which `BatchRunner` refuses), else what suits the device."""
    if asked is not None:
        return asked
    return CPU_BATCH if device.type == "cpu" else GPU_BATCH


@contextmanager
def one_thread() -> Iterator[None]:
    """Run torch on one CPU thread, and in the numbers that a network was given; what was set before is put back after.

    Within, 32-bit floats are multiplied in full precision (no TF32 on a GPU, no bfloat16 on a CPU), also where a training
    loop around it allows less, and its autocasting rests.
    """
    import torch

    backends = torch.backends
    # Not by `allow_tf32`, which cannot be read where somebody has set the same by these.
    multipliers = (backends.cuda.matmul, backends.cudnn.conv, backends.mkldnn.matmul, backends.mkldnn.conv)  # type: ignore[attr-defined]
    precisions = [multiplier.fp32_precision for multiplier in multipliers]
    threads = torch.get_num_threads()
    with ExitStack() as stack:
        for kind in ("cpu", "cuda", "mps"):
            if torch.is_autocast_enabled(kind):
                stack.enter_context(torch.autocast(kind, enabled=False))
        torch.set_num_threads(1)
        for multiplier in multipliers:
            multiplier.fp32_precision = "ieee"
        try:
            yield
        finally:
            torch.set_num_threads(threads)
            for multiplier, precision in zip(multipliers, precisions, strict=True):
                multiplier.fp32_precision = precision


class BatchRunner:
    """Runs a function over many items in batches of one size, halving it when memory runs out.

    The last batch is filled up with copies of its last item, so that the result of an item does not depend on how many
    others there are (libraries choose other algorithms for other sizes, which round differently).

    Parameters
    ----------
    function : callable
        Array of shape (n, ...) to array of shape (n, ...).
    batch_size : int
        Items per batch.
    """

    def __init__(self, function: Callable[[npt.NDArray[Any]], npt.NDArray[Any]], batch_size: int) -> None:
        if batch_size < 1:
            raise InputError(f"batch size {batch_size}: at least 1 is needed.")
        self.function = function
        self.batch_size = batch_size
        self.notes: set[str] = set()

    def __call__(self, items: npt.NDArray[Any], names: Sequence[str] = ()) -> npt.NDArray[Any]:
        """Apply the function to all items, shape (n, ...).

        Parameters
        ----------
        items : ndarray, shape (n, ...)
        names : sequence of str, length n, optional
            What each item is of, for the sentence that says where memory ran out.

        Raises
        ------
        InputError
            If memory runs out with a batch of one item.
        """
        results: list[npt.NDArray[Any]] = []
        start = 0
        while start < len(items):
            batch = items[start : start + self.batch_size]
            n = len(batch)
            if n < self.batch_size:
                batch = np.concatenate([batch, np.repeat(batch[-1:], self.batch_size - n, axis=0)])
            try:
                with one_thread():
                    results.append(self.function(batch)[:n])
            except (RuntimeError, MemoryError) as error:
                self._halve(error, f" at {names[start]}" if names else "")
                continue
            start += n
        return np.concatenate(results)

    def _halve(self, error: Exception, where: str) -> None:
        if not is_out_of_memory(error):
            raise error
        if self.batch_size == 1:
            raise InputError(
                f"out of memory{where} with a batch of one image; choose another --device, or fewer --workers"
            ) from error
        import torch

        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        half = self.batch_size // 2
        self.notes.add(f"out of memory with a batch of {self.batch_size} images; went on with {half}")
        self.batch_size = half


def is_out_of_memory(error: Exception) -> bool:
    """Whether an error says that a device, or the CPU's allocator, has no memory left; torch has no one exception."""
    torch = sys.modules.get("torch")
    if isinstance(error, MemoryError) or torch is None:
        return isinstance(error, MemoryError)
    # The name of torch 2.5 and later; before, it lived below torch.cuda alone.
    if isinstance(error, getattr(torch, "OutOfMemoryError", torch.cuda.OutOfMemoryError)):
        return True
    text = str(error).lower()
    phrases = ("out of memory", "can't allocate memory", "not enough memory", "bad_alloc", "cublas_status_alloc_failed")
    return any(phrase in text for phrase in phrases)
