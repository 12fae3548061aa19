"""Colouring folders with a network: sizes, scans, batches, resume, samples, the gallery, mistakes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from PIL import Image
from skimage.color import rgb2lab

from evalkit.cli import main
from evalkit.color.ab_classes import preset
from evalkit.colorizers.learned.checkpoints import Checkpoint
from evalkit.colorizers.learned.colorizer import AnnealedMean, LearnedColorizer
from evalkit.colorizers.learned.learned_folder import Recipe, colorize_photos
from evalkit.colorizers.learned.network import LAYOUTS, ColorizationNet
from evalkit.colorizers.recipe_note import NOTE
from evalkit.errors import InputError
from evalkit.images.image_files import decode


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Networks of chance, with vivid colours, by variant."""
    folder = tmp_path_factory.mktemp("weights")
    found = {}
    for variant, n, gain in (("full", 256, 12), ("l2", 2, 4)):
        torch.manual_seed(5)
        network = ColorizationNet(n, LAYOUTS["tiny"])
        network.output_layer.weight.data *= gain
        network.output_layer.bias.data.zero_()
        found[variant] = folder / f"{variant}.pt"
        Checkpoint(
            variant=variant,
            classes=preset("seed2024"),
            widths=LAYOUTS["tiny"],
            input_size=32,
            state=network.state_dict(),
        ).save(found[variant])
    return found


def command(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(word) for word in arguments], prog_name="evalkit")


def pictures(folder: Path) -> dict[str, np.ndarray]:
    return {path.relative_to(folder).as_posix(): decode(path).rgb8 for path in sorted(folder.rglob("*.png"))}


@pytest.fixture
def scans(tmp_path: Path, photos: dict[str, np.ndarray]) -> Path:
    """Photos of many kinds: odd sizes, one channel, 16 bits, turned by EXIF, in a sub-folder."""
    folder = tmp_path / "scans"
    (folder / "box").mkdir(parents=True)
    photo = photos["coffee"]
    gray = np.asarray(Image.fromarray(photo).convert("L"))
    Image.fromarray(photo[:77, :131]).save(folder / "odd.png")
    Image.fromarray(gray[:50, :90]).save(folder / "gray.png")
    Image.fromarray(gray[:60, :60].astype(np.uint16) * 257).save(folder / "deep.tif")
    turned = Image.fromarray(photo[:64, :96])
    exif = turned.getexif()
    exif[274] = 6
    turned.save(folder / "box" / "turned.jpg", exif=exif, quality=95)
    Image.fromarray(photo[:9, :300]).save(folder / "narrow.png")
    return folder


