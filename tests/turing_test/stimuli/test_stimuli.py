"""From folders of images to sealed stimuli: alike in everything but their pixels."""

import hashlib
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms
from skimage.color import rgb2lab

from evalkit.colorizers.anchors import builtin
from evalkit.errors import InputError
from evalkit.images.image_files import resize
from evalkit.images.image_pairs import pair_folders
from turing_test.stimuli.build import Sources, build_stimuli
from turing_test.stimuli.obvious_fakes import obvious_fake
from turing_test.study.manifest import Manifest, Stimulus
from turing_test.study.protocol import Protocol
from turing_test.study.study_folder import stimulus_path

KEY = b"k" * 32
SMALL = Protocol(
    size=64, practice_trials=1, test_trials=3, vigilance_trials=1, catch_trials=1, reserve_trials=0, min_width=320
)


def crops(photos, n=6, side=64):
    """Square crops of real photos by name."""
    names = list(photos)
    return {
        f"{names[k % len(names)]}-{k}": np.ascontiguousarray(
            photos[names[k % len(names)]][60 + 20 * k :, 40 + 30 * k :][: side * 3 : 3, : side * 3 : 3]
        )
        for k in range(n)
    }


@pytest.fixture
def folders(tmp_path, photos):
    """Truth as JPEG, a method as PNG."""
    for name in ("truth", "mine"):
        (tmp_path / name).mkdir()
    for name, crop in crops(photos).items():
        Image.fromarray(crop).save(tmp_path / "truth" / f"{name}.jpg", quality=95)
        Image.fromarray(crop[..., ::-1].copy()).save(tmp_path / "mine" / f"{name}.png")
    return tmp_path


def build(folders, protocol=SMALL, builtins=("gray",), out="study"):
    sources = Sources(pair_folders(folders / "truth", {"mine": folders / "mine"}), builtins)
    return build_stimuli(folders / out, protocol, sources, KEY)


def pixels(folder, manifest, *meaning):
    return np.asarray(Image.open(stimulus_path(folder, manifest.find(*meaning))))


class TestTheFiles:
    def test_have_one_length_and_are_named_by_their_bytes(self, folders):
        manifest = build(folders)
        found = sorted((folders / "study" / "stimuli").rglob("*.png"))
        assert {path.stat().st_size for path in found} == {manifest.stimulus_bytes}
        assert [path.stem for path in found] == [hashlib.sha256(path.read_bytes()).hexdigest() for path in found]
        assert {path.stem for path in found} == set(manifest.stimuli)

    def test_hold_no_metadata(self, folders):
        manifest = build(folders)
        for sha in manifest.stimuli:
            image = Image.open(stimulus_path(folders / "study", sha))
            image.load()
            assert (image.mode, image.size, image.info) == ("RGB", (64, 64), {})

    def test_are_the_same_when_built_again(self, folders):
        assert build(folders) == build(folders, out="again")

    def test_nothing_else_is_left_in_the_folder(self, folders):
        build(folders)
        assert [path.name for path in (folders / "study").iterdir()] == ["stimuli"]


class TestWhatTheyShow:
    def test_truth_and_method_are_the_decoded_files(self, folders):
        manifest = build(folders)
        for name in manifest.images:
            truth = np.asarray(Image.open(folders / "truth" / f"{name}.jpg"))
            fake = np.asarray(Image.open(folders / "mine" / f"{name}.png"))
            assert np.array_equal(pixels(folders / "study", manifest, name, "truth"), truth)
            assert np.array_equal(pixels(folders / "study", manifest, name, "method", "mine"), fake)

    def test_vigilance_images_are_those_of_the_random_colorizer(self, folders):
        manifest = build(folders)
        colorizer = builtin("random", manifest.images, 0)
        truth = [pixels(folders / "study", manifest, name, "truth") for name in manifest.images]
        for i, name in enumerate(manifest.images):
            expected = colorizer.colorize(truth[i], truth[colorizer.donor(i)])[0]
            assert np.array_equal(pixels(folders / "study", manifest, name, "vigilance"), expected)

    def test_every_photo_has_every_role(self, folders):
        manifest = build(folders)
        expected = {
            Stimulus(name, *role)
            for name in manifest.images
            for role in (("truth",), ("vigilance",), ("catch",), ("method", "mine"), ("method", "gray"))
        }
        assert set(manifest.stimuli.values()) == expected

    def test_no_vigilance_catch_or_plates_unless_asked_for(self, folders):
        manifest = build(folders, Protocol(size=64, vigilance_trials=0))
        assert {stimulus.role for stimulus in manifest.stimuli.values()} == {"truth", "method"}
        assert manifest.plates == ()

    def test_plates_are_sealed_like_stimuli(self, folders):
        manifest = build(folders, Protocol(size=64, color_vision=True))
        assert len(manifest.plates) == 5
        for plate in manifest.plates:
            data = stimulus_path(folders / "study", plate.file).read_bytes()
            assert len(data) == manifest.stimulus_bytes
            assert Image.open(BytesIO(data)).size == (256, 256)

    def test_orientation_and_profile_are_applied(self, folders, photos):
        name = next(iter(crops(photos)))
        path = folders / "truth" / f"{name}.jpg"
        upright = np.asarray(Image.open(path))
        exif = Image.Exif()
        exif[0x0112] = 6
        turned = Image.fromarray(np.rot90(upright).copy())
        path.unlink()
        turned.save(
            path.with_suffix(".png"),
            exif=exif,
            icc_profile=ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(),
        )
        manifest = build(folders)
        assert np.array_equal(pixels(folders / "study", manifest, name, "truth"), upright)


