"""What a run of very many images moves and needs: bytes per image, work of the coordinator, summaries of a million images.

    python benchmarks/bench_many_images.py [--images 100000] [--scored 2000] [--out docs/benchmarks/tables/many_images.md]

Messages and statistics are measured on 64 pairs of 256 x 256 with one method (real crops, `bench_score`). For the
summaries the statistics of these pairs (crops of 64 x 64, so that they take seconds to make) are written again and again
under other names, in parts as a run leaves them, and summarised with 10,000 replicates in a process of their own, whose
CPU seconds and largest resident size are told.

A run of `--scored` pairs is made too, from the files on: links to these small crops under as many names, so that they take no
room, scored by as many workers as there are cores, with 1,000 replicates. All of it takes a minute; `--images 1000000 --scored
100000` takes some ten. It needs psutil, which comes with the extra `cluster`.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from bench_score import crops, recoloured, write_folders
from PIL import Image

from evalkit import score
from evalkit.scoring.compaction import join_shards
from evalkit.scoring.executors import measure_part, message_of
from evalkit.scoring.plan import BLOCK_SIZE, BLOCKS_PER_PART, make_plan
from evalkit.scoring.statistics_store import joined_name, shard_name, shard_paths

N_PAIRS = 64
ROWS = 256
"""Images that are read at a time, as in the parts of a run."""

SCORE = """
import resource, sys, time
import psutil
from evalkit import score
from evalkit.scoring.workers import available_cores

cpu, memory = {}, {}

def look(n_finished, n_images):  # workers end with the run, and what they took is known while they live
    for process in psutil.Process().children(recursive=True):
        cpu[process.pid] = sum(process.cpu_times()[:2])
        memory[process.pid] = max(memory.get(process.pid, 0), process.memory_info().rss)

if __name__ == "__main__":
    began = time.perf_counter()
    score(sys.argv[1], {"mine": sys.argv[2]}, out=sys.argv[3], workers=available_cores(), progress=look)
    own = resource.getrusage(resource.RUSAGE_SELF)
    print(own.ru_maxrss / 1024, max(memory.values()) / 2**20, own.ru_utime + own.ru_stime, sum(cpu.values()), time.perf_counter() - began)