@pytest.mark.parametrize("variant", ["full", "l2"])
def test_photos_of_every_kind_keep_size_and_lightness(
    variant: str, scans: Path, tmp_path: Path, weights: dict[str, Path]
) -> None:
    result = command("colorize", variant, "--weights", weights[variant], "--input", scans, "--output", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert "5 images by " + variant in result.output
    assert "of the pixels clipped" in result.output
    found = pictures(tmp_path / "out")
    shapes = {name: picture.shape for name, picture in found.items()}
    assert shapes == {
        "odd.png": (77, 131, 3),
        "gray.png": (50, 90, 3),
        "deep.png": (60, 60, 3),
        "box/turned.png": (96, 64, 3),
        "narrow.png": (9, 300, 3),
    }
    sources = {"odd.png": "odd.png", "gray.png": "gray.png", "deep.png": "deep.tif", "box/turned.png": "box/turned.jpg"}
    for name, source in sources.items():
        before, after = rgb2lab(decode(scans / source).rgb8), rgb2lab(found[name])
        inside = (found[name] > 0).all(-1) & (found[name] < 255).all(-1)
        assert np.abs(before[inside] - after[inside])[:, 0].max() < 1.0
        assert np.hypot(*after[..., 1:].transpose(2, 0, 1)).mean() > 3, "it has colours"


def test_colours_depend_on_lightness_alone(photos: dict[str, np.ndarray], weights: dict[str, Path]) -> None:
    from evalkit.colorizers.anchors import Gray

    photo = np.ascontiguousarray(photos["astronaut"][:96, :96])
    colorizer = Recipe(method="full", weights=weights["full"]).load()
    of_colour, of_gray = colorizer.predict_ab([photo]), colorizer.predict_ab([Gray().colorize(photo, None)[0]])
    assert (of_colour - of_gray).abs().mean() < 0.5


def test_batches_change_nothing(scans: Path, tmp_path: Path, weights: dict[str, Path]) -> None:
    recipe = Recipe(method="full", weights=weights["full"])
    for size in (1, 4):
        colorize_photos(recipe, scans, tmp_path / str(size), batch_size=size)
    first, second = pictures(tmp_path / "1"), pictures(tmp_path / "4")
    assert first.keys() == second.keys()
    assert max(np.abs(first[name].astype(int) - second[name]).max() for name in first) <= 1


def test_resume_makes_what_is_absent_and_only_by_the_same_recipe(
    scans: Path, tmp_path: Path, weights: dict[str, Path]
) -> None:
    out = tmp_path / "out"
    words = ("colorize", "full", "--weights", weights["full"], "--input", scans, "--output", out)
    assert command(*words).exit_code == 0
    whole = pictures(out)
    (out / "odd.png").unlink()
    kept = (out / "gray.png").stat().st_mtime_ns
    assert "not empty; say --resume or --overwrite" in command(*words).output
    resumed = command(*words, "--resume")
    assert "1 image by full, 4 were there already" in resumed.output
    assert (out / "gray.png").stat().st_mtime_ns == kept
    assert all(np.array_equal(picture, whole[name]) for name, picture in pictures(out).items())
    other = command(*words, "--resume", "--temperature", "0.9")
    assert other.exit_code == 2
    assert "was made with temperature None, not 0.9" in other.output
    assert command(*words, "--overwrite", "--temperature", "0.9").exit_code == 0
    assert json.loads((out / "colorization.json").read_text())["temperature"] == 0.9
    assert any(not np.array_equal(picture, whole[name]) for name, picture in pictures(out).items())


def test_the_temperature_changes_the_colours(scans: Path, tmp_path: Path, weights: dict[str, Path]) -> None:
    chroma = []
    for temperature in ("0", "0.45", "1", "5"):
        out = tmp_path / temperature
        words = ("--input", scans, "--output", out, "--temperature", temperature)
        assert command("colorize", "full", "--weights", weights["full"], *words).exit_code == 0
        lab = [rgb2lab(picture)[..., 1:] for picture in pictures(out).values()]
        chroma.append(np.mean([np.hypot(*ab.transpose(2, 0, 1)).mean() for ab in lab]))
    assert len(set(chroma)) == 4


def test_lambda_weighs_rare_colours_up_as_training_would(scans: Path, tmp_path: Path, weights: dict[str, Path]) -> None:
    """Scores and colours beside the equations, computed here from the class shares."""
    classes = preset("seed2024")
    rng = np.random.default_rng(3)
    shares = rng.dirichlet(np.full(256, 0.2))
    np.save(tmp_path / "shares.npy", shares)
    squared = ((classes.centers[:, None] - classes.centers) ** 2).sum(axis=2)
    kernel = np.exp(-squared / (2 * classes.smoothing_sigma**2))
    smooth = shares @ (kernel / kernel.sum(axis=1, keepdims=True))

    def log_w(share: float) -> np.ndarray:
        w = 1 / ((1 - share) * smooth + share / 256)
        return np.asarray(np.log(w / (smooth * w).sum()))

    photo = decode(scans / "odd.png").rgb8
    plain = Recipe(method="full", weights=weights["full"]).load()
    ab_network = plain.ab_network
    assert isinstance(ab_network, AnnealedMean)
    with torch.inference_mode():
        scores = ab_network.scores(plain.network_input([photo])).double()[0].numpy()
    for share in (0.25, 0.5, 1.0):  # the network of the class is trained with 0.25
        recipe = Recipe(method="full", weights=weights["full"], rebalancing=share, prior=tmp_path / "shares.npy")
        p = np.exp((scores + (log_w(share) - log_w(0.25))[:, None, None]) / classes.temperature)
        expected = np.einsum("qhw,qc->chw", p / p.sum(axis=0), classes.centers)
        np.testing.assert_allclose(recipe.load().predict_ab([photo])[0].numpy(), expected, atol=2e-3)


def test_lambda_stands_in_the_note_and_in_resumed_runs(scans: Path, tmp_path: Path, weights: dict[str, Path]) -> None:
    np.save(tmp_path / "shares.npy", np.full(256, 1 / 256))
    out = tmp_path / "out"
    words = ("colorize", "full", "--weights", weights["full"], "--input", scans, "--output", out)
    first = command(*words, "--lambda", "0.5", "--prior", tmp_path / "shares.npy", "--samples", "1")
    assert first.exit_code == 0, first.output
    note = json.loads((out / "colorization.json").read_text())
    assert note["lambda"] == 0.5
    assert len(note["prior_sha256"]) == 64
    other = command(*words, "--lambda", "0.6", "--prior", tmp_path / "shares.npy", "--samples", "1", "--resume")
    assert "was made with lambda 0.5, not 0.6" in other.output
    without = command(*words, "--samples", "1", "--resume")
    assert without.exit_code == 2
    assert "lambda" in without.output


def test_samples_lie_in_a_folder_for_each_photo(scans: Path, tmp_path: Path, weights: dict[str, Path]) -> None:
    out = tmp_path / "out"
    words = ("colorize", "full", "--weights", weights["full"], "--input", scans, "--samples", "3")
    assert command(*words, "--output", out).exit_code == 0
    found = pictures(out)
    assert [name for name in found if name.startswith("odd")] == ["odd/0.png", "odd/1.png", "odd/2.png"]
    assert len(found) == 15
    assert not np.array_equal(found["odd/0.png"], found["odd/1.png"])
    alone = tmp_path / "alone"
    alone.mkdir()
    (alone / "odd.png").write_bytes((scans / "odd.png").read_bytes())
    again = ("colorize", "full", "--weights", weights["full"], "--input", alone, "--samples", "2")
    assert command(*again, "--output", tmp_path / "again").exit_code == 0
    same = pictures(tmp_path / "again")["odd/1.png"]
    np.testing.assert_array_equal(same, found["odd/1.png"])  # whatever else is in the folder, and however many
    assert command(*again, "--output", tmp_path / "third", "--seed", "1").exit_code == 0
    assert not np.array_equal(pictures(tmp_path / "third")["odd/1.png"], same)


def test_the_gallery_shows_photos_before_and_after(scans: Path, tmp_path: Path, weights: dict[str, Path]) -> None:
    page = tmp_path / "page.html"
    words = ("colorize", "full", "--weights", weights["full"], "--input", scans, "--output", tmp_path / "out")
    result = command(*words, "--samples", "2", "--gallery", page)
    assert f"{page}: 5 photos" in result.output
    text = page.read_text()
    assert text.count("<figure>") == 5
    assert text.count("data:image/jpeg;base64,") == 15
    assert 'alt="box/turned, coloured 2"' in text
    assert "http" not in text  # it loads nothing


# --- what is wrong ----------------------------------------------------------------------------------------


def test_unreadable_photos_are_named_after_the_others_are_done(
    scans: Path, tmp_path: Path, weights: dict[str, Path]
) -> None:
    (scans / "broken.png").write_bytes((scans / "odd.png").read_bytes()[:700])
    out = tmp_path / "out"
    result = command("colorize", "full", "--weights", weights["full"], "--input", scans, "--output", out)
    assert result.exit_code == 2
    assert "1 of 6 photos cannot be read, the others are in" in result.output
    assert "broken.png" in result.output
    assert len(pictures(out)) == 5


def test_mistakes_are_told_in_one_sentence(scans: Path, tmp_path: Path, weights: dict[str, Path]) -> None:
    def told(*words: str | Path, method: str = "full") -> str:
        result = command("colorize", method, "--input", scans, "--output", tmp_path / "out", *words)
        assert result.exit_code == 2
        return result.output

    assert "holds the variant 'l2', not 'full'" in told("--weights", weights["l2"])
    assert "speaks the ab classes seed2024" in told("--weights", weights["full"], "--preset", "zhang2016")
    assert "temperature is -1" in told("--weights", weights["full"], "--temperature", "-1")
    assert "multiples of 8" in told("--weights", weights["full"], "--network-size", "30")
    assert "batch size is 0" in told("--weights", weights["full"], "--batch-size", "0")
    assert "device 'nonsense' is unknown" in told("--weights", weights["full"], "--device", "nonsense")
    assert "no temperature, no lambda and no samples" in told("--weights", weights["l2"], "--samples", "2", method="l2")
    assert "no lambda" in told("--weights", weights["l2"], "--lambda", "0.5", method="l2")
    for value in ("0", "1.5", "-1", "nan"):
        assert "above 0 and at most 1" in told("--weights", weights["full"], "--lambda", value)
    assert "name the file prior.json of its training with --prior" in told(
        "--weights", weights["full"], "--lambda", ".5"
    )
    assert "name both" in told("--weights", weights["full"], "--prior", scans / "odd.png")
    assert "has no network" in told("--lambda", "0.5", method="gray")
    assert "no such file" in told("--weights", tmp_path / "absent.pt")
    assert "has no network" in told("--weights", weights["full"], method="gray")
    assert not (tmp_path / "out").exists()
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="empty"):
        colorize_photos(Recipe(method="full", weights=weights["full"]), tmp_path / "empty", tmp_path / "out")


def test_too_little_memory_is_answered_with_advice(
    scans: Path, tmp_path: Path, weights: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("CUDA out of memory. Tried to allocate 20 GiB")

    monkeypatch.setattr(LearnedColorizer, "predict_ab", fail)
    recipe = Recipe(method="full", weights=weights["full"])
    batch = r"at 16 photos a batch, the largest of them \S+ of \d+ x \d+ pixels: give a smaller --batch-size, or a smaller --network-size"
    with pytest.raises(InputError, match=batch):
        colorize_photos(recipe, scans, tmp_path / "out", device="cpu")
    with pytest.raises(
        InputError, match=r"at 1 photo a batch, .* pixels: give a smaller --network-size, or --device cpu \("
    ):
        colorize_photos(recipe, scans, tmp_path / "auto", batch_size=1)


def test_without_torch_the_extra_is_named(scans: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evalkit.needs.find_spec", lambda name: None)
    result = command("colorize", "full", "--input", scans, "--output", tmp_path / "out")
    assert result.exit_code == 2
    assert "torch is not installed" in result.output
    assert NOTE not in {path.name for path in tmp_path.rglob("*")}
