"""Batches: filled up, halved when memory runs out; devices that are not there are refused."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from evalkit.errors import InputError
from tests.conftest import require


@pytest.fixture(autouse=True)
def torch():
    require(importlib.util.find_spec("torch") is not None, "torch is not installed (the extra `networks`)")
    import torch

    return torch


def test_every_item_gets_its_own_result_and_all_batches_have_one_size():
    from evalkit.networks.devices import BatchRunner

    sizes = []

    def double(batch):
        sizes.append(len(batch))
        return 2 * batch

    items = np.arange(11.0)[:, None]
    assert np.array_equal(BatchRunner(double, 4)(items), 2 * items)
    assert sizes == [4, 4, 4]


@pytest.mark.parametrize("kind", ["cuda", "cublas", "cpu", "python"])
def test_the_batch_is_halved_until_it_fits_and_that_is_said(torch, kind):
    from evalkit.networks.devices import BatchRunner

    failure = {
        "cuda": torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
        "cublas": RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        "cpu": RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate"),
        "python": MemoryError(),
    }[kind]

    def small_only(batch):
        if len(batch) > 2:
            raise failure
        return batch

    run = BatchRunner(small_only, 8)
    assert np.array_equal(run(np.arange(7)), np.arange(7))
    assert run.batch_size == 2
    assert run.notes == {
        "out of memory with a batch of 8 images; went on with 4",
        "out of memory with a batch of 4 images; went on with 2",
    }


def test_one_image_that_does_not_fit_ends_the_run_in_a_sentence(torch):
    from evalkit.networks.devices import BatchRunner

    def never(batch):
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(InputError, match="out of memory with a batch of one image"):
        BatchRunner(never, 2)(np.arange(3))


def test_the_image_at_which_memory_ran_out_is_named(torch):
    from evalkit.networks.devices import BatchRunner

    def not_the_third(batch):
        if 2 in batch:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return batch

    with pytest.raises(
        InputError, match=r"^out of memory at c\.png with a batch of one image; choose another --device"
    ):
        BatchRunner(not_the_third, 2)(np.arange(4), ["a.png", "b.png", "c.png", "d.png"])


def test_a_metric_says_at_which_image_its_network_ran_out_of_memory(torch):
    from evalkit.metrics.blocks import BatchedMeter
    from evalkit.metrics.photo import Photo
    from evalkit.networks.devices import BatchRunner

    def dark_only(batch):
        if batch.max() > 100:
            raise MemoryError
        return batch

    class Meter(BatchedMeter):
        def prepare(self, photo):
            return photo.rgb8

        def statistics_of_pairs(self, outputs, images, pairs):
            return [{} for _ in pairs]

    meter = Meter(BatchRunner(dark_only, 4))
    for k, name in enumerate(("a.png", "b.png", "c.png")):
        photos = [Photo(np.full((8, 8, 3), 50 * k + shift, np.uint8)) for shift in (0, 2)]
        meter.add(name, "mine", *photos)
    with pytest.raises(InputError, match=r"^out of memory at c\.png with a batch of one image"):
        meter.finish()


def test_other_errors_are_not_taken_for_a_lack_of_memory():
    from evalkit.networks.devices import BatchRunner

    def broken(batch):
        raise RuntimeError("shapes do not fit")

    with pytest.raises(RuntimeError, match="shapes do not fit"):
        BatchRunner(broken, 2)(np.arange(3))
    with pytest.raises(InputError, match="batch size 0"):
        BatchRunner(broken, 0)


def test_networks_run_on_one_thread_and_threads_are_put_back(torch):
    from evalkit.networks.devices import one_thread

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with one_thread():
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def precisions_of(torch):
    backends = torch.backends
    return [
        m.fp32_precision
        for m in (backends.cuda.matmul, backends.cudnn.conv, backends.mkldnn.matmul, backends.mkldnn.conv)
    ]


SETTINGS = {
    "none": lambda torch: None,
    "TF32 as of old": lambda torch: setattr(torch.backends.cuda.matmul, "allow_tf32", True),
    "medium": lambda torch: torch.set_float32_matmul_precision("medium"),
    "TF32 for all": lambda torch: setattr(torch.backends, "fp32_precision", "tf32"),
    "TF32 for products": lambda torch: setattr(torch.backends.cuda.matmul, "fp32_precision", "tf32"),
}
"""Ways in which training scripts allow shorter products."""


@pytest.mark.parametrize("setting", SETTINGS)
def test_shorter_products_that_a_script_allows_are_not_used_and_are_allowed_again_after(setting):
    """In a process of its own: torch has no way back from mixing its two ways to say it."""
    script = (
        "import torch\n"
        "from evalkit.networks.devices import one_thread\n"
        "from tests.evalkit.networks.test_devices import SETTINGS, precisions_of\n"
        f"SETTINGS[{setting!r}](torch)\n"
        "before = precisions_of(torch)\n"
        "with one_thread():\n"
        "    assert precisions_of(torch) == ['ieee'] * 4, precisions_of(torch)\n"
        "assert precisions_of(torch) == before, (before, precisions_of(torch))\n"
    )
    root = Path(__file__).parents[3]
    result = subprocess.run([sys.executable, "-c", script], cwd=root, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


def test_the_autocasting_of_a_training_loop_leaves_the_networks_alone(torch):
    from evalkit.networks.devices import one_thread

    one = torch.rand(8, 8, generator=torch.Generator().manual_seed(0))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert (one @ one).dtype == torch.bfloat16
        with one_thread():
            assert (one @ one).dtype == torch.float32
        assert (one @ one).dtype == torch.bfloat16


def test_auto_takes_the_best_device_there_is(torch, monkeypatch):
    from evalkit.networks.devices import choose_device

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert choose_device("auto").type == "cuda"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert choose_device("auto").type == "mps"
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert choose_device("auto").type == "cpu"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("gpu", "unknown; allowed: auto, cpu, cuda"),
        ("cuda:99", "torch finds"),
        ("meta", "unknown; allowed: auto, cpu, cuda"),
    ],
)
def test_a_device_that_is_not_there_is_refused(name, message):
    from evalkit.networks.devices import choose_device

    with pytest.raises(InputError, match=message):
        choose_device(name)


@pytest.mark.parametrize(("asked", "chosen"), [(None, 8), (0, 0), (3, 3)])
def test_a_batch_size_of_zero_is_not_taken_for_none_asked(torch, monkeypatch, asked, chosen):
    from evalkit.networks.devices import chosen_batch_size

    monkeypatch.setattr("evalkit.networks.devices.CPU_BATCH", 8)
    assert chosen_batch_size(asked, torch.device("cpu")) == chosen


@pytest.mark.parametrize(("rank", "gpu"), [("", 0), ("0", 0), ("1", 1), ("3", 1), ("x", 0), ("-1", 0)])
def test_processes_of_a_machine_take_its_gpus_in_turn(rank, gpu):
    from evalkit.networks.devices import gpu_of_rank

    assert gpu_of_rank(rank, 2) == gpu


def test_a_rank_changes_nothing_where_there_is_no_gpu(monkeypatch):
    import torch

    from evalkit.networks.devices import choose_device

    monkeypatch.setenv("LOCAL_RANK", "1")
    if not torch.cuda.is_available() and not torch.backends.mps.is_available():
        assert choose_device("auto").type == "cpu"
        with pytest.raises(InputError, match="torch finds 0 CUDA devices"):
            choose_device("cuda")


def test_an_array_is_uploaded_with_its_type_and_values(torch):
    from evalkit.networks.devices import uploaded

    for array in (np.arange(24, dtype=np.uint8).reshape(2, 3, 4), np.linspace(0, 1, 5, dtype=np.float32)):
        tensor = uploaded(array, torch.device("cpu"))
        assert np.array_equal(tensor.numpy(), array)
        assert tensor.numpy().dtype == array.dtype


def test_the_way_to_a_gpu_leads_through_pinned_memory_of_that_gpu(torch, monkeypatch):
    """What is asked of torch; what a GPU makes of it is for `benchmarks/gpu_check.py`."""
    from contextlib import nullcontext

    from evalkit.networks.devices import uploaded

    asked = []
    monkeypatch.setattr(torch.cuda, "device", lambda device: asked.append(device) or nullcontext())
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: asked.append("pinned") or tensor)
    monkeypatch.setattr(torch.Tensor, "to", lambda tensor, *words, **how: asked.append((words, how)) or tensor)
    gpu = torch.device("cuda", 1)
    uploaded(np.zeros(3, np.uint8), gpu)
    assert asked == [gpu, "pinned", ((gpu,), {"non_blocking": True})]