"""

SUMMARISE = """
import resource, sys
from dataclasses import replace
from pathlib import Path
from evalkit.scoring.record import RunRecord
from evalkit.scoring.scores import summarise
folder = Path(sys.argv[1])
summarise(folder / "statistics", replace(RunRecord.from_json(folder / "run.json"), n_bootstrap=10_000)).write(folder / "new")
used = resource.getrusage(resource.RUSAGE_SELF)
print(used.ru_maxrss / 1024, used.ru_utime + used.ru_stime)
"""


def made(run: Path, folder: Path, n_images: int) -> Path:
    """Statistics of as many images as asked for: the rows of a run under other names and digests."""
    measured = [pq.read_table(path) for path in shard_paths(run / "statistics")]
    rows = pa.concat_tables(measured * (ROWS // N_PAIRS)).combine_chunks()
    per_part = BLOCK_SIZE * BLOCKS_PER_PART
    (folder / "statistics").mkdir(parents=True)
    shards = {}
    for first in range(0, n_images, per_part):
        last = min(first + per_part, n_images)
        name = joined_name(shard_name(first // BLOCK_SIZE), shard_name((last - 1) // BLOCK_SIZE))
        shards[name] = last - first
        options = {"compression": "zstd", "compression_level": 1, "use_dictionary": ["method"]}
        with pq.ParquetWriter(folder / "statistics" / name, rows.schema, write_statistics=False, **options) as writer:
            for start in range(first, last, ROWS):
                piece = rows.slice(0, min(ROWS, last - start))
                numbers = range(start, start + len(piece))
                texts = {"image": "i{:08d}", "truth_sha256": "a{:063x}", "sha256": "b{:063x}"}
                for column, text in texts.items():
                    new = pa.array([text.format(number) for number in numbers])
                    piece = piece.set_column(piece.column_names.index(column), column, new)
                writer.write_table(piece)
    record = json.loads((run / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps({**record, "shards": shards}))
    return folder


def linked(folder: Path, target: Path, n_images: int) -> Path:
    """As many names as asked for, of the images of a folder in turn."""
    target.mkdir(parents=True)
    paths = sorted(folder.iterdir())
    for number in range(n_images):
        # A file takes no more than some tens of thousands of links: each thousand names has a file of its own.
        first = target / f"i{number - number % (1000 * len(paths)) + number % len(paths):08d}.png"
        path = target / f"i{number:08d}.png"
        if path == first:
            shutil.copy(paths[number % len(paths)], path)
        else:
            path.hardlink_to(first)
    return target


def scored(small: Path, folder: Path, n_images: int) -> list[str]:
    """Rows of the table about a whole run."""
    sides = [linked(small / side.name, folder / side.name, n_images) for side in sorted(small.iterdir())]
    script = folder / "score.py"
    script.write_text(SCORE, encoding="utf-8")
    truth, mine = sorted(sides, key=lambda side: side.name != "truth")
    command = [sys.executable, str(script), str(truth), str(mine), str(folder / "out")]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    memory, of_worker, cpu, cpu_of_workers, wall = map(float, text.split())
    n_files = len(shard_paths(folder / "out" / "statistics"))
    return [
        f"| {n_images:,} | {cpu_of_workers:,.0f} | {cpu:,.0f} | {wall:,.0f} | {memory:,.0f} | {of_worker:,.0f} | {n_files} |"
    ]


def coordinator(truth: Path, method: Path, folder: Path) -> list[str]:
    """Rows of the table about one block: what travels, and what the coordinator does with it."""
    plan = make_plan(truth, {"mine": method})
    start = time.process_time()
    messages = [message_of(plan, index) for index in range(plan.n_blocks)]
    sending = (time.process_time() - start) / plan.n_blocks
    start = time.process_time()
    answers = [measure_part("run", message)[1] for message in messages]
    measuring = (time.process_time() - start) / len(plan.names)
    start = time.process_time()
    for files in answers:
        for name, data in files.items():
            (folder / name).write_bytes(data)
    join_shards(folder, [plan.shard(index) for index in range(plan.n_blocks)], "part-00000-00001.parquet")
    receiving = (time.process_time() - start) / plan.n_blocks
    image_bytes = sum(path.stat().st_size for one in (truth, method) for path in one.iterdir()) / len(plan.names)
    stored = (folder / "part-00000-00001.parquet").stat().st_size / len(plan.names)
    answer = sum(len(data) for files in answers for data in files.values()) / len(plan.names)
    return [
        f"| reading, decoding and measuring, CPU ms per image | {1e3 * measuring:.1f} |",
        f"| files read by workers, bytes per image | {image_bytes:,.0f} |",
        f"| message to a worker, bytes per block of {BLOCK_SIZE} images | {np.mean([len(m) for m in messages]):,.0f} |",
        f"| answer of a worker, bytes per image | {answer:,.0f} |",
        f"| statistics on disk, bytes per image | {stored:,.0f} |",
        f"| coordinator: making a message, CPU ms per block | {1e3 * sending:.2f} |",
        f"| coordinator: writing and joining a shard, CPU ms per block | {1e3 * receiving:.2f} |",
    ]


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=Path)
    parser.add_argument("--images", default="100000", help="images of summaries, separated by commas")
    parser.add_argument("--scored", type=int, default=2000, help="pairs of a whole run, from the files on; 0 for none")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    lines = ["| default metrics, one method, 256 x 256 PNG | |", "|---|---:|"]
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        truth, methods = write_folders(root, recoloured(crops(arguments.photos, N_PAIRS)), "PNG", 95)
        score(truth, {"mine": methods[0]}, n_bootstrap=0)  # compiles
        (root / "shards").mkdir()
        lines += coordinator(truth, methods[0], root / "shards")
        for folder in (truth, methods[0]):
            (root / "small" / folder.name).mkdir(parents=True)
            for path in folder.iterdir():
                Image.open(path).crop((0, 0, 64, 64)).save(root / "small" / folder.name / path.name)
        small = root / "small"
        score(small / truth.name, {"mine": small / methods[0].name}, out=root / "run", n_bootstrap=0)
        lines += ["", "| images | summary, CPU s | peak memory, MB | files |", "|---:|---:|---:|---:|"]
        for n_images in map(int, arguments.images.split(",")):
            folder = made(root / "run", root / f"made-{n_images}", n_images)
            command = [sys.executable, "-c", SUMMARISE, str(folder)]
            text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            memory, cpu = map(float, text.split())
            n_files = len(shard_paths(folder / "statistics"))
            lines.append(f"| {n_images:,} | {cpu:.0f} | {memory:,.0f} | {n_files} |")
        if arguments.scored:
            lines += [
                "",
                "| pairs of 64 x 64 scored | workers, CPU s | coordinator, CPU s | wall s | coordinator, MB | worker, MB | files |",
            ]
            lines += ["|---:|---:|---:|---:|---:|---:|---:|", *scored(small, root / "scored", arguments.scored)]
    text = "\n".join(lines) + "\n"
    print(text)
    if arguments.out:
        arguments.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
