"""The scoring run: the same bits however it was done, and what is refused before anything is written."""

# ruff: noqa: F811 (a fixture is imported and asked for by the same name)

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from scoring_folders import (  # noqa: F401 (fixtures)
    QUICK_METRICS,
    contents,
    killed,
    photo_copy,
    photo_set,
    quick_score,
)

import evalkit
from evalkit.errors import InputError
from evalkit.metrics import DEFAULT_METRICS
from evalkit.scoring.blocks import BlockWorker
from evalkit.scoring.plan import BLOCK_SIZE, make_plan
from evalkit.scoring.scores import Scores
from evalkit.scoring.statistics_store import shard_name

N_IMAGES = 70
"""Three blocks: two of 32 and one of 6 (`photo_set`)."""


def methods_of(root: Path) -> dict[str, Path | None]:
    return {"vivid": root / "vivid", "random": None}


@pytest.mark.parametrize(("workers", "metrics"), [(2, QUICK_METRICS), (3, QUICK_METRICS), (2, DEFAULT_METRICS)])
def test_result_does_not_depend_on_the_number_of_workers(
    workers: int,
    metrics: tuple[str, ...],
    tmp_path: Path,
    photo_set: Path,
    quick_score: Callable[..., Scores],
    contents: Callable[[Path], dict[str, bytes]],
) -> None:
    quick_score(photo_set, tmp_path / "one", methods_of(photo_set), metrics=metrics)
    quick_score(photo_set, tmp_path / "many", methods_of(photo_set), metrics=metrics, workers=workers)
    assert contents(tmp_path / "many") == contents(tmp_path / "one")


def test_result_does_not_depend_on_the_order_in_which_files_were_made_nor_on_their_place(
    tmp_path: Path, photo_set: Path, quick_score: Callable[..., Scores], contents: Callable[[Path], dict[str, bytes]]
) -> None:
    other = tmp_path / "elsewhere"
    for folder in ("truth", "vivid"):
        (other / folder).mkdir(parents=True)
        for path in sorted((photo_set / folder).iterdir(), reverse=True):
            shutil.copyfile(path, other / folder / path.name)
    quick_score(photo_set, tmp_path / "one", methods_of(photo_set))
    quick_score(other, tmp_path / "two", methods_of(other))
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_a_run_in_memory_and_one_on_disk_agree(
    tmp_path: Path, photo_set: Path, quick_score: Callable[..., Scores]
) -> None:
    on_disk = quick_score(photo_set, tmp_path / "out", methods_of(photo_set))
    assert quick_score(photo_set, None, methods_of(photo_set)).summary_csv() == on_disk.summary_csv()


def interrupt_after(monkeypatch: pytest.MonkeyPatch, blocks: int) -> list[int]:
    """Make the run stop after some blocks; returns the list of blocks that get scored."""
    scored: list[int] = []
    genuine = BlockWorker.measure

    def measure(self: BlockWorker, index: int) -> int:
        if len(scored) == blocks:
            raise KeyboardInterrupt
        scored.append(index)
        return genuine(self, index)

    monkeypatch.setattr(BlockWorker, "measure", measure)
    return scored


def interrupted(
    monkeypatch: pytest.MonkeyPatch, root: Path, out: Path, quick_score: Callable[..., Scores], blocks: int = 2
) -> None:
    with monkeypatch.context() as patch:
        interrupt_after(patch, blocks)
        with pytest.raises(KeyboardInterrupt):
            quick_score(root, out, methods_of(root))
    assert not (out / "summary.csv").exists()


def resumed(
    monkeypatch: pytest.MonkeyPatch, root: Path, out: Path, quick_score: Callable[..., Scores], **options: object
) -> list[int]:
    """Blocks that a resumed run scores."""
    with monkeypatch.context() as patch:
        scored = interrupt_after(patch, 1000)
        quick_score(root, out, methods_of(root), resume=True, **options)
    return scored


def test_a_resumed_run_scores_the_rest_and_equals_an_uninterrupted_one(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    photo_set: Path,
    quick_score: Callable[..., Scores],
    contents: Callable[[Path], dict[str, bytes]],
) -> None:
    quick_score(photo_set, tmp_path / "whole", methods_of(photo_set))
    interrupted(monkeypatch, photo_set, tmp_path / "out", quick_score)
    (tmp_path / "out" / ".unfinished" / ".part-00002.parquet.99").write_bytes(b"half a shard of a killed worker")
    assert resumed(monkeypatch, photo_set, tmp_path / "out", quick_score) == [2]
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


