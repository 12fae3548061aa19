"""Joined runs equal one run over everything, to the last bit; what does not fit is refused."""

# ruff: noqa: F811 (a fixture is imported and asked for by the same name)

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from scoring_folders import finished, photo_copy, photo_set, quick_score  # noqa: F401 (fixtures)

from evalkit.errors import InputError
from evalkit.scoring.merging import merge_runs
from evalkit.scoring.scores import Scores

Finished = tuple[Path, Scores]
QuickScore = Callable[..., Scores]


def part(photo_set: Path, root: Path, keep: Callable[[int], bool]) -> Path:
    """The images of a photo set whose number is kept."""
    for folder in ("truth", "vivid", "dull"):
        (root / folder).mkdir(parents=True)
        for i, path in enumerate(sorted((photo_set / folder).iterdir())):
            if keep(i):
                shutil.copyfile(path, root / folder / path.name)
    return root


def assert_equal_results(one: Path, two: Path) -> None:
    for name in ("summary.csv", "curves.csv"):
        assert (one / name).read_bytes() == (two / name).read_bytes()
    tables = [pq.read_table(out / "per_image.parquet") for out in (one, two)]
    assert tables[0].to_pylist() == tables[1].to_pylist()


@pytest.mark.parametrize("reverse", [False, True])
def test_runs_over_interleaved_images_join_into_one(
    reverse: bool, tmp_path: Path, photo_set: Path, finished: Finished, quick_score: QuickScore
) -> None:
    for k in range(3):
        quick_score(part(photo_set, tmp_path / f"in{k}", lambda i, k=k: i % 3 == k), tmp_path / f"out{k}")
    order = [2, 1, 0] if reverse else [0, 1, 2]
    merge_runs([tmp_path / f"out{k}" for k in order], tmp_path / "joined")
    assert_equal_results(tmp_path / "joined", finished[0])
    assert Scores.read(tmp_path / "joined").summary == finished[1].summary
    assert len(list((tmp_path / "joined" / "statistics").iterdir())) == 3
    assert not (tmp_path / "joined" / ".unfinished").exists()


def test_runs_over_other_methods_join_into_one(
    tmp_path: Path, photo_set: Path, finished: Finished, quick_score: QuickScore
) -> None:
    quick_score(photo_set, tmp_path / "a", {"vivid": photo_set / "vivid"})
    quick_score(photo_set, tmp_path / "b", {"dull": photo_set / "dull", "gray": None})
    merge_runs([tmp_path / "a", tmp_path / "b"], tmp_path / "joined")
    assert_equal_results(tmp_path / "joined", finished[0])


def test_shared_anchors_are_taken_once(tmp_path: Path, photo_set: Path, quick_score: QuickScore) -> None:
    quick_score(photo_set, tmp_path / "a", {"vivid": photo_set / "vivid", "gray": None, "random": None})
    quick_score(photo_set, tmp_path / "b", {"dull": photo_set / "dull", "random": None, "gray": None})
    merge_runs([tmp_path / "a", tmp_path / "b"], tmp_path / "joined")
    whole = {"vivid": photo_set / "vivid", "gray": None, "random": None, "dull": photo_set / "dull"}
    quick_score(photo_set, tmp_path / "whole", whole)
    assert_equal_results(tmp_path / "joined", tmp_path / "whole")


def test_a_run_whose_methods_the_other_has_already_may_join_with_random(
    tmp_path: Path, photo_set: Path, quick_score: QuickScore
) -> None:
    quick_score(photo_set, tmp_path / "a", {"vivid": photo_set / "vivid", "random": None})
    quick_score(photo_set, tmp_path / "b", {"vivid": photo_set / "vivid"})
    merge_runs([tmp_path / "a", tmp_path / "b"], tmp_path / "joined")
    assert_equal_results(tmp_path / "joined", tmp_path / "a")


