"""What the ab-error metrics cost beside reading the images: ratios inside one run, on real photos.

    python benchmarks/bench_score.py [--photos DIR] [--pairs 320] [--rounds 5] [--out docs/benchmarks/score.md]

Pairs are 256 x 256 crops of the photos in --photos (by default those that ship with scikit-image and scikit-learn) and
the same crops with another photo's colours, as PNG and as JPEG. Contestants take turns within each round; a figure is
the smallest CPU time a pair over the rounds. Compared are

- *script*: what a researcher writes: Pillow, scikit-image in float64, KD-tree classes, 2-D histogram;
- *decoding*: reading and decoding the same files with kornia_rs (PNG) or simplejpeg (JPEG) and nothing else;
- *scores*: ``ab_auc,ab_auc_rebal`` of the pairs in memory: reading, hashing, decoding, counting, the two numbers;
- *evalkit*: the scoring run, which also writes the statistics of every image to disk (no intervals).
"""

from __future__ import annotations

import argparse
import io
import os
import platform
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from evalkit.color.ab_classes import preset
from evalkit.images.image_files import decode
from evalkit.metrics.ab_counts import AbErrorOptions, PairCounter, table_of
from evalkit.metrics.ab_error import AbAuc, AbAucRebalanced
from evalkit.metrics.base import ImageStatistics
from evalkit.metrics.photo import Photo
from evalkit.scoring.blocks import BlockWorker
from evalkit.scoring.plan import make_plan
from evalkit.scoring.run import score


def crops(folder: Path | None, n: int) -> list[np.ndarray]:
    """N crops of 256 x 256 of real photos, evenly spread over the photos."""
    if folder is None:
        import skimage.data
        from sklearn.datasets import load_sample_images

        photos = [getattr(skimage.data, name)() for name in ("astronaut", "chelsea", "coffee", "rocket", "retina")]
        photos += load_sample_images().images
    else:
        files = sorted(p for p in folder.rglob("*") if p.suffix.lower() in {".jpg", ".jpeg", ".png"})
        photos = [np.asarray(Image.open(p).convert("RGB")) for p in files]
    photos = [p if min(p.shape[:2]) >= 256 else np.asarray(Image.fromarray(p).resize((256, 256), 3)) for p in photos]
    rng = np.random.default_rng(0)
    found = []
    for k in range(n):
        photo = photos[k % len(photos)]
        y, x = rng.integers(0, photo.shape[0] - 255), rng.integers(0, photo.shape[1] - 255)
        found.append(np.ascontiguousarray(photo[y : y + 256, x : x + 256]))
    return found


def recoloured(images: list[np.ndarray]) -> dict[str, list[np.ndarray]]:
    """The images as truth, and with another photo's colours at four strengths as predictions."""
    from evalkit.color.colorspace import lab_planes
    from evalkit.color.lab_join import join_lab

    planes = [lab_planes(image) for image in images]
    found = {"truth": images}
    for name, strength in (("m1", 1.0), ("m2", 0.8), ("m3", 0.6), ("m4", 0.4)):
        found[name] = [
            join_lab(own[0], strength * other[1], strength * other[2])[0].reshape(256, 256, 3)
            for own, other in zip(planes, [*planes[1:], planes[0]], strict=True)
        ]
    return found


def write_folders(root: Path, images: dict[str, list[np.ndarray]], kind: str, quality: int) -> tuple[Path, list[Path]]:
    """A folder of truth and four of predictions, as PNG or JPEG."""
    folders = []
    for name, pictures in images.items():
        folder = root / kind / name
        folder.mkdir(parents=True)
        folders.append(folder)
        for k, rgb8 in enumerate(pictures):
            if kind == "PNG":
                Image.fromarray(rgb8).save(folder / f"{k:04d}.png")
            else:
                Image.fromarray(rgb8).save(folder / f"{k:04d}.jpg", quality=quality)
    return folders[0], folders[1:]


def script(truth: Path, method: Path) -> tuple[float, float]:
    """AuC and rebalanced AuC as a short script computes them."""
    from scipy.spatial import cKDTree
    from skimage.color import rgb2lab

    centers = preset("zhang2016").centers
    tree = cKDTree(centers)
    histogram = np.zeros((len(centers), 152))
    for path in sorted(truth.iterdir()):
        lab = rgb2lab(np.asarray(Image.open(path).convert("RGB")))
        other = rgb2lab(np.asarray(Image.open(method / path.name).convert("RGB")))
        d = np.linalg.norm(lab[..., 1:] - other[..., 1:], axis=-1).ravel()
        classes = tree.query(lab[..., 1:].reshape(-1, 2))[1]
        bins = np.minimum(np.ceil(d), 151)
        histogram += np.histogram2d(classes, bins, bins=[np.arange(len(centers) + 1), np.arange(153)])[0]
    cumulative = histogram.cumsum(axis=1)[:, :151]
    counts = histogram.sum(axis=1)
    present = counts > 0
    return cumulative.sum(axis=0).mean() / counts.sum(), (cumulative[present] / counts[present, None]).mean()


def decoding(truth: Path, method: Path) -> None:
    """Read and decode both folders with the fastest decoder."""
    from kornia_rs.io import decode_image_png_u8
    from simplejpeg import decode_jpeg

    for path in sorted(truth.iterdir()):
        for file in (path, method / path.name):
            data = file.read_bytes()
            if file.suffix == ".png":
                decode_image_png_u8(data, (256, 256), "rgb")
            else:
                decode_jpeg(data)


