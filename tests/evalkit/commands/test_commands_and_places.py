"""Which command takes images from where: the table in the guide to buckets, held for every option."""

from __future__ import annotations

import importlib.util
import re
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path

import click
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

import evalkit
from evalkit.cli import main
from evalkit.errors import InputError
from tests.conftest import require

ADDRESS = "memory://absent/photos"
GUIDE = Path(__file__).parents[3] / "docs" / "how-to" / "score-a-bucket.md"
OF_IMAGES = {
    "--truth", "--method", "--reference", "--input", "--hints", "--example", "--train", "--val", "--validation", "--segmentation",
}  # fmt: skip
"""What options are called that name images."""


def rows_of_the_guide() -> dict[tuple[str, str], bool]:
    """Whether an option of a command takes addresses, as the table says."""
    table = GUIDE.read_text(encoding="utf-8").partition("## Which command takes addresses")[2].partition("\n## ")[0]
    rows: dict[tuple[str, str], bool] = {}
    for line in table.splitlines():
        cells = line.strip("|").split("|")
        if line.startswith("| `"):
            for command in re.findall("`(.+?)`", cells[0]):
                for option in re.findall("`(.+?)`", cells[1]):
                    rows[command, option] = "addresses" in cells[2]
    return rows


ROWS = rows_of_the_guide()


