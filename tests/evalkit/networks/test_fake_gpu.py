"""Networks on a GPU that is not there: torch follows devices, types and shapes, and refuses what a GPU would refuse.

Values are not computed. What shows here is a tensor that was left on the CPU, a type that was not brought along, and numbers
that are taken from a GPU without a copy.
"""

from __future__ import annotations

import copy
import importlib.util
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from evalkit.metrics.photo import Photo
from evalkit.networks.options import NetworkOptions
from tests.conftest import require
from tests.evalkit import pretrained

RGB = np.random.default_rng(0).integers(0, 256, (64, 80, 3), dtype=np.uint8)


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The device ``cuda:0``, on which all tensors of the test are fakes."""
    for package in ("torch", "torchvision", "lpips", "torch_fidelity"):
        require(importlib.util.find_spec(package) is not None, f"{package} is not installed (the extra `networks`)")
    import torch
    from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode, unset_fake_temporarily

    from evalkit.metrics import fid_kid, perceptual
    from evalkit.networks import classifiers

    def numpy(tensor: torch.Tensor) -> np.ndarray:
        assert tensor.device.type == "cpu", "numpy cannot read what lies on a GPU"
        return np.zeros(tuple(tensor.shape), {torch.float32: np.float32, torch.uint8: np.uint8}[tensor.dtype])

    def on_the_cpu(function: Callable[..., Any]) -> Callable[..., Any]:
        """Files are read before anything goes to a GPU."""

        def call(*args: Any, **kwargs: Any) -> Any:
            with unset_fake_temporarily():
                return function(*args, **kwargs)

        return call

    device = torch.device("cuda", 0)
    for module in (classifiers, perceptual, fid_kid):
        monkeypatch.setattr(module, "choose_device", lambda name: device)
    monkeypatch.setattr(classifiers, "_build", on_the_cpu(classifiers._build))
    monkeypatch.setattr(classifiers, "_load_own", on_the_cpu(classifiers._load_own))
    monkeypatch.setattr(classifiers._OwnClassifier, "digest", "of no interest")
    monkeypatch.setattr(classifiers, "copy", SimpleNamespace(deepcopy=on_the_cpu(copy.deepcopy)))
    monkeypatch.setattr(perceptual, "_features", on_the_cpu(perceptual._features))
    monkeypatch.setattr(fid_kid, "load_inception", on_the_cpu(fid_kid.load_inception))
    monkeypatch.setattr(torch.cuda, "device", lambda device: nullcontext())
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: tensor)
    monkeypatch.setattr(FakeTensor, "numpy", numpy)
    monkeypatch.setattr(FakeTensor, "__float__", lambda tensor: 0.0, raising=False)
    with FakeTensorMode(allow_non_fake_inputs=True):
        yield device


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("net", ["alex", "vgg"])
def test_lpips(gpu: Any, shared_data: Path, net: str, precision: Any) -> None:
    import torch

    from evalkit.metrics.perceptual import Lpips

    trunk = {"alex": "alexnet", "vgg": "vgg16"}[net]
    lpips = Lpips(net, NetworkOptions(weights={trunk: pretrained.lpips_trunk(trunk, shared_data)}, precision=precision))
    features = lpips.features(Photo(RGB))
    assert {stage.values.device for stage in features} == {stage.length.device for stage in features} == {gpu}
    assert {stage.values.dtype for stage in features} == {lpips.dtype}
    assert {stage.length.dtype for stage in features} == {torch.float32}
    assert lpips.distance(features, Photo(np.ascontiguousarray(RGB[::-1]))) == 0.0


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("network", ["resnet18", "tiny", "tiny_with_own_pixels"])
def test_classifiers(gpu: Any, tmp_path: Path, network: str, precision: Any) -> None:
    import torch
    from torch._subclasses.fake_tensor import unset_fake_temporarily

    from evalkit.networks._torchvision_compat import import_torchvision
    from evalkit.networks.classifiers import Classifier

    path = tmp_path / "resnet18.pth"
    with unset_fake_temporarily():
        torch.save(import_torchvision().models.resnet18(weights=None).state_dict(), path)
    own = {name: f"tests.evalkit.classifiers_for_tests:{name}" for name in ("tiny", "tiny_with_own_pixels")}
    classifier = Classifier(network, NetworkOptions(weights={"resnet18": path}, classifiers=own, precision=precision))
    assert {value.device for value in classifier.module.parameters()} == {gpu}
    assert {value.dtype for value in classifier.module.parameters()} == {classifier.dtype}
    batch = np.stack([classifier.prepare(RGB)] * 3)
    scores, in_fp32 = classifier.settled_logits(batch)
    assert scores.shape == (3, 1000 if network == "resnet18" else 10)
    assert in_fp32.all() == (precision != "fp32")  # fakes are all zero, so every first class is in doubt


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_inception(gpu: Any, shared_data: Path, precision: Any) -> None:
    from evalkit.metrics.fid_kid import InceptionMeter

    path = pretrained.inception(shared_data)
    meter = InceptionMeter("torch-fidelity", path, NetworkOptions(precision=precision))
    assert {value.device for value in meter.model.parameters()} == {gpu}
    assert meter.features(np.zeros((2, 3, 299, 299), np.float32)).shape == (2, 2048)


def test_a_tensor_that_was_left_on_the_cpu_is_noticed(gpu: Any, shared_data: Path) -> None:
    from evalkit.metrics.perceptual import Lpips

    weights = {"alexnet": pretrained.lpips_trunk("alexnet", shared_data)}
    lpips = Lpips("alex", NetworkOptions(weights=weights))
    lpips._shift = lpips._shift.cpu()
    with pytest.raises(RuntimeError, match=r"cuda:0.*cpu"):
        lpips.features(Photo(RGB))