class TestOtherSizes:
    def test_are_resized_alike(self, folders, photos):
        for path in [*(folders / "truth").iterdir(), *(folders / "mine").iterdir()]:
            image = Image.open(path)
            image.resize((150, 100)).save(path)
        manifest = build(folders)
        name = manifest.images[0]
        fake = np.asarray(Image.open(folders / "mine" / f"{name}.png"))
        assert np.array_equal(pixels(folders / "study", manifest, name, "method", "mine"), resize(fake, 64, "warp"))

    @pytest.mark.parametrize(
        ("size", "fit", "message"),
        [
            ((100, 100), "crop", None),
            ((32, 32), "crop", "enlarging one of them to 64 would blur it"),
            ((100, 80), "crop", 'different parts of the scene.*fit = "warp"'),
            ((100, 80), "warp", None),
        ],
    )
    def test_of_one_image_of_a_pair_alone_must_not_give_it_away(self, folders, size, fit, message):
        path = sorted((folders / "mine").iterdir())[0]
        Image.open(path).resize(size).save(path)
        protocol = Protocol(size=64, fit=fit)
        if message is None:
            build(folders, protocol)
        else:
            with pytest.raises(InputError, match=message) as caught:
                build(folders, protocol)
            assert path.stem in str(caught.value)
            assert "mine" in str(caught.value)


class TestObviousFakes:
    def test_keep_lightness_and_lose_the_hues(self, photos):
        for photo in photos.values():
            real = np.ascontiguousarray(photo[::3, ::3])
            real_lab, fake_lab = rgb2lab(real), rgb2lab(obvious_fake(real))
            # Rounding to 8 bits moves L by less than one.
            assert np.abs(real_lab[..., 0] - fake_lab[..., 0]).max() < 1
            assert np.linalg.norm(real_lab[..., 1:] - fake_lab[..., 1:], axis=-1).mean() > 20

    def test_colour_what_has_no_colour_to_turn(self):
        gray = np.repeat(np.arange(40, 220, dtype=np.uint8)[:, None, None], 3, axis=2).repeat(20, axis=1)
        assert np.linalg.norm(rgb2lab(obvious_fake(gray))[..., 1:], axis=-1).mean() > 20


class TestTheManifest:
    def test_reads_back(self, folders, tmp_path):
        manifest = build(folders)
        (tmp_path / "manifest.json").write_text(manifest.to_json())
        assert Manifest.read(tmp_path / "manifest.json") == manifest

    def test_notices_a_changed_line(self, folders, tmp_path):
        path = tmp_path / "manifest.json"
        path.write_text(build(folders).to_json().replace('"vigilance"', '"truth"', 1))
        with pytest.raises(InputError, match="changed by hand"):
            Manifest.read(path)

    @pytest.mark.parametrize("text", ["", "[]", "{}", '{"version": 1, "digest": ""}'])
    def test_refuses_what_is_no_manifest(self, tmp_path, text):
        path = tmp_path / "manifest.json"
        path.write_text(text)
        with pytest.raises(InputError, match="cannot be read as a study's manifest"):
            Manifest.read(path)


@pytest.mark.parametrize("name", ["..", "../../etc/passwd", "A" * 64, "a" * 63, "a" * 64 + "\n"])
def test_nothing_but_a_hash_becomes_a_path(name):
    with pytest.raises(ValueError, match="no SHA-256"):
        stimulus_path(Path("x"), name)
