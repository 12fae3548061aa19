"""What a GPU does with a scoring run: the same numbers as the CPU, how fast, and how much of the bare network's rate.

    python benchmarks/gpu_check.py [--device cuda] [--images 512] [--processes N] [--weights NAME=FILE] [--out FILE]

Meant to take some minutes on a GPU; how long was never measured. Crops of photos of 256 x 256 are classified by one network
of torchvision, scored by LPIPS with the features of AlexNet, and by FID and KID. Weights are seeded ones unless files are given
(then what bf16 leaves of top-1 says nothing of trained networks). The CPU takes part with the first 32 photos. The run is
timed with images read one after the other and ahead of the network, with several workers, and with several processes of
torchrun, whose results are compared with those of one process to the bit. Nobody has run this on a GPU yet; `--device cpu` runs the same
lines, and `--images 4 --network squeezenet1_0` makes that short.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from bench_classification import write_photos

from evalkit.networks._torchvision_compat import import_torchvision
from evalkit.networks.classifiers import Classifier
from evalkit.networks.devices import choose_device, chosen_batch_size, one_thread
from evalkit.networks.inception import inception
from evalkit.networks.options import NetworkOptions
from evalkit.scoring import blocks
from evalkit.scoring.run import score
from evalkit.scoring.scores import Scores

if TYPE_CHECKING:
    import torch

N_BOTH = 32
"""Photos that the CPU scores too."""


def write_weights(root: Path, network: str, given: Sequence[str]) -> dict[str, Path]:
    """Weights files by network: those that are given, and seeded ones of the others."""
    import torch

    named = {name: Path(path) for name, _, path in (text.partition("=") for text in given)}
    models = import_torchvision().models
    makers: dict[str, Callable[[], Any]] = {
        network: lambda: models.get_model(network, weights=None),
        "alexnet": lambda: models.get_model("alexnet", weights=None),
        "inception_fid": inception,
    }
    for name, make in makers.items():
        if name not in named:
            torch.manual_seed(0)
            named[name] = root / f"{name}.pth"
            torch.save(make().state_dict(), named[name])
    return named


@contextmanager
def one_after_the_other() -> Iterator[None]:
    """Within: an image is read when it is asked for, as it was before images were read ahead."""
    room, blocks.PIXELS_AHEAD = blocks.PIXELS_AHEAD, 1
    try:
        yield
    finally:
        blocks.PIXELS_AHEAD = room


def seconds(run: Callable[[], object]) -> float:
    """Wall time of a call."""
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


class Check:
    """Runs over the same photos under different options."""

    def __init__(self, root: Path, arguments: argparse.Namespace) -> None:
        write_photos(root, arguments.images)
        self.root, self.device, self.network = root, arguments.device, arguments.network
        self.weights = write_weights(root, arguments.network, arguments.weights)
        self.n_images = 2 * arguments.images
        photos = sorted(path.name for path in (root / "truth").iterdir())
        self.few = root / "few.txt"
        self.few.write_text("\n".join(photos[:N_BOTH]), encoding="utf-8")

    def scores(self, metrics: Sequence[str], images: Path | None = None, workers: int = 1, **changed: Any) -> Scores:
        """Score some photos, or all."""
        options = {"device": self.device, **changed}
        networks = NetworkOptions(labels="names", cache=None, weights=self.weights, **options)
        methods = {"mine": self.root / "mine"}
        return score(
            self.root / "truth",
            methods,
            images=images,
            metrics=metrics,
            networks=networks,
            n_bootstrap=0,
            workers=workers,
        )

    def numbers(self, **changed: Any) -> dict[str, np.ndarray]:
        """What a run over the few stores of each pair, and FID and KID of these."""
        per_pair = (f"{self.network}_top1", "lpips_alex")
        scores = self.scores((*per_pair, "fid", "kid"), self.few, **changed)
        columns = (f"{self.network}_class", f"{self.network}_probability", "lpips_alex")
        values = {name: scores.per_image[name].to_numpy(zero_copy_only=False) for name in columns}
        of_sets = {name: np.array([scores["mine", name].value]) for name in ("fid", "kid")}
        counts = [re.search(r"^method mine: .* first class of (\d+) of", text) for text in scores.warnings]
        return {**values, **of_sets, "in doubt": np.array([float(count[1]) for count in counts if count])}

    def rate(self, metric: str, workers: int = 1, **changed: Any) -> float:
        """Images per second of a run over all, loading and decoding included."""
        return self.n_images / seconds(lambda: self.scores((metric,), workers=workers, **changed))

    def bare_rate(self, network: Callable[[Any], Any], shape: tuple[int, ...], order: torch.memory_format) -> float:
        """Images per second of a network alone, on tensors that are ready on its device, in the order and the numbers of a run."""
        import torch

        device = choose_device(self.device)
        ready = torch.rand(chosen_batch_size(None, device), *shape, device=device).to(memory_format=order)
        n_batches = max(1, self.n_images // len(ready))

        def run() -> None:
            with torch.inference_mode():
                for _ in range(n_batches):
                    network(ready)
            if device.type == "cuda":
                torch.cuda.synchronize(device)

        with one_thread():  # without it a GPU would multiply in TF32, which a run does not
            run()  # chooses algorithms
            return n_batches * len(ready) / seconds(run)

    def by_torchrun(self, processes: int) -> tuple[float, bool]:
        """Images per second of several processes, and whether their scores are those of one process to the bit."""
        metrics = f"{self.network}_top1,fid"

        def command(out: str) -> list[str]:
            words = ["-m", "evalkit", "score", "--quiet", "--truth", self.root / "truth", "--method"]
            words += [f"mine={self.root / 'mine'}", "--metrics", metrics, "--labels", "names", "--bootstrap", "0"]
            words += ["--no-cache", "--device", self.device, "--out", self.root / out]
            return [str(word) for word in words] + [
                word for name, path in self.weights.items() for word in ("--weights", f"{name}={path}")
            ]

        launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
        many = [sys.executable, *launcher, *command("torchrun"), "--executor", "torchrun"]
        subprocess.run([sys.executable, *command("one"), "--workers", "1"], check=True)
        spent = seconds(lambda: subprocess.run(many, check=True))
        one, torchrun = ((self.root / name / "summary.csv").read_bytes() for name in ("one", "torchrun"))
        return self.n_images / spent, one == torchrun


def main() -> None:
    """Run and print."""
    import torch

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--images", type=int, default=512)
    parser.add_argument("--network", default="resnet50", help="a classifier of torchvision")
    parser.add_argument("--processes", type=int, help="of torchrun; by default one per GPU, and at least 2")
    parser.add_argument("--weights", action="append", default=[], help="NAME=FILE; seeded ones without")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    device, network = choose_device(arguments.device), arguments.network
    n_gpus = torch.cuda.device_count()
    processes = arguments.processes or max(2, n_gpus)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    with tempfile.TemporaryDirectory() as temporary:
        check = Check(Path(temporary), arguments)
        on_cpu = check.numbers(device="cpu")
        on_device, again = (check.numbers() for _ in range(2))
        bf16 = check.numbers(precision="bf16")
        same_class = float((on_cpu[f"{network}_class"] == on_device[f"{network}_class"]).mean())
        top1_of_bf16 = float((on_device[f"{network}_class"] == bf16[f"{network}_class"]).mean())
        repeats = all(np.array_equal(on_device[key], again[key], equal_nan=True) for key in on_device)

        metric = f"{network}_top1"
        options = NetworkOptions(device=arguments.device, weights=check.weights)
        classifier = Classifier(network, options)
        bare = check.bare_rate(classifier.module, (3, 224, 224), torch.channels_last)
        bare_inception = check.bare_rate(inception().eval().to(device), (3, 299, 299), torch.contiguous_format)
        with one_after_the_other():
            plain = check.rate(metric)
        ahead, of_workers, of_fid = check.rate(metric), check.rate(metric, workers=4), check.rate("fid")
        of_bf16 = check.rate(metric, precision="bf16")
        of_torchrun, is_same = check.by_torchrun(processes)
    rows = [
        ("same class as on the CPU", f"{100 * same_class:.1f} %"),
        *(
            (f"largest difference to the CPU, {key}", f"{np.nanmax(np.abs(on_cpu[key] - on_device[key])):.1e}")
            for key in on_cpu
            if not key.endswith("_class") and key != "in doubt"
        ),
        ("a second run on the device gives the same bits", "yes" if repeats else "no"),
        ("top-1 of a run in bf16 equal to that of fp32", f"{100 * top1_of_bf16:.1f} %"),
        (f"of {min(N_BOTH, arguments.images)} colorizations classified again in fp32", f"{bf16['in doubt'][0]:.0f}"),
        *((f"{key.upper()} of bf16, fp32", f"{bf16[key][0]:.5g}, {on_device[key][0]:.5g}") for key in ("fid", "kid")),
        (f"bare {network}, images/s", f"{bare:.1f}"),
        ("run with one worker, each image read when asked for, images/s", f"{plain:.1f}"),
        ("run with one worker, images read ahead, images/s", f"{ahead:.1f}"),
        ("share of the bare network", f"{ahead / bare:.2f}"),
        ("run with four workers, images/s", f"{of_workers:.1f}"),
        ("run with one worker in bf16, images/s", f"{of_bf16:.1f}"),
        ("bare Inception, images/s", f"{bare_inception:.1f}"),
        ("FID with one worker, images/s", f"{of_fid:.1f}"),
        ("share of the bare Inception", f"{of_fid / bare_inception:.2f}"),
        (f"top-1 and FID on {processes} processes of torchrun, their start included, images/s", f"{of_torchrun:.1f}"),
        ("these give the bits of one process", "yes" if is_same else "no"),
    ]
    lines = [
        f"# {network}, LPIPS, FID and KID on {device} ({name}), torch {torch.__version__}, {check.n_images} images, "
        f"{os.cpu_count()} cores, {n_gpus} GPUs, weights: {', '.join(arguments.weights) or 'seeded'}",
        "",
        "| | |",
        "|---|---:|",
        *(f"| {title} | {value} |" for title, value in rows),
    ]
    text = "\n".join(lines) + "\n"
    print(text, end="")
    if arguments.out:
        arguments.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
