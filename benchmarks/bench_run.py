"""Whole runs of `evalkit score` over thousands of pairs: time and peak memory, with torchmetrics beside for PSNR and SSIM.

    python benchmarks/bench_run.py [--photos DIR] [--pairs 10000] [--out docs/benchmarks/tables/run.md]

A few hundred real crops of 256 x 256 and recolourings of them are linked under as many names as there are pairs, so the
disk holds little and every pair is read, hashed, decoded and measured. Runs are processes of their own, intervals
included (10,000 replicates); memory is the largest resident size of any process of the run. torchmetrics (where it is
installed) reads the same files with Pillow in batches of 32 on one thread, over a tenth of the pairs, scaled by ten.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

from bench_score import crops, recoloured, write_folders

CROPS = 200

TORCHMETRICS = """
import sys
from pathlib import Path
import numpy as np, torch
from PIL import Image
from evalkit.networks._torchvision_compat import import_torchvision
import_torchvision()  # torchmetrics imports it
from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure as ssim
torch.set_num_threads(1)
truth, method, count = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
names = sorted(p.name for p in truth.iterdir())[:count]
def batch(folder, part):
    images = [np.asarray(Image.open(folder / name).convert("RGB")) for name in part]
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float()
total = np.zeros(2)
for start in range(0, count, 32):
    a, b = batch(method, names[start:start + 32]), batch(truth, names[start:start + 32])
    psnr = peak_signal_noise_ratio(a, b, data_range=255.0, reduction="none", dim=(1, 2, 3))
    total += psnr.sum().item(), ssim(a, b, data_range=255.0, reduction="none").sum().item()
print(*(total / count))
"""

MEASURE = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(used.ru_maxrss / 1024, used.ru_utime + used.ru_stime)
"""


def linked(folder: Path, count: int, root: Path) -> Path:
    """A folder with `count` hard links to the files of `folder`."""
    target = root / f"{folder.parent.name}-{folder.name}-{count}"
    target.mkdir()
    files = sorted(folder.iterdir())
    for k in range(count):
        os.link(files[k % len(files)], target / f"{k:06d}{files[0].suffix}")
    return target


def measured(command: list[str]) -> tuple[float, float, float]:
    """Wall seconds, peak resident MB, CPU seconds of a command and its children."""
    start = time.perf_counter()
    output = subprocess.run(
        [sys.executable, "-c", MEASURE, *command], check=True, capture_output=True, text=True
    ).stdout
    wall = time.perf_counter() - start
    memory, cpu = map(float, output.split())
    return wall, memory, cpu


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=Path)
    parser.add_argument("--pairs", type=int, default=10_000)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    few, many = arguments.pairs // 10, arguments.pairs
    rows: list[tuple[str, int, float, float, float]] = []
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        pictures = recoloured(crops(arguments.photos, CROPS))
        for kind in ("PNG", "JPEG"):
            truth, methods = write_folders(root, pictures, kind, 95)
            sets = {count: (linked(truth, count, root), linked(methods[0], count, root)) for count in (few, many)}

            def score(metrics: str, count: int, workers: int, sets=sets, kind=kind) -> None:  # type: ignore[no-untyped-def]
                folders = sets[count]
                out = root / f"out-{len(rows)}"
                command = [sys.executable, "-m", "evalkit", "score", "--truth", str(folders[0]), "--quiet",
                           "--method", f"m={folders[1]}", "--metrics", metrics, "--workers", str(workers),
                           "--out", str(out)]  # fmt: skip
                label = f"evalkit, {kind}, {metrics.replace(',', ' + ')}, {workers} worker" + "s" * (workers > 1)
                rows.append((label, count, *measured(command)))

            for count in (few, many):
                score("ab_auc,ab_auc_rebal", count, 1)
            score("ab_auc,ab_auc_rebal", many, 2)
            if kind == "PNG":
                score("psnr_rgb,ssim_rgb", many, 1)
                if find_spec("torchmetrics"):
                    command = [sys.executable, "-c", TORCHMETRICS, *map(str, sets[few]), str(few)]
                    wall, memory, cpu = measured(command)
                    rows.append(
                        ("torchmetrics, PNG, PSNR + SSIM, 1 thread (scaled)", many, 10 * wall, memory, 10 * cpu)
                    )
    lines = [
        f"{os.cpu_count()} cores, Python {sys.version.split()[0]}.",
        "",
        "| run | pairs | seconds | CPU seconds | peak memory, MB |",
        "|---|---:|---:|---:|---:|",
        *(
            f"| {name} | {count:,} | {wall:.1f} | {f'{cpu:.1f}' if '1 ' in name else ''} | {memory:.0f} |"
            for name, count, wall, memory, cpu in rows
        ),
    ]
    one = {name: memory for name, count, _, memory, _ in rows if count == few}
    for name, count, _, memory, _ in rows:
        if count == many and name in one:
            lines += ["", f"{name}: {many:,} pairs need {memory / one[name]:.2f} times the memory of {few:,}."]
    text = "\n".join(lines) + "\n"
    print(text)
    if arguments.out:
        arguments.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
