"""What an address of images means, before anything is opened."""

from __future__ import annotations

import re
import subprocess
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from evalkit.colorizers.folder import colorize_folder
from evalkit.errors import InputError
from evalkit.images._objects import address_without_secrets, expand_braces
from evalkit.images.copies import CACHE_VARIABLE
from evalkit.images.image_pairs import check_folders, find_images, scan_folder
from evalkit.images.places import ImagePlace, lie_in_one_another, place_of, read_file
from evalkit.scoring.run import score


def test_folders_stay_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "photos.zip").mkdir()
    (tmp_path / "a#b.tar").mkdir()
    (tmp_path / "star*").mkdir()
    for name in ("photos.zip", "a#b.tar", "star*", "missing"):
        assert place_of(tmp_path / name) == place_of(str(tmp_path / name)) == tmp_path / name
    assert place_of(f"file://{tmp_path}") == tmp_path
    monkeypatch.setenv("HOME", str(tmp_path))
    assert place_of("~/missing") == tmp_path / "missing"


@pytest.mark.parametrize(
    ("text", "kind", "url", "below", "pattern", "part"),
    [
        ("s3://b/photos/", "objects", "s3://b/photos", "", "", ""),
        ("s3://b/photos/*/x*.png", "objects", "s3://b/photos", "", "*/x*.png", ""),
        ("https://h/photos?v=1", "objects", "https://h/photos?v=1", "", "", ""),
        ("filecache::s3://b/photos", "objects", "filecache::s3://b/photos", "", "", ""),
        ("s3://b/x.ZIP", "zip", "s3://b/x.ZIP", "", "", ""),
        ("https://h/x.zip?sign=1.tar", "zip", "https://h/x.zip?sign=1.tar", "", "", ""),
        ("zip://photos/*::s3://b/x.zip", "zip", "s3://b/x.zip", "photos", "*", ""),
        ("zip://photos::s3://b/archive", "zip", "s3://b/archive", "photos", "", ""),
        ("tar://*.png::gs://b/x", "tar", "gs://b/x", "", "*.png", ""),
        ("s3://b/s-{000..012}.tar#truth", "tar", "s3://b/s-{000..012}.tar", "", "", "truth"),
        ("tar://in/*::s3://b/s.tar#mine", "tar", "s3://b/s.tar", "in", "*", "mine"),
        (
            "hf://datasets/a/b/data/*.parquet#image,id",
            "parquet",
            "hf://datasets/a/b/data/*.parquet",
            "",
            "",
            "image,id",
        ),
        ("https://h/d.parquet?sign=a#image", "parquet", "https://h/d.parquet?sign=a", "", "", "image"),
        ("s3://b/with#hash/photos", "objects", "s3://b/with#hash/photos", "", "", ""),
        ("/data/x.tar#truth", "tar", "/data/x.tar", "", "", "truth"),
    ],
)
def test_addresses_are_taken_apart(text: str, kind: str, url: str, below: str, pattern: str, part: str) -> None:
    place = place_of(text)
    assert isinstance(place, ImagePlace)
    assert (place.kind, place.objects.url, place.below, place.pattern, place.part) == (kind, url, below, pattern, part)
    assert place_of(place) is place


def test_relative_archives_mean_the_same_in_every_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for text in ("x.zip", "zip://a::x.zip"):
        place = place_of(text)
        assert isinstance(place, ImagePlace)
        assert place.objects.url == str(tmp_path / "x.zip")


def test_only_what_lies_elsewhere_is_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "by-environment"))
    caches = [place_of(text, cache).objects.cache for text, cache in (  # type: ignore[union-attr]
        ("s3://b/x", None), ("s3://b/x", tmp_path / "said"), ("/data/x.zip", tmp_path / "said")
    )]  # fmt: skip
    assert caches == [tmp_path / "by-environment", tmp_path / "said", None]