def all_commands(group: click.Group = main, above: str = "") -> Iterator[tuple[str, click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from all_commands(command, f"{above}{name} ")
        elif command is not None:
            yield f"{above}{name}", command


def test_the_guide_names_every_option_that_names_images():
    options = {
        (name, option)
        for name, command in all_commands()
        for parameter in command.params
        for option in parameter.opts
        # Methods of a study are folders where it is made, and names everywhere else.
        if option in OF_IMAGES and ("DIR" in str(parameter.metavar) or parameter.metavar is None)
    }
    of_images = {(command, option) for command, option in ROWS if option != "--images"}
    # `reproduce` hands --example to `colorize`.
    assert options - {("reproduce", "--example")} == of_images


@pytest.fixture(scope="module")
def set_of_photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``truth`` and ``mine`` of six photos, ``classes`` of them, ``counts`` as hint-curve reads them, and a run."""
    for package in ("fsspec", "torch", "scipy", "matplotlib", "jinja2"):
        require(importlib.util.find_spec(package) is not None, f"{package} is not installed")
    root = tmp_path_factory.mktemp("set")
    draw = np.random.default_rng(0)
    for side in ("truth", "mine"):
        (root / side).mkdir()
        for number in range(6):
            patches = draw.integers(0, 256, (4, 4, 3), dtype=np.uint8)
            Image.fromarray(patches.repeat(16, axis=0).repeat(16, axis=1)).save(root / side / f"{number}.png")
    for number in range(6):
        (root / "classes" / "ab"[number % 2]).mkdir(parents=True, exist_ok=True)
        shutil.copy(root / "truth" / f"{number}.png", root / "classes" / "ab"[number % 2])
    for count in ("0", "1"):
        shutil.copytree(root / "mine", root / "counts" / count)
    evalkit.score(root / "truth", {"mine": root / "mine"}, out=root / "run", metrics=["psnr_rgb"], n_bootstrap=0)
    return root


def words_of(command: str, option: str, root: Path, out: Path) -> list[str]:
    """A call of a command that would work, but for the address behind one of its options."""
    truth, mine = ["--truth", str(root / "truth")], ["--method", f"mine={root / 'mine'}"]
    source, classes = ["--input", str(root / "truth")], str(root / "classes")
    words = {
        "score": [
            *truth,
            *mine,
            "--reference",
            str(root / "truth"),
            "--metrics",
            "psnr_rgb,kid",
            "--images",
            "list.txt",
        ],
        "rescore": [str(root / "run"), "--images", "list.txt"],
        "lint": [*truth, *mine],
        "prior": source,
        "colorize": {"--hints": ["levin2004"], "--example": ["welsh2002"]}.get(option, ["gray"]) + source,
        "hints": source,
        "hint-curve": [*truth, "--method", f"mine={root / 'counts'}", "--metrics", "psnr_rgb"],
        "train": [*source, "--validation", str(root / "mine"), "--network", "tiny", "--steps", "1", "--amp", "off"],
        "probe": {"--input": ["--input", classes], "--segmentation": ["--segmentation", classes]}.get(
            option, ["--train", classes, "--val", classes]
        ),
        "report": [*truth, *mine],
        "figure": ["gallery", *truth, *mine],
        "leaderboard": [str(root / "run"), *truth, *mine],
        "reproduce": truth,
        "study create": [str(out), *truth, *mine],
    }[command]
    if option == "--input" and command in ("report", "figure", "leaderboard"):
        words = ["--input" if word == "--truth" else word for word in words]
    if option not in words:
        words += [option, ""]
    value = f"mine={ADDRESS}" if option == "--method" else ADDRESS
    at = words.index(option) + 1
    words = [*words[:at], value, *words[at + 1 :]]
    if command in ("colorize", "hints"):
        words += ["--output", str(out)]
    elif command not in ("rescore", "lint", "probe", "study create"):
        words += ["--out", str(out / "x.png") if command == "figure" else str(out)]
    return [*command.split(), *words]


@pytest.mark.parametrize(("command", "option"), ROWS, ids=lambda word: word.replace(" ", "_"))
def test_an_address_is_looked_up_or_refused_in_a_sentence(command, option, set_of_photos, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "list.txt").write_text("0\n1\n")
    result = CliRunner().invoke(main, words_of(command, option, set_of_photos, tmp_path / "out"))
    said = " ".join(result.output.split())
    assert result.exit_code == 2, said
    if ROWS[command, option]:
        assert "absent/photos: cannot be read (there is no such file or folder)" in said
    else:
        assert f"{ADDRESS}: is an address; a folder of this machine is needed here: copy its images into one." in said
    assert not (tmp_path / "memory:").exists()


@pytest.fixture
def archives(set_of_photos: Path, tmp_path: Path) -> Path:
    """Zip archives of the folders."""
    for folder in ("truth", "mine", "classes"):
        with zipfile.ZipFile(tmp_path / f"{folder}.zip", "w") as archive:
            for path in sorted((set_of_photos / folder).rglob("*.png")):
                archive.write(path, path.relative_to(set_of_photos / folder))
    return tmp_path


def files_of(folder: Path, *endings: str) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and (not endings or path.suffix in endings)
    }


def run(*words: object) -> str:
    result = CliRunner().invoke(main, [str(word) for word in words])
    assert result.exit_code == 0, result.output
    return result.output


def test_hints_are_the_same_from_an_archive(set_of_photos, archives):
    for source, target in ((set_of_photos / "truth", "folder"), (archives / "truth.zip", "archive")):
        run("hints", "--input", source, "--output", archives / target, "--count", "3", "--patch", "3")
    assert files_of(archives / "folder") == files_of(archives / "archive")


def test_a_curve_is_the_same_from_an_archive(set_of_photos, archives):
    for truth, out in ((set_of_photos / "truth", "folder"), (archives / "truth.zip", "archive")):
        run("hint-curve", "--quiet", "--truth", truth, "--method", f"mine={set_of_photos / 'counts'}",
            "--metrics", "psnr_rgb", "--bootstrap", "0", "--workers", "1", "--out", archives / out)  # fmt: skip
    assert files_of(archives / "folder", ".csv") == files_of(archives / "archive", ".csv")


def test_training_reads_the_same_from_an_archive(set_of_photos, archives):
    """Its survey, its crops, and what is validated on: all that a network in training sees of photos."""
    from evalkit.color.ab_classes import load_classes
    from evalkit.colorizers.training.data import Crops, survey_photos
    from evalkit.colorizers.training.validation import validation_photos

    classes = load_classes("seed2024")
    folder, archive = (survey_photos(place, classes) for place in (set_of_photos / "truth", archives / "truth.zip"))
    assert folder.to_csv() == archive.to_csv()
    assert folder.prior.to_json() == archive.prior.to_json()
    one, two = (Crops(survey.files, 16, seed=1) for survey in (folder, archive))
    assert all(np.array_equal(one.crop(k), two.crop(k)) for k in range(12))
    assert len(validation_photos(archives / "mine.zip", archives / "truth.zip")) == 6
    with pytest.raises(InputError, match=r"is trained on and validated on"):
        validation_photos(archives / "truth.zip", archives / "truth.zip")


def test_a_probe_is_the_same_from_an_archive(set_of_photos, archives):
    for source, out in ((set_of_photos / "classes", "folder"), (archives / "classes.zip", "archive")):
        run("probe", "--input", source, "--folds", "2", "--sizes", "32", "--device", "cpu", "--quiet",
            "--out", archives / f"{out}.csv")  # fmt: skip
    assert (archives / "folder.csv").read_bytes() == (archives / "archive.csv").read_bytes()
    words = ("probe", "--train", archives / "classes.zip", "--val", set_of_photos / "classes", "--sizes", "32")
    result = CliRunner().invoke(main, [str(word) for word in words])
    assert "is the same photo as" in result.output


def test_a_gallery_is_the_same_from_an_archive(set_of_photos, archives):
    for folder, ending, out in ((set_of_photos, "", "folder"), (archives, ".zip", "archive")):
        places = ("--truth", folder / f"truth{ending}", "--method", f"mine={folder / f'mine{ending}'}")
        run("figure", "gallery", *places, "--dpi", "60", "--out", archives / f"{out}.png")
    assert (archives / "folder.png").read_bytes() == (archives / "archive.png").read_bytes()
