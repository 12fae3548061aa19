"""Matching by name: what pairs, what is refused, and whether the sentence tells the user why."""

from __future__ import annotations

import os
import pickle
import re
import subprocess
import sys
import unicodedata
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalkit.errors import InputError
from evalkit.images.image_pairs import (
    check_method_name,
    check_same_size,
    find_images,
    pair_folders,
    read_image_names,
)

MakeFolder = Callable[..., Path]


@pytest.fixture
def make_folder(tmp_path: Path) -> MakeFolder:
    """Make a folder of empty files: nothing here looks inside one."""

    def make(name: str, files: Iterable[str]) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        for file in files:
            path = folder / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        return folder

    return make


# --- one folder --------------------------------------------------------------------------------------------------


def test_images_are_found_in_sub_folders_and_sorted_by_key(make_folder: MakeFolder) -> None:
    folder = make_folder("photos", ["b.png", "a/z.jpg", "a/b/y.TIFF", "A.JPeG", "x.y.webp", "c.bmp", "d.tif"])
    images = find_images(folder)
    assert list(images) == ["A", "a/b/y", "a/z", "b", "c", "d", "x.y"]
    assert images["a/b/y"] == folder / "a" / "b" / "y.TIFF"


def test_hidden_and_other_files_are_passed_over(make_folder: MakeFolder) -> None:
    files = ["x.png", ".y.png", "._x.jpg", ".git/z.png", "labels.csv", "Thumbs.db", "README", "png", "moved.gif"]
    assert list(find_images(make_folder("photos", files))) == ["x"]


def test_links_to_folders_are_followed_but_not_in_circles(make_folder: MakeFolder) -> None:
    elsewhere = make_folder("elsewhere", ["x.png"])
    folder = make_folder("photos", ["a/y.png"])
    (folder / "linked").symlink_to(elsewhere)
    (folder / "a" / "above").symlink_to(folder)
    assert list(find_images(folder)) == ["a/y", "linked/x"]


def test_accented_names_match_however_the_system_spells_them(make_folder: MakeFolder) -> None:
    composed, decomposed = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))
    assert composed != decomposed
    truth, method = make_folder("truth", [f"{composed}.jpg"]), make_folder("method", [f"{decomposed}.png"])
    assert pair_folders(truth, {"ours": method}).names == (composed,)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ([], r"holds no image that can be read \(PNG, JPEG, WebP, TIFF and BMP\)\.$"),
        (["a.txt"], r"holds no image that can be read"),
        (["a.gif"], r"holds no image .*; a\.gif is of another kind\.$"),
        (["a.gif", "b.avif", "c.heic", "d.npy"], r"; a\.gif, b\.avif, c\.heic and 1 more are of another kind\.$"),
        (["x.png", "x.jpg"], r"x\.jpg and x\.png share the name 'x'"),
        (["x.png", "x.PNG"], r"x\.PNG and x\.png share the name 'x'"),
        (["a/x.png", "a/x.bmp"], r"x\.bmp and x\.png share the name 'a/x'"),
        (["a\nb.png"], r"'a\\nb\.png' holds control characters"),
    ],
)
def test_unusable_folders_are_refused(make_folder: MakeFolder, files: list[str], message: str) -> None:
    folder = make_folder("photos", files)
    with pytest.raises(InputError, match=message) as caught:
        find_images(folder)
    assert str(folder) in str(caught.value)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names themselves")
def test_names_that_are_not_utf8_are_refused(make_folder: MakeFolder) -> None:
    folder = make_folder("photos", [os.fsdecode(b"\xff.png")])
    with pytest.raises(InputError, match="is not UTF-8; rename it"):
        find_images(folder)


def test_absent_folders_and_files_in_their_place_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        find_images(tmp_path / "absent")
    (tmp_path / "x.png").touch()
    with pytest.raises(InputError, match="is a file, not a folder"):
        find_images(tmp_path / "x.png")


# --- pairs -------------------------------------------------------------------------------------------------------


def test_files_are_matched_by_name_whatever_their_extension_and_order(make_folder: MakeFolder) -> None:
    truth = make_folder("truth", ["b.jpg", "a/x.JPEG", "10.png", "9.png"])
    ours = make_folder("ours", ["9.webp", "a/x.png", "b.PNG", "10.tif"])
    theirs = make_folder("theirs", ["a/x.bmp", "10.jpg", "9.jpg", "b.jpg"])
    pairs = pair_folders(truth, {"ours": ours, "theirs": theirs})
    assert pairs.names == ("10", "9", "a/x", "b")
    assert pairs.truth == tuple(truth / file for file in ("10.png", "9.png", "a/x.JPEG", "b.jpg"))
    assert pairs.methods["ours"] == tuple(ours / file for file in ("10.tif", "9.webp", "a/x.png", "b.PNG"))
    assert pairs.methods["theirs"] == tuple(theirs / file for file in ("10.jpg", "9.jpg", "a/x.bmp", "b.jpg"))
    assert (len(pairs), pairs.missing, pairs.ignored) == (4, (), ())


