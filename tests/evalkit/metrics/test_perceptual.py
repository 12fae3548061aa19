# ruff: noqa: F811 (a fixture is imported and asked for by the same name)
"""LPIPS equals the authors' package on identical weights; its trunks come like VGG's own weights."""

from __future__ import annotations

import importlib.util
import warnings

import numpy as np
import pytest
from scoring_folders import photo_set  # noqa: F401 (fixture)

import evalkit
from evalkit.errors import InputError
from evalkit.metrics.blocks import RunInputs
from evalkit.networks.options import NetworkOptions
from tests.conftest import require

CLASSIFIER = {"alex": "alexnet", "vgg": "vgg16"}


@pytest.fixture(autouse=True)
def torch(monkeypatch, tmp_path):
    for package in ("torch", "torchvision", "lpips"):
        require(importlib.util.find_spec(package) is not None, f"{package} is not installed (the extra `networks`)")
    import torch

    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path / "hub"))
    torch.set_num_threads(1)  # machines are shared, and two waiting threads are slower than one
    return torch


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """The authors' networks with seeded trunks, and files of these trunks under torchvision's names."""
    import torch

    from evalkit.networks._torchvision_compat import import_torchvision

    import_torchvision()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import lpips

        made = {}
        for net in CLASSIFIER:
            torch.manual_seed(0)
            model = lpips.LPIPS(net=net, pnet_rand=True, verbose=False)
            layers = {}
            for k in range(1, 6):
                for name, value in getattr(model.net, f"slice{k}").state_dict().items():
                    layers[f"features.{name}"] = value
            path = tmp_path_factory.mktemp("trunks") / f"{net}.pth"
            # A file has the classifier's layers as well; they are passed over.
            torch.save({**layers, "classifier.6.bias": torch.zeros(1000)}, path)
            made[net] = model, path
    return made


def options(reference) -> NetworkOptions:
    return NetworkOptions(weights={CLASSIFIER[net]: path for net, (_, path) in reference.items()}, device="cpu")


@pytest.mark.parametrize("net", ["alex", "vgg"])
def test_values_are_those_of_the_authors_package(net, torch, reference, photo_pairs):
    from evalkit.metrics.perceptual import Lpips

    model, _ = reference[net]
    ours = Lpips(net, options(reference))
    for pair in photo_pairs.values():
        truth, prediction = (image[:130, :157] for image in pair)
        x, y = (
            torch.from_numpy(np.ascontiguousarray(a)).permute(2, 0, 1)[None] / 127.5 - 1 for a in (truth, prediction)
        )
        with torch.no_grad():
            wanted = float(model(x, y))
        assert wanted > 1e-4
        assert ours(truth, prediction) == pytest.approx(wanted, rel=1e-4)
        assert ours(truth, truth) == 0.0


@pytest.mark.parametrize("net", ["alex", "vgg"])
def test_the_parts_of_a_map_change_no_bit(net, reference, photo_pairs, monkeypatch):
    """Whole maps, one row at a time, and features that are kept in place of those that are made on the way."""
    from evalkit.metrics.perceptual import Lpips
    from evalkit.metrics.photo import Photo

    truth, prediction = (image[:97, :131] for image in photo_pairs["dull"])
    ours = Lpips(net, options(reference))
    values = set()
    for size in (1, 1 << 14, 1 << 30):
        monkeypatch.setattr("evalkit.metrics.perceptual.PART", size)
        values.add(ours(truth, prediction))
        values.add(ours.distance(ours.features(Photo(truth)), ours.features(Photo(prediction))))
    assert len(values) == 1
    assert values.pop() > 1e-4


def test_images_that_may_only_be_read_are_taken(reference, photo_pairs):
    """Arrays of JAX and pictures of Pillow are such; torch warns of them."""
    from evalkit.metrics.perceptual import Lpips

    pair = [np.array(image[:64, :64]) for image in photo_pairs["dull"]]
    ours = Lpips("alex", options(reference))
    wanted = ours(*pair)
    for image in pair:
        image.flags.writeable = False
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert ours(*pair) == wanted


def test_the_linear_weights_are_the_calibrated_ones_of_version_0_1(torch):
    from evalkit.metrics.perceptual import linear_weights

    for net, channels in (("alex", [64, 192, 384, 256, 256]), ("vgg", [64, 128, 256, 512, 512])):
        state = torch.load(linear_weights(net), map_location="cpu")
        assert [state[f"lin{k}.model.1.weight"].shape[1] for k in range(5)] == channels
        assert all((value >= 0).all() for value in state.values())


def test_in_a_run_every_pair_has_the_value_of_the_function(reference, photo_set):
    from PIL import Image

    from evalkit.metrics.perceptual import Lpips

    scores = evalkit.score(
        photo_set / "truth",
        {"vivid": photo_set / "vivid", "dull": photo_set / "dull"},
        metrics=("lpips_alex",),
        networks=options(reference),
        n_bootstrap=200,
    )
    assert scores["truth", "lpips_alex"].value == 0.0
    assert scores["dull", "lpips_alex"].value > scores["vivid", "lpips_alex"].value > 0
    ours = Lpips("alex", options(reference))
    rows = [row for row in scores.per_image.to_pylist() if row["method"] == "dull"]
    for row in rows[::23]:
        pair = [np.asarray(Image.open(photo_set / side / f"{row['image']}.png")) for side in ("truth", "dull")]
        assert row["lpips_alex"] == ours(*pair)
    assert scores["dull", "lpips_alex"].value == pytest.approx(np.mean([row["lpips_alex"] for row in rows]))
    signature = scores["dull", "lpips_alex"].signature
    assert "|net:alex-v0.1|" in signature
    assert "|weights:file@" in signature


def test_images_too_small_for_the_trunk_are_unscored(reference):
    from evalkit.metrics.perceptual import Lpips

    found = {net: Lpips(net, options(reference)) for net in CLASSIFIER}
    for net, side in (("alex", 31), ("vgg", 16)):
        small, enough = (np.zeros((n, 40, 3), np.uint8) for n in (side - 1, side))
        assert np.isnan(found[net](small, small + 50))
        assert found[net](enough, enough + 50) > 0


def test_without_weights_or_package_the_reason_says_what_to_do(monkeypatch):
    from evalkit.metrics import load_metric

    metric = load_metric("lpips_alex")()
    assert metric.set_up(RunInputs(NetworkOptions())).reason.startswith(
        "the weights of alexnet are not there: fetch them with"
    )
    genuine = importlib.util.find_spec
    monkeypatch.setattr("evalkit.needs.find_spec", lambda name: None if name == "lpips" else genuine(name))
    assert metric.set_up(RunInputs(NetworkOptions())).reason.startswith("lpips is not installed")


def test_weights_of_another_network_are_refused(reference):
    from evalkit.metrics import load_metric

    swapped = NetworkOptions(weights={"alexnet": reference["vgg"][1]})
    with pytest.raises(InputError, match="weights of another network than alexnet"):
        load_metric("lpips_alex")().set_up(RunInputs(swapped))