def test_an_address_that_was_made_a_path_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"s3:/bucket/photos: an address loses a slash .* give it as text"):
        place_of(Path("s3://bucket/photos"))


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ("s3://bucket/photos", "s3://bucket/photos: is an address; a folder of this machine is needed here"),
        ("zip://a::s3://me:pass@b/x.zip", "zip://a::s3://b/x.zip: is an address; a folder of this machine"),
        ("shard-{000..012}.tar#truth", "shard-{000..012}.tar#truth: is an address; a folder of this machine"),
        ("photos/*.png", "photos/*.png: is an address; a folder of this machine"),
        ("kept.zip", "kept.zip: is an archive or a table; a folder is needed here: unpack its images into one"),
        ("note.txt", "note.txt: is a file, not a folder"),
        ("absent", "absent: no such folder"),
        ("C:/absent", "C:/absent: no such folder"),
        (
            "kept.zip/truth/x",
            "kept.zip/truth/x: no such folder; a folder in an archive is written zip://truth/x::kept.zip",
        ),
        ("shards#truth", "shards#truth: no such folder; name the files in it, as in 'shards/*.tar#truth'"),
        (
            "shards",
            "shards: holds no image that can be read (PNG, JPEG, WebP, TIFF and BMP); it holds s-0.tar, s-1.tar: "
            "name an archive or a table itself, as in shards/s-0.tar.",
        ),
    ],
)
def test_where_a_folder_is_needed_everything_else_is_told(
    given: str, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("kept.zip", "note.txt"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "shards").mkdir()
    for name in ("s-0.tar", "s-1.tar"):
        (tmp_path / "shards" / name).write_bytes(b"x")
    for read in (find_images, scan_folder):
        with pytest.raises(InputError, match=f"^{re.escape(sentence)}"):
            read(Path(given))


def test_results_are_not_written_to_an_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    Image.new("RGB", (8, 8), (200, 20, 20)).save(tmp_path / "photos" / "a.png")
    words = "s3:/bucket/out: results are written to a folder of this machine, not to an address"
    with pytest.raises(InputError, match=words):
        score("photos", {"gray": None}, out="s3://me:secret@bucket/out")
    with pytest.raises(InputError, match=words):
        colorize_folder("gray", "photos", Path("s3://bucket/out"))
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ("", "the name of a folder is empty"),
        ("~nobody.of.this.name/photos", "~nobody.of.this.name/photos: nobody here has such a home folder"),
        ("shards/s-000.tar.gz#truth", "shards/s-000.tar.gz: is a compressed tar archive"),
        ("s3://me:pass@bucket/s-{0..9}.TGZ", "s3://bucket/s-{0..9}.TGZ: is a compressed tar archive"),
        (3, "a folder or an address is needed, not int"),
    ],
)
def test_what_names_no_place_is_told(given: object, sentence: str) -> None:
    with pytest.raises(InputError, match=f"^{re.escape(sentence)}"):
        place_of(given)


def test_an_archive_must_be_named() -> None:
    with pytest.raises(InputError, match=r"no archive is named; write zip://photos/\*::ADDRESS"):
        place_of("zip://photos/*")


@pytest.mark.parametrize(
    ("one", "two", "relation"),
    [
        ("s3://b/truth", "s3://b/truth/", "same"),
        ("s3://b/truth", "s3://b/truth/mine", "nested"),
        ("s3://b/truth-2", "s3://b/truth", ""),
        ("s3://b/*-truth.png", "s3://b/*-mine.png", ""),
        ("s3://b/x.zip", "zip://mine::s3://b/x.zip", "nested"),
        ("zip://truth::s3://b/x.zip", "zip://mine::s3://b/x.zip", ""),
        ("s3://b/x.tar#truth", "s3://b/x.tar#mine", ""),
        ("s3://b/x.tar#truth", "s3://b/x.tar#truth", "same"),
        ("d.parquet#a", "d.parquet#b", ""),
        ("s3://b/truth", "truth", ""),
        ("truth", "truth/mine", "nested"),
    ],
)
def test_places_that_are_one_are_told_apart(one: str, two: str, relation: str) -> None:
    places = place_of(one), place_of(two)
    assert lie_in_one_another(*places) == lie_in_one_another(*places[::-1]) == relation
    if relation:
        with pytest.raises(
            InputError, match="has the folder of the truth" if relation == "same" else "lie in one another"
        ):
            check_folders(places[0], {"mine": places[1]})
    else:
        check_folders(places[0], {"mine": places[1]})