def test_built_in_methods_need_no_folder(make_folder: MakeFolder) -> None:
    pairs = pair_folders(make_folder("truth", ["x.png"]), {})
    assert (pairs.names, pairs.methods) == (("x",), {})


def test_a_pair_table_travels_to_other_processes(make_folder: MakeFolder) -> None:
    pairs = pair_folders(make_folder("truth", ["x.png"]), {"ours": make_folder("ours", ["x.png"])})
    assert pickle.loads(pickle.dumps(pairs)) == pairs


@given(st.sets(st.sampled_from("abcdefgh"), min_size=1), st.sets(st.sampled_from("abcdefgh"), min_size=1))
def test_the_table_holds_the_common_names_and_names_all_others(
    tmp_path_factory: pytest.TempPathFactory, truth_names: set[str], method_names: set[str]
) -> None:
    root = tmp_path_factory.mktemp("pairs")
    for folder, names in (("truth", truth_names), ("ours", method_names)):
        (root / folder).mkdir()
        for name in names:
            (root / folder / f"{name}.png").touch()
    common = truth_names & method_names
    if not common:
        with pytest.raises(InputError, match="none of its"):
            pair_folders(root / "truth", {"ours": root / "ours"}, allow_missing=True)
        return
    pairs = pair_folders(root / "truth", {"ours": root / "ours"}, allow_missing=True)
    assert pairs.names == tuple(sorted(common))
    left_out = {(entry["image"], entry["reason"]) for entry in pairs.missing}
    assert left_out == {(name, "no file of the method") for name in truth_names - common} | {
        (name, "no truth image") for name in method_names - common
    }
    if truth_names != method_names:
        with pytest.raises(InputError, match="--allow-missing"):
            pair_folders(root / "truth", {"ours": root / "ours"})


def test_missing_and_surplus_files_are_counted_and_named_with_the_remedy(make_folder: MakeFolder) -> None:
    truth = make_folder("truth", [f"{k}.png" for k in range(10)])
    ours = make_folder("ours", [f"{k}.png" for k in (0, 1, 2, 3, 4, 77, 88)] + ["5.gif"])
    with pytest.raises(InputError) as caught:
        pair_folders(truth, {"ours": ours})
    assert str(caught.value) == (
        f"method 'ours' ({ours}): 5 of 10 truth images have no file there (5, 6, 7 and 2 more) and 2 of its 7 images "
        "have no truth image (77, 88); 5.gif is of another kind; complete the folders, or score the common images "
        "alone with --allow-missing."
    )


@pytest.mark.parametrize(("files", "part"), [(["a.png"], "1 of 2 truth"), (["a.png", "b.png", "c.png"], "1 of its 3")])
def test_one_kind_of_difference_suffices(make_folder: MakeFolder, files: list[str], part: str) -> None:
    truth, ours = make_folder("truth", ["a.png", "b.png"]), make_folder("ours", files)
    with pytest.raises(InputError, match=part):
        pair_folders(truth, {"ours": ours})


def test_with_allow_missing_only_images_of_all_methods_count(make_folder: MakeFolder) -> None:
    truth = make_folder("truth", ["a.png", "b.png", "c.png", "d.gif"])
    one, two = make_folder("one", ["a.png", "b.png"]), make_folder("two", ["b.png", "c.png", "z.png"])
    pairs = pair_folders(truth, {"one": one, "two": two}, allow_missing=True)
    assert pairs.names == ("b",)
    assert pairs.methods == {"one": (one / "b.png",), "two": (two / "b.png",)}
    assert pairs.missing == (
        {"image": "c", "method": "one", "reason": "no file of the method"},
        {"image": "a", "method": "two", "reason": "no file of the method"},
        {"image": "z", "method": "two", "reason": "no truth image"},
    )
    assert pairs.ignored == (truth / "d.gif",)


def test_methods_without_a_common_image_are_refused(make_folder: MakeFolder) -> None:
    truth = make_folder("truth", ["a.png", "b.png"])
    methods = {"one": make_folder("one", ["a.png"]), "two": make_folder("two", ["b.png"])}
    with pytest.raises(InputError, match="no image is common to the truth and all methods"):
        pair_folders(truth, methods, allow_missing=True)


