"""Galleries: which images, in which order, what is missing, and at which size on paper."""

from __future__ import annotations

import base64
import io
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image, ImageCms

from analysis.commands.figure import NAMES, figure_command
from analysis.commands.report import report_command
from analysis.report.galleries import RULES, ImageChoice, ImageFolders, choice_title, choose_images
from analysis.report.gallery_figure import gallery_figure
from analysis.report.report_figures import FIGURES
from evalkit.commands.score import score_command
from evalkit.errors import InputError
from tests.conftest import require

IMAGES = [f"test{number:02}" for number in range(4, 14)]
METHODS = ("zeta", "alpha", "mid")


def run(command: object, *arguments: object) -> str:
    result = CliRunner().invoke(command, [str(argument) for argument in arguments])  # type: ignore[arg-type]
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.output


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Plain photos; the methods differ the more, the higher the number of the image."""
    for number, image in enumerate(IMAGES):
        for k, name in enumerate(("truth", *METHODS)):
            (tmp_path / name).mkdir(exist_ok=True)
            pixels = np.full((20, 30, 3), 120, dtype=np.uint8)
            pixels[..., k % 3] += np.uint8(number * 6)
            Image.fromarray(pixels).save(tmp_path / name / f"{image}.png")
    return tmp_path


def folders(pictures: Path, *, with_truth: bool = True) -> ImageFolders:
    return ImageFolders(pictures / "truth", {name: pictures / name for name in METHODS}, with_truth=with_truth)


def options(pictures: Path, photos: str = "truth") -> list[str]:
    return [f"--{photos}={pictures / 'truth'}", *(f"--method={name}={pictures / name}" for name in METHODS)]


def test_images_are_chosen_by_name_in_the_order_that_was_given(pictures: Path) -> None:
    assert choose_images(folders(pictures), ImageChoice(names=("test09", "test05"))) == ["test09", "test05"]
    with pytest.raises(InputError, match=r"no photo is called 'test9' \(did you mean 'test09'\?\)"):
        choose_images(folders(pictures), ImageChoice(names=("test9",)))


def test_every_nth_image_is_counted_from_the_first_by_name(pictures: Path) -> None:
    assert choose_images(folders(pictures), ImageChoice(step=4)) == [IMAGES[0], IMAGES[4], IMAGES[8]]
    assert choose_images(folders(pictures), ImageChoice(count=5)) == IMAGES[::2]
    assert choice_title(folders(pictures), ImageChoice(count=5)) == "Every 2nd image, by name"
    # Where the number does not go into that of the images, the last third is shown too.
    assert choose_images(folders(pictures), ImageChoice(count=7)) == [IMAGES[k] for k in (0, 1, 2, 4, 5, 7, 8)]
    assert choice_title(folders(pictures), ImageChoice(count=7)) == "7 of 10 images, spread evenly over their names"


def test_the_rule_of_disagreement_takes_where_colours_differ_most(pictures: Path) -> None:
    choice = ImageChoice(rule="disagreement", count=3)
    assert choose_images(folders(pictures), choice) == IMAGES[:-4:-1]
    alone = ImageFolders(pictures / "truth", {"mid": pictures / "mid"})
    with pytest.raises(InputError, match="needs two methods or more"):
        choose_images(alone, choice)


def test_most_and_least_go_by_the_mean_of_the_rates_of_all_methods(pictures: Path) -> None:
    rates = {
        ("a", "test05"): 0.9,
        ("b", "test05"): 0.1,
        ("a", "test07"): 0.6,
        ("b", "test07"): 0.6,
        ("a", "test08"): 0.2,
    }
    rows = [{"method": method, "image": image, "shrunken_rate": rate} for (method, image), rate in rates.items()]
    assert choose_images(folders(pictures), ImageChoice(rule="most"), rows) == ["test07", "test05", "test08"]
    assert choose_images(folders(pictures), ImageChoice(rule="least", count=2), rows) == ["test08", "test05"]
    with pytest.raises(InputError, match="--rule most needs answers about these images"):
        choose_images(folders(pictures), ImageChoice(rule="most"))


def test_images_of_class_folders_keep_their_folders_apart(tmp_path: Path) -> None:
    for name, value in (("truth", 90), ("mine", 150)):
        for kind, more in (("apple", 0), ("pear", 60)):
            (tmp_path / name / kind).mkdir(parents=True)
            Image.new("RGB", (8, 8), (value + more, 90, 90)).save(tmp_path / name / kind / "1.png")
        Image.new("RGB", (8, 8), (value, 0, 0)).save(tmp_path / name / "pear" / "2.png")
    found = ImageFolders(tmp_path / "truth", {"mine": tmp_path / "mine"})
    assert found.common == ["apple/1", "pear/1", "pear/2"]
    pear = found.picture("mine", "pear/1")
    assert pear is not None
    assert pear[0, 0].tolist() == [210, 90, 90]
    assert found.file("mine", "1") is None, "two images end so, and neither is taken for the other"
    assert found.file("mine", "2") == tmp_path / "mine" / "pear" / "2.png"


def test_a_damaged_or_missing_picture_leaves_a_gap_and_is_named(pictures: Path) -> None:
    damaged = pictures / "alpha" / f"{IMAGES[0]}.png"
    damaged.write_bytes(damaged.read_bytes()[:60])
    (pictures / "mid" / f"{IMAGES[5]}.png").unlink()
    chosen = f"--images={IMAGES[0]},{IMAGES[5]}"
    output = run(report_command, *options(pictures), chosen, f"--out={pictures / 'out'}")
    assert "Not shown:" in output
    assert f"{IMAGES[0]}.png" in output
    page = (pictures / "out" / "report.html").read_text(encoding="utf-8")
    assert page.count("<img ") == 8
    assert page.count('class="missing"') == 2
    assert "no alpha" in page
    assert "no mid" in page
    assert "truncated or corrupt" in page
    assert (pictures / "out" / "figures" / "gallery.pdf").stat().st_size > 1000


def test_photos_without_truth_stand_beside_what_several_methods_made_of_them(pictures: Path) -> None:
    output = run(report_command, *options(pictures, "input"), f"--out={pictures / 'out'}")
    page = (pictures / "out" / "report.html").read_text(encoding="utf-8")
    row = re.search(r'<div class="row".*?</div>', page, flags=re.DOTALL)
    assert row is not None
    assert re.findall(r'data-heading="(\w+)"', row[0]) == ["input", *METHODS]
    assert "truth of" not in page
    assert not list((pictures / "out").glob("table.*"))
    assert output.count("Wrote") == 1


def test_methods_stand_in_the_order_that_the_user_gives(pictures: Path, write_csv: Callable[..., Path]) -> None:
    from tests.analysis.conftest import simulated_rows

    trials = write_csv(simulated_rows(dict.fromkeys(sorted(METHODS), 0.3)))
    for more, order in (([], METHODS), (["--order=mid,zeta"], ("mid", "zeta", "alpha"))):
        run(report_command, *options(pictures), *more, f"--trials={trials}", f"--out={pictures / 'out'}")
        lines = (pictures / "out" / "table.md").read_text(encoding="utf-8").splitlines()
        names = [line.split("|")[1].strip() for line in lines if line.startswith("| ")]
        assert tuple(name for name in names if name in METHODS) == order
        page = (pictures / "out" / "report.html").read_text(encoding="utf-8")
        assert tuple(re.findall(r'data-heading="(\w+)"', page)[2:5]) == order
    with pytest.raises(InputError, match=r"--order: .*'zetta'"):
        run(report_command, *options(pictures), "--order=zetta", f"--out={pictures / 'out'}")


@pytest.mark.parametrize(("suffix", "width"), [("pdf", None), ("pdf", 3.25), ("png", 3.25)])
def test_a_gallery_has_the_width_on_paper_that_was_asked_for(pictures: Path, suffix: str, width: float | None) -> None:
    out = pictures / f"figure.{suffix}"
    wanted = [f"--width={width}"] if width else []
    shown = run(
        figure_command, "gallery", *options(pictures), *wanted, "--images=test09,test05", f"--out={out}", "--dpi=200"
    )
    assert "test09, test05" in shown
    if suffix == "png":
        with Image.open(out) as picture:
            assert picture.width == pytest.approx(200 * 3.25, abs=1)
        return
    program = shutil.which("pdfinfo")
    require(program is not None, "pdfinfo is not installed: the size of the figure was not measured")
    told = subprocess.run([str(program), str(out)], capture_output=True, text=True, check=True).stdout
    size = re.search(r"Page size:\s+([\d.]+) x", told)
    assert size is not None
    assert float(size[1]) == pytest.approx(72 * (width or 6.9), abs=0.5)
    text = shutil.which("pdftotext")
    assert text is not None
    words = subprocess.run([text, "-layout", str(out), "-"], capture_output=True, text=True, check=True).stdout
    assert words.split() == ["truth", "input", *METHODS], "the names are text, above the pictures, in order"


def test_the_pictures_of_the_figure_are_those_of_the_files(pictures: Path) -> None:
    figure = gallery_figure(folders(pictures), ["test13"])
    shown = [np.asarray(axes.images[0].get_array()) for axes in figure.axes]
    assert [tuple(picture[0, 0]) for picture in shown] == [
        (174, 120, 120), (136, 136, 136), (120, 174, 120), (120, 120, 174), (174, 120, 120),
    ]  # fmt: skip


def test_the_command_knows_every_figure_of_the_report(tmp_path: Path) -> None:
    assert {section.name for section in FIGURES} | {"gallery"} == set(NAMES)
    for name in NAMES[1:]:
        with pytest.raises(InputError, match=f"nothing to draw in {name}: it needs"):
            run(figure_command, name, f"--out={tmp_path / 'figure.pdf'}")
    assert not (tmp_path / "figure.pdf").exists()
    assert set(RULES) == {"every", "most", "least", "disagreement"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["gallery", "--out=figure.jpg"], "ends in .pdf, .png or .svg"),
        (["gallery", "--out=figure.pdf"], "needs --truth DIR"),
        (["forest", "--width=3", "--out=figure.pdf"], "--width is of a gallery"),
        (["gallery", "--images=a,,b", "--out=f.pdf", "--truth=t", "--method=a=b"], "no such folder|empty name"),
        (["gallery", "--images=a", "--rule=most", "--out=f.pdf"], "give one of the two"),
        (["gallery", "--rule=most", "--every=3", "--out=f.pdf"], "belongs to the rule every"),
        (["gallery", "--truth=a", "--input=b", "--method=a=b", "--out=f.pdf"], "not both"),
    ],
)
def test_options_that_cannot_be_meant_are_a_plain_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=message):
        run(figure_command, *arguments)
    assert not list(tmp_path.iterdir())


def test_pictures_are_the_pixels_that_are_scored(tmp_path: Path) -> None:
    """Turned by EXIF, converted by their profile, rounded from 16 bits: not as Pillow alone would open them."""
    pixels = np.full((20, 30, 3), (200, 90, 40), dtype=np.uint8)
    pixels[:10, :15] = (30, 60, 220)
    (tmp_path / "truth").mkdir()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels).save(tmp_path / "truth" / "turned.png", exif=exif)
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    swapped = profile.replace(b"rXYZ", b"....", 1).replace(b"gXYZ", b"rXYZ", 1).replace(b"....", b"gXYZ", 1)
    Image.fromarray(pixels).save(tmp_path / "truth" / "profile.png", icc_profile=swapped)
    deep = np.arange(600, dtype=np.uint16).reshape(20, 30) * 109
    Image.fromarray(deep).save(tmp_path / "truth" / "deep.png")
    shutil.copytree(tmp_path / "truth", tmp_path / "copy")
    gray = np.rint(deep / 257).astype(np.uint8)
    wanted = {
        "turned": np.rot90(pixels, -1),
        "profile": pixels[..., [1, 0, 2]],  # its red and green are exchanged
        "deep": np.repeat(gray[..., None], 3, axis=2),
    }
    shown = ImageFolders(tmp_path / "truth", {"copy": tmp_path / "copy"})
    for image, expected in wanted.items():
        for heading in ("truth", "copy"):
            picture = shown.picture(heading, image)
            assert picture is not None
            assert np.abs(picture.astype(int) - expected).max() <= (1 if image == "profile" else 0), image
        row = shown.row(image, "")
        assert row is not None
        thumbnail = np.asarray(Image.open(io.BytesIO(base64.b64decode(dict(row.pictures)["copy"].partition(",")[2]))))
        assert thumbnail.shape == expected.shape
        assert np.abs(thumbnail.astype(int) - expected).mean() < 8, image


def test_pictures_are_read_as_the_run_read_them(tmp_path: Path) -> None:
    """CMYK, more pixels than the limit, colorizations on their side: the run's own record says how it read them."""
    pixels = np.full((20, 30, 3), (200, 90, 40), dtype=np.uint8)
    pixels[:10, :15] = (30, 60, 220)
    for folder in ("truth", "mine"):
        (tmp_path / folder).mkdir()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels).save(tmp_path / "truth" / "turned.png", exif=exif)
    Image.fromarray(pixels).save(tmp_path / "mine" / "turned.png")  # by a method that asked for no orientation
    for folder in ("truth", "mine"):
        other = pixels if folder == "truth" else pixels[::-1]
        Image.fromarray(other).convert("CMYK").save(tmp_path / folder / "press.jpg", quality=95)
    flags = ["--convert-cmyk", "--turn-like-truth", "--max-megapixels=0.001"]
    words = [f"--truth={tmp_path / 'truth'}", f"--method=mine={tmp_path / 'mine'}"]
    run(score_command, *words, "--metrics=ab_auc", f"--out={tmp_path / 'scores'}", "--quiet", *flags)
    record = json.loads((tmp_path / "scores" / "run.json").read_text())
    assert record["reading"] == {"convert_cmyk": True, "turn_like_truth": True, "max_megapixels": 0.001}
    wanted = np.rot90(pixels, -1)

    def shown(*more: str) -> tuple[str, list[np.ndarray]]:
        out = tmp_path / "out"
        output = run(report_command, *words, *more, f"--out={out}")
        page = (out / "report.html").read_text(encoding="utf-8")
        shutil.rmtree(out)
        found = re.findall(r"data:image/jpeg;base64,([A-Za-z0-9+/=]+)", page)
        return output, [np.asarray(Image.open(io.BytesIO(base64.b64decode(one)))) for one in found]

    for more in ([f"--scores={tmp_path / 'scores'}"], flags):
        output, pictures = shown(*more)
        assert "Not shown" not in output
        assert len(pictures) == 6
        upright = [picture for picture in pictures if picture.shape == wanted.shape]
        assert len(upright) == 3  # truth, input and the colorization
        assert np.abs(upright[2].astype(int) - wanted).mean() < 8
    output, pictures = shown()
    assert "CMYK" in output
    assert [picture.shape for picture in pictures].count(wanted.shape) == 2, "the colorization lies on its side"