def test_random_cannot_be_joined_over_images(tmp_path: Path, photo_set: Path, quick_score: QuickScore) -> None:
    for k in range(2):
        quick_score(
            part(photo_set, tmp_path / f"in{k}", lambda i, k=k: i % 2 == k), tmp_path / f"out{k}", {"random": None}
        )
    with pytest.raises(InputError, match="built-in method 'random' cannot be joined over images"):
        merge_runs([tmp_path / "out0", tmp_path / "out1"], tmp_path / "joined")
    assert not (tmp_path / "joined").exists()


def test_images_left_out_of_any_part_are_remembered(tmp_path: Path, photo_set: Path, quick_score: QuickScore) -> None:
    for k in range(2):
        part(photo_set, tmp_path / f"in{k}", lambda i, k=k: i % 2 == k)
    (tmp_path / "in1" / "vivid" / "i01.png").unlink()
    for k in range(2):
        quick_score(tmp_path / f"in{k}", tmp_path / f"out{k}", allow_missing=True)
    joined = merge_runs([tmp_path / "out0", tmp_path / "out1"], tmp_path / "joined")
    assert "|common:69|" in joined["vivid", "ab_auc"].signature
    assert [entry["image"] for entry in joined.record.missing] == ["i01"]


def test_samples_and_notes_of_every_run_are_kept(tmp_path: Path, photo_set: Path, quick_score: QuickScore) -> None:
    for run, method in (("a", "vivid"), ("b", "dull")):
        folder = tmp_path / f"samples-{method}"
        folder.mkdir()
        for path in sorted((photo_set / "truth").iterdir()):
            (folder / path.stem).mkdir()
            for k, source in enumerate(("vivid", "dull")):
                shutil.copy(photo_set / source / path.name, folder / path.stem / f"{k}.png")
        quick_score(photo_set, tmp_path / run, {method: folder}, metrics=("psnr_rgb", "ab_auc"))
        record = json.loads((tmp_path / run / "run.json").read_text())
        record["notes"] = ["the batch was halved", f"said of {method}"]
        (tmp_path / run / "run.json").write_text(json.dumps(record))
    joined = merge_runs([tmp_path / "a", tmp_path / "b"], tmp_path / "joined")
    assert set(joined.record.samples) == {"vivid", "dull"}
    assert joined.record.notes == ("the batch was halved", "said of vivid", "said of dull")
    rows = (tmp_path / "joined" / "samples.csv").read_text().splitlines()
    assert {row.split(",")[0] for row in rows[1:]} == {"vivid", "dull"}


def test_joined_intervals_use_the_most_replicates_of_any_run(
    tmp_path: Path, photo_set: Path, finished: Finished, quick_score: QuickScore
) -> None:
    quick_score(photo_set, tmp_path / "b", {"truth": None}, n_bootstrap=500)
    joined = merge_runs([finished[0], tmp_path / "b"], tmp_path / "joined")
    assert finished[1].record.n_bootstrap == 200
    assert joined.record.n_bootstrap == 500


@pytest.mark.parametrize(
    ("options", "field"),
    [({"size": 32}, "size"), ({"metrics": ("ab_auc",)}, "metrics"), ({"options": "lambda"}, "lambda")],
)
def test_runs_scored_otherwise_are_refused_and_the_field_is_named(
    options: dict[str, object],
    field: str,
    tmp_path: Path,
    photo_set: Path,
    finished: Finished,
    quick_score: QuickScore,
) -> None:
    from evalkit.metrics.ab_counts import AbErrorOptions

    if field == "lambda":
        options = {"options": AbErrorOptions(rebalancing=0.5)}
    quick_score(photo_set, tmp_path / "b", {"truth": None}, **options)
    with pytest.raises(InputError, match=f"scored with another {field} than"):
        merge_runs([finished[0], tmp_path / "b"], tmp_path / "joined")
    assert not (tmp_path / "joined").exists()


