"""The list of blocks of images: read from what spreadsheets write, and refused in a sentence that names the row."""

from __future__ import annotations

import pytest

from evalkit.errors import InputError
from turing_test.study.block_list import blocks_sentence, check_blocks, even_shares, practice_shares, read_block_list
from turing_test.study.manifest import Manifest
from turing_test.study.protocol import Protocol

IMAGES = ("a", "b", "c", "folder/d")
WHOLE = {"a": "indoor", "b": "indoor", "c": "outdoor", "folder/d": "outdoor"}


@pytest.mark.parametrize(
    "content",
    [
        b"image,block\na,indoor\nb,indoor\nc,outdoor\nfolder/d,outdoor\n",
        b"image;block\r\nc.png;outdoor\r\nd.jpg;outdoor\r\na;indoor\r\nb;indoor\r\n\r\n",
        b"sep=;\nimage;block\na;indoor\nb;indoor\nc;outdoor\nd;outdoor",
        "block\tnote\timage\nindoor\tx\ta\nindoor\t\tb\noutdoor\t\tc\n outdoor \t\tfolder/d\n".encode("utf-16"),
        b'\xef\xbb\xbf"image","block"\n"a","indoor"\n"b","indoor"\n"c","outdoor"\n"folder\\d.PNG","outdoor"\n',
    ],
)
def test_a_list_reads_the_same_however_a_spreadsheet_wrote_it(tmp_path, content):
    (tmp_path / "scenes.csv").write_bytes(content)
    assert read_block_list(tmp_path / "scenes.csv", IMAGES) == WHOLE


ROWS = "image,block\na,indoor\nb,indoor\nc,outdoor\nd,outdoor\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "row 1: the columns are none; one named image and one named block are needed"),
        (
            "image,scene\na,indoor\n",
            "row 1: the columns are image, scene; one named image and one named block are needed",
        ),
        ("image,block,block\na,x,y\n", "row 1: the columns are image, block, block; one named"),
        (
            ROWS.replace("b,indoor", "x,indoor"),
            "row 3: x is no image of the study; allowed are the names of its 4 photos",
        ),
        (ROWS.replace("b,indoor", ""), "row 3: is empty; allowed is one image and its block per row"),
        (ROWS.replace("b,indoor", " , "), "row 3: is empty; allowed"),
        (ROWS.replace("b,indoor", ",indoor"), "row 3: names no image; allowed"),
        (ROWS.replace("b,indoor", "b,"), "row 3: b has no block; allowed is any name"),
        (ROWS.replace("b,indoor", "b"), "row 3: b has no block"),
        (ROWS + "a.png,outdoor\n", "row 6: a stands in row 2 already; allowed is one row per image"),
        ("sep=,\n" + ROWS + "a,indoor\n", "row 7: a stands in row 3 already"),
        ("image,block\na,indoor\nd,outdoor\n", r"2 images of the study have no row \(b, c\); each needs one"),
        (ROWS.replace("outdoor", "indoor"), "all images are in one block; allowed are two blocks or more"),
        (f"image,block\n{200_000 * 'a'},indoor\n", "row 2: is no CSV"),
        ("image,block\n", "4 images of the study have no row"),
    ],
)
def test_what_is_wrong_with_a_list_is_a_sentence_with_its_row(tmp_path, content, message):
    (tmp_path / "scenes.csv").write_text(content)
    with pytest.raises(InputError, match=rf"scenes\.csv(, |: ){message}"):
        read_block_list(tmp_path / "scenes.csv", IMAGES)


def test_a_name_that_may_be_two_images_is_refused(tmp_path):
    (tmp_path / "scenes.csv").write_text("image,block\nd,indoor\n")
    with pytest.raises(InputError, match="row 2: d may be folder/d, other/d; write the folder in front"):
        read_block_list(tmp_path / "scenes.csv", ["folder/d", "other/d"])


def test_a_file_that_is_no_text_is_refused(tmp_path):
    (tmp_path / "scenes.csv").write_bytes(b"\x89PNG\xff")
    with pytest.raises(InputError, match=r"scenes\.csv is not UTF-8 text"):
        read_block_list(tmp_path / "scenes.csv", IMAGES)


def sized(**sizes):
    return {f"{block} {k}": block for block, size in sizes.items() for k in range(size)}


def test_blocks_that_are_too_many_or_too_small_for_a_session_are_refused(tmp_path):
    path = tmp_path / "scenes.csv"
    protocol = Protocol(
        blocks="scenes.csv", test_trials=10, vigilance_trials=2, catch_trials=1, practice_trials=3, reserve_trials=3
    )
    # 11 trials in 2 blocks are 6 and 5, the reserve 2 and 1; practice takes of the larger block.
    check_blocks(protocol, sized(indoor=11, outdoor=8), path)
    with pytest.raises(
        InputError,
        match=r"scenes\.csv: block outdoor has 7 photos, and a session takes up to 8 of it \(6 of the test, 2 in reserve\); "
        "allowed are at least 8, or lower",
    ):
        check_blocks(protocol, sized(indoor=30, outdoor=7), path)
    with pytest.raises(
        InputError, match=r"block indoor has 10 photos, .* up to 11 of it \(6 of .*, 2 in reserve, 3 of practice\)"
    ):
        check_blocks(protocol, sized(indoor=10, outdoor=7), path)
    many = sized(**{f"b{k}": 20 for k in range(9)})
    with pytest.raises(
        InputError, match=r"names 9 blocks, and test_trials - vigilance_trials is 8; allowed are at most"
    ):
        check_blocks(protocol, many, path)
    check_blocks(protocol, {}, path)


def test_practice_leaves_the_smallest_block_as_large_as_can_be():
    assert even_shares(40, 3) == [14, 13, 13]
    assert practice_shares((20, 12, 12), 10) == (9, 1, 0)
    assert practice_shares((5, 5), 0) == (0, 0)


@pytest.mark.parametrize("blocks", ["methods", "../scenes.csv", "scenes.txt", ".csv", "", "a/b.csv"])
def test_other_words_are_refused(blocks):
    with pytest.raises(InputError, match=r'blocks is ".*"; allowed is "none", "method", or the name of a \.csv file'):
        Protocol(blocks=blocks)


def test_blocks_are_part_of_the_digest_and_absent_where_there_are_none():
    plain = Manifest(study="s", stimulus_bytes=1, size=64, images=IMAGES, methods=("m",), stimuli={})
    with_blocks = Manifest(
        study="s", stimulus_bytes=1, size=64, images=IMAGES, methods=("m",), stimuli={}, blocks=WHOLE
    )
    # Printed by the version before there were blocks of images.
    assert plain.digest == "17fac803f23f5abf68383319464c8649f02f8629682f1accb102e860a29ab4fe"
    assert with_blocks.digest != plain.digest
    assert Protocol().asked_digest != Protocol(blocks="scenes.csv").asked_digest
    said = blocks_sentence(Protocol(blocks="scenes.csv", test_trials=41, vigilance_trials=5), with_blocks)
    assert said == (
        "2 blocks of images (scenes.csv; photos: indoor 2, outdoor 2), 20 or 21 trials of each per session, in 2 balanced orders"
    )
