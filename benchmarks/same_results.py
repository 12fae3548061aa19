"""Do two commits give the same numbers? Runs the commands of both on the same photos and answers, and compares files.

``python -m benchmarks.same_results OLD [NEW] --photos FOLDER`` installs both commits beside each other (without their
dependencies, which are those of this environment), plays one study with the old one, and then lets each commit score
the photos, rescore them, export that study and analyse the answers. FOLDER holds ``gt`` and a folder per method, with
the same file names. Every CSV file is compared cell by cell; columns that only one side has are named. Exit status 1
where a number differs.
"""

from __future__ import annotations

import argparse
import csv
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]


def installed(commit: str, folder: Path) -> dict[str, str]:
    """Environment in which Python finds the packages of a commit, its entry points included, before any other."""
    source, site = folder / "source", folder / "site"
    subprocess.run(["git", "worktree", "add", "--quiet", "--detach", source, commit], cwd=ROOT, check=True)
    try:
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--target", site]
        subprocess.run([*pip, source], check=True)
    finally:
        subprocess.run(["git", "worktree", "remove", "--force", source], cwd=ROOT, check=True)
    return {**os.environ, "PYTHONPATH": str(site), "COLUMNS": "200"}


def evalkit(environment: dict[str, str], *words: object, cwd: Path) -> None:
    """Run a command of the commit that this environment finds."""
    code = "from evalkit.cli import main; main()"
    command = [sys.executable, "-P", "-c", code, *map(str, words)]
    done = subprocess.run(command, env=environment, cwd=cwd, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"evalkit {' '.join(map(str, words))}\n{done.stdout}{done.stderr}")


def results_of(environment: dict[str, str], photos: Path, study: Path, out: Path) -> None:
    """Everything that is compared, written into folders of ``out``."""
    out.mkdir()
    methods = [
        f"--method={path.name}={path}" for path in sorted(photos.iterdir()) if path.is_dir() and path.name != "gt"
    ]
    metrics = "ab_auc,ab_auc_rebal,psnr_rgb,psnr_ab,ssim_rgb,ab_rmse,ciede2000,colorfulness,colorfulness_diff,l_mae"
    score = ("score", "--truth", photos / "gt", *methods, "--method", "gray", "--method", "random")
    evalkit(environment, *score, "--metrics", metrics, "--out", out / "scores", cwd=out)
    evalkit(environment, "rescore", out / "scores", "--lambda", "0.25", "--out", out / "rescored", cwd=out)
    shutil.copytree(study, out / "study")
    evalkit(environment, "study", "export", out / "study", "--simulated", "--out", out / "answers", cwd=out)
    evalkit(environment, "analyze", out / "answers" / "trials.csv", "--out", out / "rates", cwd=out)
    shutil.rmtree(out / "study")


def played_study(environment: dict[str, str], photos: Path, folder: Path) -> Path:
    """A study that simulated observers have taken."""
    methods = [
        f"--method={path.name}={path}" for path in sorted(photos.iterdir()) if path.is_dir() and path.name != "gt"
    ]
    evalkit(environment, "study", "create", folder, "--truth", photos / "gt", *methods, cwd=folder.parent)
    evalkit(environment, "study", "simulate", folder, "--participants", 24, "--seed", 1, cwd=folder.parent)
    return folder


def differences(old: Path, new: Path) -> Iterator[tuple[str, bool]]:
    """(what differs, whether a number does) for every CSV file of two result folders."""
    names = sorted({str(p.relative_to(f)) for f in (old, new) for p in f.rglob("*.csv")})
    for name in names:
        if not (old / name).exists() or not (new / name).exists():
            yield f"{name}: only {'new' if (new / name).exists() else 'old'}", not (new / name).exists()
            continue
        before, after = (list(csv.DictReader((f / name).open(encoding="utf-8", newline=""))) for f in (old, new))
        columns = [list(rows[0]) if rows else [] for rows in (before, after)]
        for column in sorted({*columns[0]} ^ {*columns[1]}):
            yield f"{name}: column {column} is only {'new' if column in columns[1] else 'old'}", column in columns[0]
        shared = [column for column in columns[0] if column in columns[1]]
        if len(before) != len(after):
            yield f"{name}: {len(before)} rows before, {len(after)} after", True
        for column in shared:
            unequal = [k for k, (a, b) in enumerate(zip(before, after, strict=False)) if a[column] != b[column]]
            if unequal:
                k = unequal[0]
                yield (
                    (
                        f"{name}: {column} differs in {len(unequal)} of {len(before)} rows, first in row {k + 1}: "
                        f"{before[k][column]!r} before, {after[k][column]!r} after"
                    ),
                    True,
                )
        if before == after:
            yield f"{name}: {len(before)} rows, identical", False


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old", help="commit before")
    parser.add_argument("new", nargs="?", default="HEAD", help="commit after; HEAD when left out")
    parser.add_argument("--photos", type=Path, required=True, help="folder of gt/ and one folder per method")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        environments = {}
        for name in ("old", "new"):
            (folder / name).mkdir()
            environments[name] = installed(getattr(options, name), folder / name)
        photos = options.photos.resolve()
        study = played_study(environments["old"], photos, folder / "study")
        for name, environment in environments.items():
            results_of(environment, photos, study, folder / name / "results")
        changed = False
        for sentence, is_number in differences(folder / "old" / "results", folder / "new" / "results"):
            print(sentence)
            changed |= is_number
    sys.exit(int(changed))


if __name__ == "__main__":
    main()