@pytest.mark.parametrize(
    ("truth", "method", "hint"),
    [
        ("{}", "{}_fake_B", "The names of the method have '_fake_B' at the end; remove it"),
        ("{}", "{}_eccv16", "'_eccv16' at the end"),
        ("{}", "saved_eccv16_{}", "The names of the method have 'saved_eccv16_' in front; remove it"),
        ("{}", "out-{}-v2", "'out-' in front and '-v2' at the end"),
        ("{}", "{}.JPEG", "'.JPEG' at the end"),
        ("{}_gt", "{}", "The names of the truth have '_gt' at the end; remove it"),
        ("{}_real_B", "{}_fake_B", "The names of the truth end in '_real_B', those of the method in '_fake_B'"),
        ("class/{}", "{}", "The names differ in their sub-folders"),
        ("{}", "deep/er/{}", "The names differ in their sub-folders"),
        ("IMG_{}", "img_{}", "The names differ in upper and lower case"),
        ("0{}", "{}", "The names differ in leading zeros"),
    ],
)
@pytest.mark.parametrize("allow_missing", [False, True])
def test_when_nothing_matches_the_message_guesses_why(
    make_folder: MakeFolder, truth: str, method: str, hint: str, allow_missing: bool
) -> None:
    names = [str(k) for k in (101, 2302, 42, 7, 99)]
    folders = [
        make_folder(name, [pattern.format(k) + ".png" for k in names])
        for name, pattern in (("truth", truth), ("ours", method))
    ]
    with pytest.raises(InputError, match=r"method 'ours' .*: none of its 5 images") as caught:
        pair_folders(folders[0], {"ours": folders[1]}, allow_missing=allow_missing)
    assert hint in str(caught.value)


def test_unrelated_names_get_no_wild_guess(make_folder: MakeFolder) -> None:
    truth, ours = make_folder("truth", ["1.png", "2.png"]), make_folder("ours", ["cat1.png", "dog2.png"])
    with pytest.raises(InputError, match="matched by name without extension; rename one side"):
        pair_folders(truth, {"ours": ours})


# --- folders and names that cannot be meant ----------------------------------------------------------------------


def test_a_method_with_the_folder_of_the_truth_is_refused(make_folder: MakeFolder, tmp_path: Path) -> None:
    truth = make_folder("truth", ["x.png"])
    (tmp_path / "link").symlink_to(truth)
    for same in (truth, tmp_path / "link", tmp_path / "link" / ".." / "truth"):
        with pytest.raises(InputError, match=r"method 'ours' has the folder of the truth .* --method truth"):
            pair_folders(truth, {"ours": same})


def test_two_methods_with_one_folder_are_refused(make_folder: MakeFolder) -> None:
    truth, ours = make_folder("truth", ["x.png"]), make_folder("ours", ["x.png"])
    with pytest.raises(InputError, match="method 'b' and method 'a' have the same folder"):
        pair_folders(truth, {"a": ours, "b": ours})


def test_folders_in_one_another_are_refused(make_folder: MakeFolder) -> None:
    truth = make_folder("truth", ["x.png", "ours/x.png"])
    with pytest.raises(InputError, match="lie in one another"):
        pair_folders(truth, {"ours": truth / "ours"})
    with pytest.raises(InputError, match="lie in one another"):
        pair_folders(truth / "ours", {"ours": truth})


def test_a_folder_whose_name_begins_like_another_is_not_inside_it(make_folder: MakeFolder) -> None:
    truth, ours = make_folder("truth", ["x.png"]), make_folder("truth2", ["x.png"])
    assert len(pair_folders(truth, {"ours": ours})) == 1


@pytest.mark.parametrize("name", ["ours", "ECCV16", "pix2pix v1.0", "a_b-c+d", "_x", "0", "truth", "x" * 64])
def test_usual_method_names_are_allowed(name: str) -> None:
    check_method_name(name)


@pytest.mark.parametrize(
    "name",
    ["", " ", "-x", "+x", ".x", " x", "x ", "x.", "a,b", "a/b", "a\\b", "a=b", "a|b", "a:b", "é", "x\n", "x" * 65],
)
def test_names_that_break_a_table_a_path_or_a_signature_are_refused(name: str) -> None:
    with pytest.raises(InputError, match="cannot name a method; allowed are 1 to 64 letters"):
        check_method_name(name)


@pytest.mark.parametrize("name", ["summary", "Mean", "all"])
def test_words_of_the_tables_are_refused_as_names(name: str) -> None:
    with pytest.raises(InputError, match="heads a row or column"):
        check_method_name(name)