def test_the_same_run_twice_is_refused(tmp_path: Path, finished: Finished) -> None:
    other_path = tmp_path / "link"
    other_path.symlink_to(finished[0], target_is_directory=True)
    for again in (finished[0], finished[0] / ".", Path(str(finished[0]))):
        with pytest.raises(InputError, match=rf"^{re.escape(str(finished[0]))}: is given twice; name each run once\.$"):
            merge_runs([finished[0], again], tmp_path / "joined")
    with pytest.raises(InputError, match=r"link: is the same run as .*; name each run once\.$"):
        merge_runs([finished[0], other_path], tmp_path / "joined")
    missing = tmp_path / "missing"
    for twice in (missing, Path(f"{missing}/../missing")):
        with pytest.raises(InputError, match=r"missing/run\.json: no such file"):
            merge_runs([missing, twice], tmp_path / "joined")
    copied = shutil.copytree(finished[0], tmp_path / "copy")
    with pytest.raises(InputError, match="image 'i00' is in"):
        merge_runs([finished[0], copied], tmp_path / "joined")
    assert not (tmp_path / "joined").exists()


def test_other_methods_over_other_images_are_refused(
    tmp_path: Path, photo_set: Path, finished: Finished, quick_score: QuickScore
) -> None:
    quick_score(part(photo_set, tmp_path / "in", lambda i: i < 40), tmp_path / "b", {"truth": None})
    with pytest.raises(InputError, match="has other methods and other images"):
        merge_runs([finished[0], tmp_path / "b"], tmp_path / "joined")


def test_other_truth_under_the_same_names_is_refused(
    tmp_path: Path, photo_copy: Path, finished: Finished, quick_score: QuickScore
) -> None:
    shutil.copyfile(photo_copy / "truth" / "i01.png", photo_copy / "truth" / "i00.png")
    quick_score(photo_copy, tmp_path / "b", {"truth": None})
    with pytest.raises(InputError, match="other true photos"):
        merge_runs([finished[0], tmp_path / "b"], tmp_path / "joined")


def test_one_method_with_two_contents_is_refused(
    tmp_path: Path, photo_set: Path, finished: Finished, quick_score: QuickScore
) -> None:
    quick_score(photo_set, tmp_path / "b", {"vivid": photo_set / "dull", "truth": None})
    with pytest.raises(InputError, match="method vivid has other images"):
        merge_runs([finished[0], tmp_path / "b"], tmp_path / "joined")


def test_a_single_run_or_a_full_target_is_refused(tmp_path: Path, finished: Finished) -> None:
    with pytest.raises(InputError, match="at least two"):
        merge_runs([finished[0]], tmp_path / "joined")
    (tmp_path / "notes.txt").touch()
    with pytest.raises(InputError, match="not an empty folder"):
        merge_runs([finished[0], finished[0]], tmp_path)


def test_a_truncated_shard_is_refused_and_leaves_nothing(
    tmp_path: Path, photo_set: Path, finished: Finished, quick_score: QuickScore
) -> None:
    quick_score(photo_set, tmp_path / "b", {"truth": None})
    shard = tmp_path / "b" / "statistics" / "part-00002.parquet"
    shard.write_bytes(shard.read_bytes()[:500])
    with pytest.raises(InputError, match=r"part-00002\.parquet: not a readable statistics shard"):
        merge_runs([finished[0], tmp_path / "b"], tmp_path / "joined")
    assert not (tmp_path / "joined").exists()


def test_runs_resized_with_another_fit_are_refused(tmp_path: Path, photo_set: Path, quick_score: QuickScore) -> None:
    for name, fit in (("a", "warp"), ("b", "crop")):
        quick_score(photo_set, tmp_path / name, {"vivid": photo_set / "vivid"}, size=32, fit=fit, metrics=("psnr_rgb",))
    with pytest.raises(InputError, match="scored with another fit than"):
        merge_runs([tmp_path / "a", tmp_path / "b"], tmp_path / "joined")
    assert not (tmp_path / "joined").exists()


def test_the_fit_does_not_matter_where_nothing_was_resized(
    tmp_path: Path, photo_set: Path, quick_score: QuickScore
) -> None:
    for name, fit in (("vivid", "warp"), ("dull", "crop")):
        quick_score(photo_set, tmp_path / name, {name: photo_set / name}, fit=fit, metrics=("psnr_rgb",))
    joined = merge_runs([tmp_path / "vivid", tmp_path / "dull"], tmp_path / "joined")
    assert joined.methods == ("vivid", "dull")
