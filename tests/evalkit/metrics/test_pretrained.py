"""Metrics with real pretrained networks equal the reference libraries on published outputs."""

from __future__ import annotations

import importlib.util
import warnings
from pathlib import Path

import numpy as np
import pytest

import evalkit
from evalkit.networks.options import NetworkOptions
from tests.conftest import require
from tests.evalkit import pretrained

CLASSIFIER = {"alex": "alexnet", "vgg": "vgg16"}


@pytest.fixture(autouse=True)
def one_thread() -> None:
    for name in ("torch", "torchvision", "lpips", "torch_fidelity"):
        require(importlib.util.find_spec(name) is not None, f"{name} is not installed (the extra `networks`)")
    import torch

    torch.set_num_threads(1)  # machines are shared, and two waiting threads are slower than one


@pytest.fixture
def trunks(shared_data: Path) -> dict[str, Path]:
    return {network: pretrained.lpips_trunk(network, shared_data) for network in CLASSIFIER.values()}


@pytest.mark.parametrize("net", ["alex", "vgg"])
def test_lpips_of_published_outputs_is_that_of_the_authors_package_to_1e_5(
    net: str, trunks: dict[str, Path], published_pairs: list[tuple[np.ndarray, np.ndarray]]
) -> None:
    import torch

    from evalkit.metrics.perceptual import Lpips
    from evalkit.networks._torchvision_compat import import_torchvision

    import_torchvision()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import lpips

        reference = lpips.LPIPS(net=net, pnet_rand=True, verbose=False)
    state = torch.load(trunks[CLASSIFIER[net]], weights_only=True)
    for k in range(1, 6):
        part = getattr(reference.net, f"slice{k}")
        part.load_state_dict({name: state[f"features.{name}"] for name in part.state_dict()})
    ours = Lpips(net, NetworkOptions(weights=trunks, device="cpu"))
    for truth, prediction in published_pairs[::30]:
        x, y = (torch.from_numpy(a.copy()).permute(2, 0, 1)[None] / 127.5 - 1 for a in (truth, prediction))
        with torch.no_grad():
            wanted = float(reference(x, y))
        assert wanted > 0.01
        assert ours(truth, prediction) == pytest.approx(wanted, abs=1e-5)


def test_fid_features_and_kid_of_published_outputs_are_those_of_torch_fidelity(
    shared_data: Path, comparison: Path, tmp_path: Path
) -> None:
    import torch
    from PIL import Image

    from evalkit.networks._torchvision_compat import import_torchvision

    import_torchvision()
    weights = pretrained.inception(shared_data)
    for folder in ("gt", "ours"):
        (tmp_path / folder).mkdir()
        for path in sorted((comparison / folder).glob("*.jpg"))[:8]:
            (tmp_path / folder / path.name).write_bytes(path.read_bytes())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
        from torch_fidelity.metric_kid import kid_features_to_metric

        # It asks for the class scores' layer too, which no feature passes through.
        whole = {"fc.weight": torch.zeros(1008, 2048), "fc.bias": torch.zeros(1008)}
        torch.save({**torch.load(weights, weights_only=True), **whole}, tmp_path / "whole.pth")
        extractor = FeatureExtractorInceptionV3("inception-v3-compat", ["2048"], str(tmp_path / "whole.pth"))
        features = []
        for folder in ("gt", "ours"):
            rows = []
            for path in sorted((tmp_path / folder).iterdir()):
                with Image.open(path) as image, torch.inference_mode():
                    pixels = torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)[None]
                    rows.append(extractor(pixels)[0][0])
            features.append(torch.stack(rows))
        wanted = kid_features_to_metric(*features, kid_subsets=1, kid_subset_size=8, verbose=False)
    scores = evalkit.score(
        tmp_path / "gt",
        {"full": tmp_path / "ours"},
        metrics=("kid",),
        networks=NetworkOptions(weights={"inception_fid": weights}, device="cpu"),
        n_bootstrap=0,
    )
    # Features of real weights are of order 1, where torch-fidelity states its own tolerance as 1e-3.
    assert scores["full", "kid"].value == pytest.approx(wanted["kernel_inception_distance_mean"], rel=1e-3, abs=1e-6)