def scores_alone(truth: Path, method: Path) -> tuple[float, float]:
    """The two numbers without a run: what the colour evaluation itself adds to reading."""
    options = AbErrorOptions()
    counter = PairCounter(options.classes)
    counts, pixels = [], []
    for path in sorted(truth.iterdir()):
        photo, prediction = Photo(decode(path).rgb8), Photo(decode(method / path.name).rgb8)
        counts.append(counter.count(photo, prediction))
        pixels.append(photo.n_pixels)
    names = tuple(str(k) for k in range(len(counts)))
    statistics = ImageStatistics(
        images=names, n_pixels=np.array(pixels), ab_error=table_of(counts, len(options.classes))
    )
    plain, rebalanced = (metric.create(options) for metric in (AbAuc, AbAucRebalanced))
    return tuple(float(m.score(m.terms(statistics).sum(axis=0))) for m in (plain, rebalanced))


def evalkit_blocks(truth: Path, methods: list[Path]) -> None:
    """The scoring run's own work on these folders, in this process."""
    plan = make_plan(truth, {m.name: m for m in methods}, metrics=("ab_auc", "ab_auc_rebal"))
    with tempfile.TemporaryDirectory() as folder:
        scorer = BlockWorker(plan, Path(folder))
        for index in range(plan.n_blocks):
            scorer.measure(index)


def best_cpu(contestants: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Smallest CPU seconds of each contestant; they take turns within every round."""
    best = dict.fromkeys(contestants, np.inf)
    for _ in range(rounds):
        for name, run in contestants.items():
            start = time.process_time()
            run()
            best[name] = min(best[name], time.process_time() - start)
    return best


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=Path)
    parser.add_argument("--pairs", type=int, default=320)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--script-rounds", type=int, default=2)
    parser.add_argument("--quality", type=int, default=95)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    text = io.StringIO()
    images = crops(arguments.photos, arguments.pairs)
    pictures = recoloured(images)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for kind in ("PNG", "JPEG"):
            truth, methods = write_folders(Path(folder), pictures, kind, arguments.quality)
            evalkit_blocks(truth, methods[:1])  # compile and load outside the clock
            mine = score(
                truth,
                {"m1": methods[0]},
                metrics=("ab_auc", "ab_auc_rebal"),
                options=AbErrorOptions(quadrature="thresholds"),
                n_bootstrap=0,
            )
            theirs = script(truth, methods[0])
            for value, metric in zip(theirs, ("ab_auc", "ab_auc_rebal"), strict=True):
                if abs(value - mine["m1", metric].value) > 1e-9:
                    raise SystemExit(f"{kind} {metric}: script {value}, evalkit {mine['m1', metric].value}")
            fast = best_cpu(
                {
                    "decoding": lambda t=truth, m=methods: decoding(t, m[0]),
                    "scores": lambda t=truth, m=methods: scores_alone(t, m[0]),
                    "evalkit": lambda t=truth, m=methods: evalkit_blocks(t, m[:1]),
                    "four methods": lambda t=truth, m=methods: evalkit_blocks(t, m),
                },
                arguments.rounds,
            )
            slow = best_cpu({"script": lambda t=truth, m=methods: script(t, m[0])}, arguments.script_rounds)
            per_pair = {name: 1e3 * seconds / len(images) for name, seconds in {**fast, **slow}.items()}
            rows.append((kind, per_pair))
            workers = {}
            for count in (1, 2):
                workers[count] = measure_workers(truth, methods, count, arguments.rounds)
            per_pair["workers"] = workers[1] / workers[2]
    print(
        f"{len(images)} pairs of 256 x 256, {arguments.rounds} rounds, JPEG quality {arguments.quality}, "
        f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}.\n",
        file=text,
    )
    print("| | " + " | ".join(kind for kind, _ in rows) + " |", file=text)
    print("|---|" + "---|" * len(rows), file=text)
    lines = (
        ("script, ms CPU a pair", lambda p: f"{p['script']:.1f}"),
        ("decoding alone, ms CPU a pair", lambda p: f"{p['decoding']:.2f}"),
        ("scores, ms CPU a pair", lambda p: f"{p['scores']:.2f}"),
        ("evalkit (run with statistics on disk), ms CPU a pair", lambda p: f"{p['evalkit']:.2f}"),
        ("**script / scores**", lambda p: f"**{p['script'] / p['scores']:.1f}**"),
        ("**script / evalkit**", lambda p: f"**{p['script'] / p['evalkit']:.1f}**"),
        ("**scores / decoding alone**", lambda p: f"**{p['scores'] / p['decoding']:.2f}**"),
        ("**evalkit / decoding alone**", lambda p: f"**{p['evalkit'] / p['decoding']:.2f}**"),
        (
            "four methods in one run, less than four runs by",
            lambda p: f"{100 - 25 * p['four methods'] / p['evalkit']:.0f} %",
        ),
        ("two workers, times the speed of one", lambda p: f"{p['workers']:.2f}"),
    )
    for title, cell in lines:
        print(f"| {title} | " + " | ".join(cell(per_pair) for _, per_pair in rows) + " |", file=text)
    print(text.getvalue())
    if arguments.out:
        arguments.out.write_text(text.getvalue(), encoding="utf-8")


def measure_workers(truth: Path, methods: list[Path], workers: int, rounds: int) -> float:
    """Wall seconds of the blocks of a run with four methods, workers started beforehand (best of the rounds)."""
    from evalkit.scoring.workers import WorkerPool

    plan = make_plan(truth, {m.name: m for m in methods}, metrics=("ab_auc", "ab_auc_rebal"))
    best = np.inf
    with tempfile.TemporaryDirectory() as folder, WorkerPool(plan, Path(folder), workers) as pool:
        for _ in range(rounds + 1):
            start = time.perf_counter()
            sum(pool.run(range(plan.n_blocks)))
            best = min(best, time.perf_counter() - start)
    return best


if __name__ == "__main__":
    main()