@pytest.mark.parametrize("n_kept", [0, 1, 5])
def test_a_truncated_shard_is_scored_again(
    n_kept: int,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    photo_set: Path,
    quick_score: Callable[..., Scores],
) -> None:
    interrupted(monkeypatch, photo_set, tmp_path / "out", quick_score)
    shard = tmp_path / "out" / ".unfinished" / shard_name(0)
    shard.write_bytes(shard.read_bytes()[: 100 * n_kept])
    assert resumed(monkeypatch, photo_set, tmp_path / "out", quick_score) == [0, 2]


def test_resuming_scores_the_block_of_a_changed_file_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, photo_copy: Path, quick_score: Callable[..., Scores]
) -> None:
    interrupted(monkeypatch, photo_copy, tmp_path / "out", quick_score)
    shutil.copyfile(photo_copy / "dull" / "i40.png", photo_copy / "vivid" / "i40.png")
    assert resumed(monkeypatch, photo_copy, tmp_path / "out", quick_score) == [1, 2]
    fresh = quick_score(photo_copy, None, methods_of(photo_copy))
    assert (tmp_path / "out" / "summary.csv").read_text() == fresh.summary_csv()


def test_resuming_scores_blocks_again_that_took_random_colours_from_a_changed_photo(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, photo_copy: Path, quick_score: Callable[..., Scores]
) -> None:
    interrupted(monkeypatch, photo_copy, tmp_path / "out", quick_score)
    plan = make_plan(photo_copy / "truth", methods_of(photo_copy))
    donors = [plan.makers["random"].donor(i) for i in range(N_IMAGES)]
    # A photo of the last block, not finished yet, whose colours went to the first block alone.
    changed = next(d for i, d in enumerate(donors) if i < BLOCK_SIZE and d is not None and d >= 2 * BLOCK_SIZE)
    takers = {i // BLOCK_SIZE for i, d in enumerate(donors) if d == changed}
    name = f"{plan.names[changed]}.png"
    shutil.copyfile(photo_copy / "dull" / name, photo_copy / "truth" / name)
    assert resumed(monkeypatch, photo_copy, tmp_path / "out", quick_score) == sorted(takers | {2})
    fresh = quick_score(photo_copy, None, methods_of(photo_copy))
    assert (tmp_path / "out" / "summary.csv").read_text() == fresh.summary_csv()


@pytest.mark.parametrize("option", [{"seed": 1}, {"size": 32}, {"metrics": ("ab_auc", "ssim_rgb")}])
def test_resuming_under_options_that_change_the_statistics_starts_again(
    option: dict[str, object],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    photo_set: Path,
    quick_score: Callable[..., Scores],
) -> None:
    interrupted(monkeypatch, photo_set, tmp_path / "out", quick_score)
    assert resumed(monkeypatch, photo_set, tmp_path / "out", quick_score, **option) == [0, 1, 2]
    fresh = quick_score(photo_set, None, methods_of(photo_set), **option)
    assert (tmp_path / "out" / "summary.csv").read_text() == fresh.summary_csv()


def test_resuming_over_fewer_images_drops_the_blocks_of_the_others(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, photo_copy: Path, quick_score: Callable[..., Scores]
) -> None:
    interrupted(monkeypatch, photo_copy, tmp_path / "out", quick_score)
    for folder in ("truth", "vivid"):
        for path in sorted((photo_copy / folder).iterdir())[20:]:
            path.unlink()
    assert resumed(monkeypatch, photo_copy, tmp_path / "out", quick_score) == [0]
    fresh = quick_score(photo_copy, None, methods_of(photo_copy))
    assert fresh["vivid", "ab_auc"].n_images == 20
    assert (tmp_path / "out" / "summary.csv").read_text() == fresh.summary_csv()


def test_a_run_stopped_while_its_results_were_written_resumes_from_all_its_blocks(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    photo_set: Path,
    quick_score: Callable[..., Scores],
    contents: Callable[[Path], dict[str, bytes]],
) -> None:
    quick_score(photo_set, tmp_path / "whole", methods_of(photo_set))
    with monkeypatch.context() as patch:
        patch.setattr("evalkit.scoring.scores.Scores.curves_csv", lambda self: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            quick_score(photo_set, tmp_path / "out", methods_of(photo_set))
    assert not (tmp_path / "out" / "run.json").exists()
    with pytest.raises(InputError, match="interrupted run; continue it with --resume"):
        quick_score(photo_set, tmp_path / "out", methods_of(photo_set))
    assert resumed(monkeypatch, photo_set, tmp_path / "out", quick_score) == []
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_overwriting_keeps_the_old_results_until_the_new_are_complete(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, photo_set: Path, quick_score: Callable[..., Scores]
) -> None:
    out = tmp_path / "out"
    quick_score(photo_set, out, {"vivid": photo_set / "vivid"})
    before = (out / "summary.csv").read_bytes()
    with monkeypatch.context() as patch:
        interrupt_after(patch, 1)
        with pytest.raises(KeyboardInterrupt):
            quick_score(photo_set, out, {"dull": photo_set / "dull"}, overwrite=True)
    assert (out / "summary.csv").read_bytes() == before
    quick_score(photo_set, out, {"dull": photo_set / "dull"}, overwrite=True)
    assert {row.method for row in evalkit.Scores.read(out).summary} == {"dull"}
    assert not (out / ".unfinished").exists()


def test_a_run_that_fails_before_its_first_block_leaves_no_trace(
    tmp_path: Path, photo_copy: Path, quick_score: Callable[..., Scores]
) -> None:
    (photo_copy / "truth" / "i00.png").write_bytes(b"no image")
    with pytest.raises(InputError, match=r"i00\.png"):
        quick_score(photo_copy, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_killed_worker_is_told_in_a_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, photo_set: Path, quick_score: Callable[..., Scores]
) -> None:
    monkeypatch.setattr("evalkit.scoring.workers._measure_block", killed)
    with pytest.raises(InputError, match="a worker process was killed"):
        quick_score(photo_set, tmp_path / "out", workers=2)


def test_progress_counts_images(photo_set: Path, quick_score: Callable[..., Scores]) -> None:
    seen: list[tuple[int, int]] = []
    quick_score(photo_set, None, {"gray": None}, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(0, 70), (32, 70), (64, 70), (70, 70)]


def test_swapping_two_methods_swaps_their_rows(photo_set: Path, quick_score: Callable[..., Scores]) -> None:
    one = quick_score(photo_set, None, {"vivid": photo_set / "vivid", "dull": photo_set / "dull"})
    two = quick_score(photo_set, None, {"dull": photo_set / "dull", "vivid": photo_set / "vivid"})
    assert [row.method for row in one.summary] == ["vivid"] * 3 + ["dull"] * 3
    assert one.summary == two.summary[3:] + two.summary[:3]


def test_truth_scores_one_with_a_point_interval(photo_set: Path, quick_score: Callable[..., Scores]) -> None:
    scores = quick_score(photo_set, None, {"truth": None, "vivid": photo_set / "vivid"})
    for metric in ("ab_auc", "ab_auc_rebal"):
        assert (scores["truth", metric].value, scores["truth", metric].ci_low) == (1.0, 1.0)
    assert scores["vivid", "ab_auc"].value < 1


def test_an_image_given_twice_weighs_twice(tmp_path: Path, photo_set: Path, quick_score: Callable[..., Scores]) -> None:
    names = [f"i{i:02d}" for i in range(4)]
    for folder in ("truth", "vivid"):
        (tmp_path / folder).mkdir()
        for name in names:
            shutil.copyfile(photo_set / folder / f"{name}.png", tmp_path / folder / f"{name}.png")
        shutil.copyfile(photo_set / folder / "i00.png", tmp_path / folder / "again.png")
    scores = quick_score(tmp_path, None, {"vivid": tmp_path / "vivid"})
    single = dict(zip(scores.per_image["image"].to_pylist(), scores.per_image["ab_auc"].to_pylist(), strict=True))
    expected = (2 * single["i00"] + sum(single[name] for name in names[1:])) / 5  # all have 64 x 64 pixels
    assert scores["vivid", "ab_auc"].value == pytest.approx(expected, abs=1e-12)


def test_mirrored_images_give_the_same_scores(
    tmp_path: Path, photo_set: Path, quick_score: Callable[..., Scores]
) -> None:
    for folder in ("truth", "vivid"):
        (tmp_path / folder).mkdir()
        for path in (photo_set / folder).iterdir():
            Image.fromarray(np.array(Image.open(path))[:, ::-1]).save(tmp_path / folder / path.name)
    one = quick_score(photo_set, None, {"vivid": photo_set / "vivid"})
    two = quick_score(tmp_path, None, {"vivid": tmp_path / "vivid"})
    assert one.curves_csv() == two.curves_csv()
    for row, mirrored in zip(one.summary, two.summary, strict=True):
        assert mirrored.value == pytest.approx(row.value, rel=1e-12)


def test_allow_missing_scores_the_common_images_and_says_so_in_the_signature(
    tmp_path: Path, photo_copy: Path, quick_score: Callable[..., Scores]
) -> None:
    (photo_copy / "vivid" / "i03.png").unlink()
    (photo_copy / "truth" / "i05.png").unlink()
    with pytest.raises(InputError, match=r"i03.*--allow-missing"):
        quick_score(photo_copy, tmp_path / "out")
    scores = quick_score(photo_copy, tmp_path / "out", allow_missing=True)
    assert "|n:68|" in scores["dull", "ab_auc"].signature
    assert "|common:68|" in scores["dull", "ab_auc"].signature
    assert {(entry["image"], entry["method"]) for entry in scores.record.missing} == {
        ("i03", "vivid"), ("i05", "vivid"), ("i05", "dull"),
    }  # fmt: skip
    for folder in ("truth", "vivid", "dull"):
        for name in ("i03", "i05"):
            (photo_copy / folder / f"{name}.png").unlink(missing_ok=True)
    complete = quick_score(photo_copy, None)
    assert scores["dull", "ab_auc"].value == complete["dull", "ab_auc"].value
    assert "common" not in complete["dull", "ab_auc"].signature


def test_statistics_of_real_photos_stay_below_50_kb_a_pair(
    tmp_path: Path, photos: dict[str, np.ndarray], quick_score: Callable[..., Scores]
) -> None:
    for folder in ("truth", "mine"):
        (tmp_path / folder).mkdir()
    for name, photo in photos.items():
        for i, (y, x) in enumerate([(0, 0), (40, 100)]):
            crop = photo[y : y + 256, x : x + 256]
            Image.fromarray(crop).save(tmp_path / "truth" / f"{name}{i}.png")
            # Colours of another photo: the widest spread of errors.
            Image.fromarray(np.roll(crop, 31, axis=(0, 1))).save(tmp_path / "mine" / f"{name}{i}.png")
    quick_score(tmp_path, tmp_path / "out", {"mine": tmp_path / "mine", "random": None})
    n_rows = sum(pq.read_metadata(path).num_rows for path in (tmp_path / "out" / "statistics").iterdir())
    size = sum(path.stat().st_size for path in (tmp_path / "out" / "statistics").iterdir())
    assert n_rows == 4 * len(photos)
    assert size / n_rows < 50_000


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 8}, "size 8 is outside 16..16384"),
        ({"size": 99999}, "size 99999 is outside"),
        ({"fit": "stretch"}, "unknown fit 'stretch'; allowed: warp, crop"),
        ({"n_bootstrap": 5}, "5 bootstrap replicates are too few"),
        ({"n_bootstrap": -1}, "too few"),
        ({"workers": 0}, "workers is 0; a whole number, at least 1, is needed"),
        ({"workers": "2"}, "workers is '2'; a whole number, at least 1, is needed"),
        ({"n_bootstrap": 100.5}, "n_bootstrap is 100.5; a whole number is needed"),
        ({"seed": -1}, "seed is -1; a whole number, at least 0, is needed"),
        ({"size": "256"}, "size is '256'; a whole number is needed"),
        ({"size": 256.0}, "size is 256.0; a whole number is needed"),
        ({"images": ["a", 1]}, "images holds 1; give the names of photos, each a text"),
        ({"decoding": None}, "decoding is NoneType; evalkit.images.image_files.DecodeOptions"),
        ({"notify": None}, "notify is NoneType; a function of a sentence is needed"),
        ({"image_cache": 5}, "image_cache is int; a path is needed"),
        ({"allow_missing": "no"}, "allow_missing is 'no'; True or False is needed"),
        ({"resume": None}, "resume is None; True or False is needed"),
        ({"overwrite": [True]}, "overwrite is .True.; True or False is needed"),
        ({"per_image_csv": "yes"}, "per_image_csv is 'yes'; True or False is needed"),
        ({"turn_like_truth": "no"}, "turn_like_truth is 'no'; True or False is needed"),
        ({"options": "zhang2016"}, "options is str; evalkit.AbErrorOptions"),
        ({"networks": "cpu"}, "networks is str; evalkit.NetworkOptions"),
        ({"metrics": None}, "metrics is NoneType; give a list of names"),
        ({"progress": "bar"}, "progress is str; True, False or a function"),
        ({"metrics": ("ab_uac",)}, "there is no metric 'ab_uac' .did you mean 'ab_auc'"),
        ({"metrics": ()}, "no metric given"),
        ({"metrics": ("ab_auc", "ab_auc")}, "metric ab_auc is given twice"),
        ({"methods": {}}, "no method given"),
        ({"methods": {"grey": None}}, "method 'grey' has no folder"),
    ],
)
def test_bad_options_are_refused_before_anything_is_written(
    options: dict[str, object], message: str, tmp_path: Path, photo_set: Path, quick_score: Callable[..., Scores]
) -> None:
    with pytest.raises(InputError, match=message):
        quick_score(photo_set, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_a_resized_run_says_so_in_every_signature(photo_set: Path, quick_score: Callable[..., Scores]) -> None:
    scores = quick_score(photo_set, None, {"vivid": photo_set / "vivid"}, size=32, fit="crop")
    assert all("|size:32-crop-bicubic|" in row.signature for row in scores.summary)
    assert scores["vivid", "ab_auc"].n_pixels == N_IMAGES * 32 * 32


def test_what_decoding_changed_and_what_was_left_out_is_said(tmp_path: Path, photo_set: Path, photo_copy: Path) -> None:
    for name in ("i01", "i02"):
        image = Image.open(photo_copy / "vivid" / f"{name}.png")
        exif = Image.Exif()
        exif[274] = 3
        image.rotate(180).save(photo_copy / "vivid" / f"{name}.png", exif=exif)
    Image.new("RGB", (8, 8)).save(photo_copy / "dull" / "preview.gif")
    folders = {"vivid": photo_copy / "vivid", "dull": photo_copy / "dull"}
    scores = evalkit.score(photo_copy / "truth", folders, metrics=("psnr_rgb",), n_bootstrap=0)
    assert "method vivid: in 2 of 70 images EXIF orientation 3 applied" in scores.warnings
    assert any("1 file of another kind left out, for example preview.gif" in text for text in scores.warnings)
    plain = evalkit.score(photo_set / "truth", {"vivid": photo_set / "vivid"}, metrics=("psnr_rgb",), n_bootstrap=0)
    assert plain["vivid", "psnr_rgb"].value == scores["vivid", "psnr_rgb"].value
    assert not any("orientation" in text for text in plain.warnings)


def test_a_run_begun_by_another_version_is_begun_anew(
    tmp_path: Path, photo_copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def digest() -> str:
        return make_plan(photo_copy / "truth", {"vivid": photo_copy / "vivid"}, metrics=("psnr_rgb",)).block_digest(0)

    today = digest()
    assert digest() == today
    monkeypatch.setattr("evalkit.scoring.plan.release", lambda: "0.0.0")
    assert digest() != today


def test_a_list_of_images_scores_these_alone_whatever_else_the_folders_hold(
    tmp_path: Path, photo_set: Path, quick_score: Callable[..., Scores]
) -> None:
    names = ["i03", "i40", "i41", "i69"]
    (tmp_path / "list.txt").write_text("\n".join(f"{name}.JPEG" for name in names))
    chosen = quick_score(photo_set, None, methods_of(photo_set), images=tmp_path / "list.txt")
    for folder in ("truth", "vivid"):
        (tmp_path / folder).mkdir()
        for name in names:
            shutil.copy(photo_set / folder / f"{name}.png", tmp_path / folder)
    alone = quick_score(tmp_path, None, methods_of(tmp_path))
    assert chosen.summary == alone.summary
    assert all(row.n_images == 4 for row in chosen.summary)


def test_a_method_may_have_more_images_or_fewer_than_the_list(
    photo_copy: Path, tmp_path: Path, quick_score: Callable[..., Scores]
) -> None:
    listed = tmp_path / "list.txt"
    listed.write_text("i03\ni04\n")
    for path in (photo_copy / "vivid").iterdir():
        if path.stem not in ("i03", "i04", "i05"):
            path.unlink()
    methods = {"vivid": photo_copy / "vivid", "dull": photo_copy / "dull"}
    assert {row.n_images for row in quick_score(photo_copy, None, methods, images=listed).summary} == {2}
    (photo_copy / "vivid" / "i03.png").unlink()
    with pytest.raises(InputError, match="1 of 2 truth images has no file there"):
        quick_score(photo_copy, None, methods, images=listed)
    (photo_copy / "vivid" / "i04.png").unlink()
    with pytest.raises(InputError, match=r"vivid\): holds none of the 2 photos that .*list.txt names"):
        quick_score(photo_copy, None, methods, images=listed)
    listed.write_text("i03\nnowhere\n")
    with pytest.raises(InputError, match=r"list.txt: 1 of 2 names is not among the 70 images .*nowhere"):
        quick_score(photo_copy, None, methods, images=listed)


def test_default_stands_for_the_default_metrics_in_a_longer_list(
    photo_set: Path, quick_score: Callable[..., Scores]
) -> None:
    scores = quick_score(photo_set, None, {"gray": None}, metrics=["l_mae", "default", "psnr_rgb"], n_bootstrap=0)
    assert scores.metrics == ("l_mae", *DEFAULT_METRICS)