def test_names_that_differ_in_case_alone_are_refused(make_folder: MakeFolder) -> None:
    truth = make_folder("truth", ["x.png"])
    methods = {"Ours": make_folder("a", ["x.png"]), "ours": make_folder("b", ["x.png"])}
    with pytest.raises(InputError, match="'Ours' and 'ours' differ in upper and lower case alone"):
        pair_folders(truth, methods)


# --- the command line's words ------------------------------------------------------------------------------------


def test_different_sizes_are_refused_and_size_is_offered() -> None:
    check_same_size("x", "ours", (224, 256, 3), (224, 256))
    for shape in ((256, 224, 3), (224, 255, 3), (1, 256, 3)):
        expected = f"image 'x' is 256 x 224 pixels in the truth and {shape[1]} x {shape[0]} in method 'ours'"
        with pytest.raises(InputError, match=re.escape(expected) + ".*give --size N"):
            check_same_size("x", "ours", (224, 256, 3), shape)


def test_importing_loads_neither_numpy_nor_pillow() -> None:
    code = "import sys, evalkit.images.image_pairs; print([m for m in ('numpy', 'PIL') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# --- endings, lists of names ---------------------------------------------------------------------------------------


JPEG_START, PNG_START = b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n"


@pytest.mark.parametrize("ending", [".jpe", ".JPE", ".jfif", ".dib", ".JPEG", ".TIF"])
def test_every_usual_ending_counts(make_folder: MakeFolder, ending: str) -> None:
    assert list(find_images(make_folder("photos", [f"a{ending}"]))) == ["a"]


def test_a_file_without_ending_counts_where_it_begins_like_an_image(make_folder: MakeFolder) -> None:
    folder = make_folder("photos", ["b.png", "README", "sub/scan_07", "LICENSE"])
    (folder / "sub" / "scan_07").write_bytes(PNG_START)
    (folder / "README").write_bytes(b"Photos of 1923")
    assert list(find_images(folder)) == ["b", "sub/scan_07"]


def test_images_under_an_ending_of_another_kind_are_named(make_folder: MakeFolder) -> None:
    truth, ours = make_folder("truth", ["a.png", "b.jpg_large", "notes.txt"]), make_folder("ours", ["a.png"])
    (truth / "b.jpg_large").write_bytes(JPEG_START)
    assert pair_folders(truth, {"ours": ours}).ignored == (truth / "b.jpg_large",)


@pytest.mark.skipif(os.name != "posix", reason="named pipes are POSIX")
def test_a_named_pipe_is_looked_at_without_waiting(make_folder: MakeFolder) -> None:
    folder = make_folder("photos", ["a.png"])
    os.mkfifo(folder / "pipe")
    code = f"from evalkit.images.image_pairs import find_images; print(list(find_images({str(folder)!r})))"
    listed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert listed.stdout.strip() == "['a']"


def test_a_list_of_names_is_read_as_people_keep_it(tmp_path: Path) -> None:
    names = ["ILSVRC2012_val_00000003", "sub/b.v2", unicodedata.normalize("NFC", "é"), "x.JPEG", "y"]
    lines = ["ILSVRC2012_val_00000003.JPEG", "./sub/b.v2.png", unicodedata.normalize("NFD", "é") + ".jpg", "x.JPEG"]
    path = tmp_path / "list.txt"
    for start, newline in ((b"", "\n"), (b"\xef\xbb\xbf", "\r\n")):
        path.write_bytes(start + newline.join(["# chosen by hand", *lines, "", lines[0], "#y", ""]).encode())
        assert read_image_names(path, names) == set(names) - {"y"}
    assert read_image_names([f"/elsewhere/{line}" for line in lines], names) == set(names) - {"y"}
    path.write_text("#1\n#2\n")
    assert read_image_names(path, ["#1", "2"]) == {"#1"}  # an image may be called so
    path.write_text("b.v2\n")
    assert read_image_names(path, names) == {"sub/b.v2"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a\nzebra.png\n", r"1 of 2 names is not among the 3 images of the run \(zebra\.png\)"),
        ("same", r"'same' may be one/same, two/same; write the folder in front"),
        ("\n \n", "holds no image names; one per line is expected"),
        ("# a\n", "holds no image names; one per line is expected"),
    ],
)
def test_lists_of_unknown_or_ambiguous_names_are_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "list.txt"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_image_names(path, ["a", "one/same", "two/same"])


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (3, "images is int; give a text file of names, or a list of them"),
        ([1, 2], "images holds 1; give the names of photos, each a text"),
        ({"a": None}.values(), "images holds None; give the names of photos, each a text"),
    ],
)
def test_what_is_no_list_of_names_is_told(given: object, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        read_image_names(given, ["a"])
