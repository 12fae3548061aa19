"""Images reach a classifier as torchvision's own pipeline brings them there; weights of another network are refused."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from evalkit.errors import InputError
from evalkit.networks.options import NetworkOptions
from tests.conftest import require

OWN = "tests.evalkit.classifiers_for_tests"


@pytest.fixture(autouse=True)
def torch(monkeypatch, tmp_path):
    for package in ("torch", "torchvision"):
        require(importlib.util.find_spec(package) is not None, f"{package} is not installed (the extra `networks`)")
    import torch

    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path / "hub"))
    torch.set_num_threads(1)  # machines are shared, and two waiting threads are slower than one
    return torch


@pytest.fixture
def models():
    from evalkit.networks._torchvision_compat import import_torchvision

    return import_torchvision().models


class TestPreprocessing:
    @pytest.mark.parametrize("network", ["vgg16", "squeezenet1_0", "mobilenet_v2", "efficientnet_b0", "resnet50"])
    def test_pixels_and_tensors_are_those_of_torchvision(self, models, torch, photos, network):
        from evalkit.networks.classifiers import _default_preprocessing

        prep = _default_preprocessing(network)
        reference = models.get_model_weights(network).IMAGENET1K_V1.transforms()
        for photo in (photos["astronaut"][:, :301], photos["chelsea"], photos["china"][:90, :90]):
            tensor = prep.tensor(prep.pixels(photo)[None], torch.device("cpu"))[0]
            wanted = reference(Image.fromarray(photo))
            assert tensor.shape == wanted.shape == (3, 224, 224)
            torch.testing.assert_close(tensor, wanted, rtol=0, atol=1e-6)

    def test_caffe_gets_bgr_from_0_to_255_less_the_mean(self, torch, photos):
        from evalkit.networks.classifiers import Preprocessing

        prep = Preprocessing.parse("warp256-crop224-caffe")
        photo = photos["coffee"]
        warped = np.asarray(Image.fromarray(photo).resize((256, 256), Image.Resampling.BILINEAR))[16:240, 16:240]
        wanted = warped[..., ::-1].astype(np.float64) - [103.939, 116.779, 123.68]
        np.testing.assert_allclose(
            prep.tensor(prep.pixels(photo)[None], torch.device("cpu"))[0].permute(1, 2, 0), wanted, atol=1e-4
        )

    def test_half_maps_0_and_255_to_minus_1_and_1(self, torch):
        from evalkit.networks.classifiers import Preprocessing

        prep = Preprocessing.parse("warp16-half")
        for value, wanted in ((0, -1.0), (255, 1.0)):
            assert prep.tensor(np.full((1, 16, 16, 3), value, np.uint8), torch.device("cpu")).unique().tolist() == [
                wanted
            ]

    @pytest.mark.parametrize(
        ("text", "full"),
        [
            ("short256-crop224", "short256-crop224-bilinear-imagenet"),
            ("warp227", "warp227-bilinear-imagenet"),
            ("warp224-bicubic-half", "warp224-bicubic-half"),
            ("warp256-crop224-caffe", "warp256-crop224-bilinear-caffe"),
        ],
    )
    def test_the_signature_spells_it_out_and_reads_back(self, text, full):
        from evalkit.networks.classifiers import Preprocessing

        assert str(Preprocessing.parse(text)) == full
        assert Preprocessing.parse(full) == Preprocessing.parse(text)

    @pytest.mark.parametrize(
        "text", ["256", "short256", "short224-crop256", "warp8", "warp224-nearest", "", "warp99999"]
    )
    def test_what_makes_no_sense_is_refused(self, text):
        from evalkit.networks.classifiers import Preprocessing

        with pytest.raises(InputError, match="preprocessing"):
            Preprocessing.parse(text)


def light_vgg16_state(torch, models, *, seed: int = 0):
    """Every tensor of VGG-16 by name and shape, seeded; the two large layers repeat one column, so the file is small."""
    generator = torch.Generator().manual_seed(seed)
    with torch.device("meta"):
        shapes = {
            name: value.shape for name, value in models.vgg16(weights=None, init_weights=False).state_dict().items()
        }
    state = {}
    for name, shape in shapes.items():
        drawn = (*shape[:1], 1) if name in ("classifier.0.weight", "classifier.3.weight") else shape
        fan_in = int(np.prod(shape[1:])) or 1
        values = torch.randn(drawn, generator=generator) * (2 / fan_in) ** 0.5
        state[name] = values.expand(shape)
    return state


@pytest.fixture(scope="module")
def light_vgg16(tmp_path_factory):
    import torch

    from evalkit.networks._torchvision_compat import import_torchvision

    path = tmp_path_factory.mktemp("vgg") / "vgg16-seeded.pth"
    torch.save(light_vgg16_state(torch, import_torchvision().models), path)
    return path


class TestVgg16:
    def photos(self, photos):
        return [photos["astronaut"][:, :400], photos["coffee"], photos["chelsea"]]

    def test_probabilities_are_those_of_torchvisions_own_pipeline(self, torch, models, photos, light_vgg16):
        from evalkit.networks.classifiers import Classifier

        classifier = Classifier("vgg16", NetworkOptions(weights={"vgg16": light_vgg16}))
        assert classifier.n_parameters == 138_357_544
        images = self.photos(photos)
        ours = classifier.logits(np.stack([classifier.prepare(photo) for photo in images]))
        reference = models.vgg16(weights=None, init_weights=False).eval()
        reference.load_state_dict(torch.load(light_vgg16))
        transform = models.VGG16_Weights.IMAGENET1K_V1.transforms()
        with torch.inference_mode():
            wanted = reference(torch.stack([transform(Image.fromarray(photo)) for photo in images])).double().numpy()
        assert len({row.argmax() for row in wanted}) > 1 or np.ptp(wanted, axis=0).max() > 1e-3, (
            "the test needs answers"
        )
        np.testing.assert_allclose(ours, wanted, atol=1e-4 * np.abs(wanted).max())
        assert (ours.argmax(axis=1) == wanted.argmax(axis=1)).all()

    def test_the_caffe_network_is_fed_as_the_original_and_its_other_layer_names_are_known(
        self, torch, models, photos, tmp_path, light_vgg16
    ):
        from evalkit.networks.classifiers import Classifier

        state = torch.load(light_vgg16)
        renamed = {
            name.replace("classifier.3.", "classifier.4.").replace("classifier.0.", "classifier.1."): value
            for name, value in state.items()
        }
        torch.save(renamed, tmp_path / "caffe.pth")
        classifier = Classifier("vgg16_caffe", NetworkOptions(weights={"vgg16_caffe": tmp_path / "caffe.pth"}))
        photo = photos["chelsea"]
        height, width = 256, int(256 * photo.shape[1] / photo.shape[0])
        resized = np.asarray(Image.fromarray(photo).resize((width, height), Image.Resampling.BILINEAR), np.float64)
        left = round((width - 224) / 2)
        bgr = resized[16:240, left : left + 224, ::-1] - [103.939, 116.779, 123.68]
        reference = models.vgg16(weights=None, init_weights=False).eval()
        reference.load_state_dict(state)
        with torch.inference_mode():
            x = torch.from_numpy(np.ascontiguousarray(bgr.transpose(2, 0, 1))[None]).float()
            wanted = reference(x).double().numpy()
        ours = classifier.logits(classifier.prepare(photo)[None])
        np.testing.assert_allclose(ours, wanted, atol=1e-4 * np.abs(wanted).max())

    def test_a_file_in_the_torch_hub_cache_is_found_and_named_in_the_signature(self, torch, light_vgg16):
        from evalkit.networks.classifiers import set_up_classifier
        from evalkit.networks.weight_files import cache_folder, file_digest

        setup = set_up_classifier("vgg16", NetworkOptions())
        assert setup.reason.startswith("the weights of vgg16 are not there: fetch them with 'evalkit weights vgg16'")
        assert "weights" not in setup.fields
        cache_folder().mkdir(parents=True)
        (cache_folder() / "vgg16-397923af.pth").symlink_to(light_vgg16)
        setup = set_up_classifier("vgg16", NetworkOptions())
        assert setup.reason == ""
        assert setup.fields == {
            "prep": "short256-crop224-bilinear-imagenet",
            "prec": "fp32",
            # Not the published file, whatever it is called.
            "weights": f"file@{file_digest(light_vgg16)[:8]}",
        }


@pytest.mark.parametrize("resize", ["short", "warp"])
def test_a_crop_of_nothing_is_refused_not_taken_for_no_crop(resize):
    from evalkit.networks.classifiers import Preprocessing

    with pytest.raises(InputError, match="sizes are 16 to 4096 pixels"):
        Preprocessing(resize=resize, size=256, crop=0)


class TestMistakes:
    def test_weights_of_another_network_are_refused_with_the_first_difference(self, torch, models, tmp_path):
        from evalkit.networks.classifiers import set_up_classifier

        path = tmp_path / "weights.pth"
        for state, message in (
            ({"fc.weight": torch.zeros(2)}, r"weights of another network than vgg16 \(it has no features.0.weight\)"),
            (
                {**light_vgg16_state(torch, models), "classifier.6.bias": torch.zeros(10)},
                r"its classifier.6.bias is 10, not 1000",
            ),
            ({**light_vgg16_state(torch, models), "aux.weight": torch.zeros(1)}, "its aux.weight is unknown there"),
        ):
            torch.save(state, path)
            with pytest.raises(InputError, match=message):
                set_up_classifier("vgg16", NetworkOptions(weights={"vgg16": path}))

    @pytest.mark.parametrize(
        ("network", "options", "message"),
        [
            ("vgg61", NetworkOptions(), "no classifier 'vgg61' in torchvision .did you mean 'vgg"),
            ("vgg16", NetworkOptions(weights={"vgg16": Path("none.pth")}), r"--weights vgg16=none.pth: no such file"),
            ("vgg16", NetworkOptions(device="cuda:7"), "torch finds"),
            ("vgg16", NetworkOptions(preprocessing={"vgg16": "tiny"}), "not understood"),
            ("mine", NetworkOptions(classifiers={"mine": "no_such_module:f"}), "does not load"),
            ("mine", NetworkOptions(classifiers={"mine": f"{OWN}:nothing"}), "does not load"),
            ("mine", NetworkOptions(classifiers={"mine": OWN}), r"expected package.module:function"),
            ("mine", NetworkOptions(classifiers={"mine": f"{OWN}:not_a_network"}), "must return a torch.nn.Module"),
        ],
    )
    def test_what_is_wrong_is_told_before_an_image_is_read(self, network, options, message):
        from evalkit.networks.classifiers import set_up_classifier

        with pytest.raises(InputError, match=message):
            set_up_classifier(network, options)

    def test_the_caffe_network_has_no_published_file(self):
        from evalkit.networks.classifiers import set_up_classifier

        assert "--weights vgg16_caffe=FILE" in set_up_classifier("vgg16_caffe", NetworkOptions()).reason

    def test_an_answer_that_is_no_table_of_scores_is_told(self):
        from evalkit.networks.classifiers import Classifier

        classifier = Classifier("two", NetworkOptions(classifiers={"two": f"{OWN}:two_answers"}))
        with pytest.raises(InputError, match="gives tuple, not one row of class scores"):
            classifier.logits(np.zeros((2, 32, 32, 3), np.uint8))


class TestOwnClassifiers:
    def test_its_preprocessing_is_a_text_a_function_or_the_default(self, photos):
        from evalkit.networks.classifiers import Classifier, set_up_classifier

        for name, shape, prep in (
            ("tiny", (32, 32, 3), "warp32-bilinear-imagenet"),
            ("tiny_with_own_pixels", (3, 32, 32), f"{OWN}:tiny_with_own_pixels"),
            ("bare", (224, 224, 3), "short256-crop224-bilinear-imagenet"),
        ):
            options = NetworkOptions(classifiers={"mine": f"{OWN}:{name}"})
            classifier = Classifier("mine", options)
            prepared = classifier.prepare(photos["coffee"])
            assert prepared.shape == shape
            assert classifier.logits(prepared[None]).shape == (1, 10)
            assert set_up_classifier("mine", options).fields["prep"] == prep

    def test_the_command_line_overrides_its_preprocessing(self, photos):
        from evalkit.networks.classifiers import Classifier

        options = NetworkOptions(classifiers={"mine": f"{OWN}:tiny"}, preprocessing={"mine": "warp48"})
        assert Classifier("mine", options).prepare(photos["coffee"]).shape == (48, 48, 3)

    def test_the_signature_tells_networks_of_one_name_apart_by_their_parameters(self, torch, monkeypatch):
        import tests.evalkit.classifiers_for_tests as own
        from evalkit.networks.classifiers import set_up_classifier

        options = NetworkOptions(classifiers={"mine": f"{OWN}:tiny"})
        before = set_up_classifier("mine", options).fields["weights"]
        assert before == set_up_classifier("mine", options).fields["weights"]

        class Other(own.Tiny):
            def __init__(self) -> None:
                super().__init__()
                self.classes.bias.data += 1

        monkeypatch.setattr(own, "Tiny", Other)
        after = set_up_classifier("mine", NetworkOptions(classifiers=options.classifiers)).fields["weights"]
        assert before.startswith(f"{OWN}:tiny@")
        assert before != after


def test_a_classifier_of_ones_own_is_loaded_once_and_rounding_leaves_it_as_it_was_made(torch, photos):
    import pickle

    from evalkit.networks.classifiers import Classifier, set_up_classifier

    rounded = NetworkOptions(classifiers={"mine": f"{OWN}:tiny"}, device="cpu", precision="bf16")
    before = set_up_classifier("mine", rounded).fields["weights"]
    made = rounded.loaded["mine"].module
    network = Classifier("mine", rounded)
    assert next(network.module.parameters()).dtype == torch.bfloat16
    assert rounded.loaded["mine"].module is made
    assert next(made.parameters()).dtype == torch.float32
    assert set_up_classifier("mine", rounded).fields["weights"] == before
    assert pickle.loads(pickle.dumps(rounded)).loaded == {}


@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 1e-6), ("bf16", 0.1)])
def test_precision_changes_numbers_a_little(photos, precision, tolerance):
    from evalkit.networks.classifiers import Classifier

    own = {"tiny": f"{OWN}:tiny"}
    exact = Classifier("tiny", NetworkOptions(classifiers=own))
    other = Classifier("tiny", NetworkOptions(classifiers=own, precision=precision))
    batch = np.stack([exact.prepare(photo) for photo in photos.values()])
    wanted = exact.logits(batch)
    assert np.abs(other.logits(batch) - wanted).max() <= tolerance * np.abs(wanted).max()