def test_braces_count_as_in_shells() -> None:
    assert expand_braces("{1..3}-{a,b}") == ["1-a", "1-b", "2-a", "2-b", "3-a", "3-b"]
    assert expand_braces("s-{098..101}") == ["s-098", "s-099", "s-100", "s-101"]
    with pytest.raises(InputError, match="must count upwards"):
        expand_braces("s-{12..3}.tar")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://me:pass@host:8080/a/b.zip?X-Amz-Signature=12&Expires=3", "https://host:8080/a/b.zip"),
        ("cannot GET 'https://host/a?sig=x' (me@home)", "cannot GET 'https://host/a' (me@home)"),
        ("zip://a/*::https://token@host/x.zip?sig=1", "zip://a/*::https://host/x.zip"),
        ("https://host/d.parquet?sig=1#image", "https://host/d.parquet#image"),
        ("s3://key:secret@bucket/a b.png", "s3://bucket/a b.png"),
        ("s3:/key:secret@bucket/a?sig=1", "s3:/bucket/a"),
    ],
)
def test_addresses_are_shown_without_what_is_secret(text: str, shown: str) -> None:
    assert address_without_secrets(text) == shown


def test_no_words_for_a_place_hold_its_secrets() -> None:
    place = place_of("https://me:pass@host/x.zip?sig=abc")
    for words in (str(place), repr(place), f"{place}"):
        assert "pass" not in words
        assert "abc" not in words


@pytest.mark.parametrize("form", ["gnu", "posix"])
def test_images_stored_with_holes_are_refused(tmp_path: Path, form: str) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    Image.new("RGB", (64, 64), (1, 2, 3)).save(folder / "b.png")
    with (folder / "a.bmp").open("wb") as file:
        file.write(b"BM")
        file.truncate(1 << 20)
    archive = tmp_path / "photos.tar"
    subprocess.run(["tar", "--sparse", "-H", form, "-cf", archive, "-C", tmp_path, "photos"], check=True)
    with pytest.raises(InputError, match=r"photos\.tar/photos/a\.bmp: is stored with holes \(tar --sparse\)"):
        scan_folder(place_of(archive))
    (folder / "a.bmp").rename(folder / "a.npy")  # what is no image may have holes
    subprocess.run(["tar", "--sparse", "-H", form, "-cf", archive, "-C", tmp_path, "photos"], check=True)
    assert list(dict(scan_folder(place_of(archive)).images)) == ["photos/b"]


@pytest.mark.parametrize("compression", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_damage_in_a_zip_member_is_told_with_its_name(tmp_path: Path, compression: int) -> None:
    Image.effect_noise((64, 64), 90).convert("RGB").save(tmp_path / "a.png")
    archive = tmp_path / "photos.zip"
    with zipfile.ZipFile(archive, "w", compression) as opened:
        opened.write(tmp_path / "a.png", "a.png")
    data = bytearray(archive.read_bytes())
    data[120:140] = bytes(20)
    archive.write_bytes(data)
    image = dict(scan_folder(place_of(archive)).images)["a"]
    with pytest.raises(InputError, match=r"photos\.zip/a\.png: is damaged"):
        read_file(image)


def test_two_stars_within_a_name_are_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as opened:
        opened.writestr("a/b.png", b"")
    for address in (f"zip://**.png::{tmp_path}/x.zip", f"{tmp_path}/**.zip", "memory://photos/a/b**/*.png"):
        with pytest.raises(InputError, match=r"pattern '.*\*\*.*': \*\* stands for folders, between slashes"):
            scan_folder(place_of(address))
    assert list(dict(scan_folder(place_of(f"zip://**/*.png::{tmp_path}/x.zip")).images)) == ["a/b"]