def test_how_pictures_are_read_is_said_where_there_are_pictures(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--convert-cmyk is about pictures"):
        run(report_command, "--convert-cmyk", f"--out={tmp_path / 'out'}")


def test_a_gallery_fills_a_figure_of_the_callers(pictures: Path) -> None:
    from matplotlib.figure import Figure

    own = Figure(figsize=(8, 3))
    left, right = own.subfigures(1, 2)
    assert gallery_figure(folders(pictures), ["test13", "test12"], figure=left) is left
    assert len(left.axes) == 10
    assert not right.axes
    alone = Figure(figsize=(6.9, 2))
    assert gallery_figure(folders(pictures), ["test13"], figure=alone) is alone
    wanted = gallery_figure(folders(pictures), ["test13"])
    for axes, other in zip(alone.axes, wanted.axes, strict=True):
        assert np.array_equal(axes.images[0].get_array(), other.images[0].get_array())
        assert axes.get_position().width == pytest.approx(other.get_position().width)
    assert [text.get_text() for text in left.texts] == ["truth", "input", *METHODS]
    with pytest.raises(InputError, match="figure is int; give a figure to draw on"):
        gallery_figure(folders(pictures), ["test13"], figure=1)  # type: ignore[type-var]
    with pytest.raises(InputError, match=r"do not fit into 0\.5 inches"):
        gallery_figure(folders(pictures), ["test13"], figure=Figure(figsize=(0.5, 3)))
