"""Seconds per photo of the classical baselines; and what they score beside gray and random.

    python benchmarks/bench_classical.py [--rounds 3] [--out docs/benchmarks/tables/classical.md]
    python benchmarks/bench_classical.py --photos DIR [--every 2] --folder OUT [--page PAGE.jpg]

Without --photos: CPU seconds on one core, four crops of 256 x 256 of the two photos that come with scikit-learn, medians;
methods take turns. With it: `evalkit reproduce`'s settings (10 true hints of 7 x 7 pixels; the nearest other photo as the
example) on photos of one's own, AuC with 95 % intervals, and paired differences to gray and random. --page draws the
first photos by all four. Prints Markdown tables.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from evalkit.arrays import FloatArray
from evalkit.color.colorspace import srgb8_to_lab
from evalkit.color.lab_join import join_lab
from evalkit.colorizers.classical import levin2004, luan2007, sousa2012, welsh2002
from evalkit.colorizers.classical.methods import CLASSICAL
from evalkit.commands._shared import run_command
from evalkit.hints.hint import hint_maps
from evalkit.hints.protocols import HintRecipe, draw_hints

N_SHOWN = 6
"""Rows of the page."""


def seconds_a_photo(rounds: int) -> str:
    """Table of median CPU seconds; sousa2012 learns its example anew for each photo."""
    from sklearn.datasets import load_sample_images

    crops = [
        srgb8_to_lab(np.ascontiguousarray(photo[top : top + 256, 100:356]))
        for photo in load_sample_images().images
        for top in (0, 160)
    ]
    seconds: dict[str, list[float]] = {name: [] for name in CLASSICAL}
    for k in range(rounds + 1):
        for i, lab in enumerate(crops):
            lightness, example = lab[..., 0], crops[(i + 2) % 4]
            hints = hint_maps(draw_hints(lab[..., 1:], str(i), HintRecipe(count=10)), 256, 256)
            runs: dict[str, Callable[[], FloatArray]] = {
                "levin2004": lambda: levin2004.propagate(lightness, hints),  # noqa: B023 - called at once
                "welsh2002": lambda: welsh2002.transfer(lightness, example),  # noqa: B023
                "luan2007": lambda: luan2007.propagate(lightness, hints),  # noqa: B023
                "sousa2012": lambda: sousa2012.learn_example(example).colorize(lightness),  # noqa: B023
            }
            for name, run in runs.items():
                start = time.process_time()
                run()
                if k:  # the first round warms up
                    seconds[name].append(time.process_time() - start)
    lines = ["| method | median, seconds per photo | slowest |", "|---|---:|---:|"]
    lines += [f"| {name} | {statistics.median(all_):.2f} | {max(all_):.2f} |" for name, all_ in seconds.items()]
    return "\n".join(lines) + "\n"


def scores_beside_anchors(photos: Path, folder: Path, every: int) -> str:
    """Table of AuC with intervals and paired differences to gray and random."""
    from evalkit.images.image_pairs import find_images
    from evalkit.scoring.score_comparison import compare_methods
    from evalkit.scoring.scores import Scores

    truth = folder / "truth"
    if not truth.is_dir():
        truth.mkdir(parents=True)
        for name, path in list(find_images(photos).items())[::every]:
            target = truth / f"{name}{path.suffix}"
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
        run_command("hints", "--input", str(truth), "--output", str(folder / "hints"))
    words = ["--truth", str(truth), "--method", "gray", "--method", "random"]
    for name, method in CLASSICAL.items():
        guided = ["--hints", str(folder / "hints")] if method.needs == "hints" else ["--example", str(truth)]
        target = folder / name
        resume = ["--resume"] if target.is_dir() else []
        run_command("colorize", name, "--input", str(truth), "--output", str(target), *guided, *resume)
        words += ["--method", f"{name}={target}"]
    run_command(
        "score", *words, "--metrics", "ab_auc,ab_auc_rebal,psnr_rgb", "--out", str(folder / "scores"), "--overwrite"
    )
    scores = Scores.read(folder / "scores")
    differences = {
        (row.other_method, anchor): row
        for anchor in ("gray", "random")
        for row in compare_methods(folder / "scores", anchor)
        if row.metric == "ab_auc"
    }
    lines = ["| method | AuC | minus gray | minus random | AuC rebal. | PSNR, dB |", "|---|---:|---:|---:|---:|---:|"]
    for name in scores.methods:
        auc, rebalanced, psnr = (scores[name, metric] for metric in ("ab_auc", "ab_auc_rebal", "psnr_rgb"))
        cells = [f"{100 * auc.value:.2f}<br>{100 * auc.ci_low:.1f} to {100 * auc.ci_high:.1f}"]
        for anchor in ("gray", "random"):
            row = differences.get((name, anchor))
            cells.append(
                ""
                if row is None
                else f"{100 * row.difference:+.2f}<br>{100 * row.ci_low:.2f} to {100 * row.ci_high:.2f}"
            )
        cells.append(f"{100 * rebalanced.value:.2f}<br>{100 * rebalanced.ci_low:.1f} to {100 * rebalanced.ci_high:.1f}")
        cells.append(f"{psnr.value:.2f}<br>{psnr.ci_low:.1f} to {psnr.ci_high:.1f}")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def draw_page(photos: Path, page: Path, side: int = 192) -> None:
    """The first photos in rows: gray with the hints, levin2004, luan2007, welsh2002, sousa2012, true, the example."""
    from evalkit.images.image_files import decode
    from evalkit.images.image_pairs import find_images

    labs = []
    for path in find_images(photos).values():
        rgb8 = decode(path).rgb8
        edge = min(rgb8.shape[:2])
        top, left = (rgb8.shape[0] - edge) // 2, (rgb8.shape[1] - edge) // 2
        square = Image.fromarray(rgb8[top : top + edge, left : left + edge]).resize((side, side))
        labs.append(srgb8_to_lab(np.asarray(square)))

    def picture(lightness: FloatArray, ab: FloatArray) -> FloatArray:
        return join_lab(lightness.ravel(), *ab.reshape(-1, 2).T)[0].reshape(side, side, 3)

    rows = []
    for i, lab in enumerate(labs[:N_SHOWN]):
        lightness, example = lab[..., 0], labs[i ^ 1 if (i ^ 1) < len(labs) else 0]
        hints = hint_maps(draw_hints(lab[..., 1:], str(i), HintRecipe(count=10)), side, side)
        made = [
            hints.ab,
            levin2004.propagate(lightness, hints),
            luan2007.propagate(lightness, hints),
            welsh2002.transfer(lightness, example),
            sousa2012.learn_example(example).colorize(lightness),
            lab[..., 1:],
        ]
        shown = [picture(lightness, ab) for ab in made] + [picture(example[..., 0], example[..., 1:])]
        rows.append(np.concatenate(shown, axis=1))
    Image.fromarray(np.concatenate(rows)).save(page, quality=88)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--photos", type=Path)
    parser.add_argument("--every", type=int, default=1, help="every n-th photo only")
    parser.add_argument("--folder", type=Path, help="for pictures and scores")
    parser.add_argument("--page", type=Path)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    if arguments.page:
        draw_page(arguments.photos, arguments.page)
    if arguments.photos and arguments.folder:
        text = scores_beside_anchors(arguments.photos, arguments.folder, arguments.every)
    elif arguments.page:
        return
    else:
        text = seconds_a_photo(arguments.rounds)
    print(text)
    if arguments.out:
        arguments.out.write_text(text)


if __name__ == "__main__":
    main()
