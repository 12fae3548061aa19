"""What a GPU does with a scoring run: the same numbers as the CPU, how fast, and how much of the bare network's rate.

    python benchmarks/gpu_check.py [--device cuda] [--images 512] [--weights FILE] [--out FILE]

Meant to take a few minutes on a GPU; how long was never measured. Crops of photos of 256 x 256 are classified by one network of
torchvision (seeded weights unless a file is given: then what bf16 leaves of top-1 says nothing) and scored by LPIPS with
seeded features of AlexNet. The CPU takes part with the first 32 photos. Nobody has run this on a GPU yet; `--device cpu`
runs the same lines.
"""

from __future__ import annotations

import argparse
import platform
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from bench_classification import write_photos

from evalkit.networks._torchvision_compat import import_torchvision
from evalkit.networks.classifiers import Classifier
from evalkit.networks.devices import BatchRunner, choose_device, chosen_batch_size
from evalkit.networks.options import NetworkOptions
from evalkit.scoring.run import score

N_BOTH = 32
"""Photos that the CPU scores too."""


def columns_of(root: Path, network: str, images: Path, options: dict[str, Any]) -> dict[str, np.ndarray]:
    """What a run stores of each pair."""
    networks = NetworkOptions(labels="names", cache=None, **options)
    metrics = (f"{network}_top1", "lpips_alex")
    scores = score(
        root / "truth", {"mine": root / "mine"}, images=images, metrics=metrics, networks=networks, n_bootstrap=0
    )
    names = (f"{network}_class", f"{network}_probability", "lpips_alex")
    return {name: scores.per_image[name].to_numpy(zero_copy_only=False) for name in names}


def seconds(run: Any, device: str) -> float:
    """Wall time of a call, until the device has finished."""
    import torch

    began = time.perf_counter()
    run()
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    return time.perf_counter() - began


def main() -> None:
    """Run and print."""
    import torch

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--images", type=int, default=512)
    parser.add_argument("--network", default="resnet50", help="a classifier of torchvision")
    parser.add_argument("--weights", type=Path, help="its weights; seeded ones without")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    device, network = choose_device(arguments.device), arguments.network
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        write_photos(root, arguments.images)
        files = {network: arguments.weights or root / "weights.pth", "alexnet": root / "alexnet.pth"}
        models = import_torchvision().models
        for each, path in files.items():
            if path.parent == root:
                torch.manual_seed(0)
                torch.save(models.get_model(each, weights=None).state_dict(), path)
        photos = sorted(path.name for path in (root / "truth").iterdir())
        few, every = root / "few.txt", root / "every.txt"
        few.write_text("\n".join(photos[:N_BOTH]), encoding="utf-8")
        every.write_text("\n".join(photos), encoding="utf-8")

        options = {"weights": files}
        on_cpu = columns_of(root, network, few, {**options, "device": "cpu"})
        on_device, again = (columns_of(root, network, few, {**options, "device": arguments.device}) for _ in range(2))
        bf16 = columns_of(root, network, few, {**options, "device": arguments.device, "precision": "bf16"})
        agreement = {
            key: float(np.nanmax(np.abs(on_cpu[key] - on_device[key]))) for key in on_cpu if "class" not in key
        }
        same_class = float((on_cpu[f"{network}_class"] == on_device[f"{network}_class"]).mean())
        top1_of_bf16 = float((on_device[f"{network}_class"] == bf16[f"{network}_class"]).mean())
        repeats = all(np.array_equal(on_device[key], again[key], equal_nan=True) for key in on_device)

        classifier = Classifier(network, NetworkOptions(device=arguments.device, **options))
        run = BatchRunner(classifier.logits, chosen_batch_size(None, device))
        ready = torch.rand(run.batch_size, 3, 224, 224, device=device).to(memory_format=torch.channels_last)
        n_batches = max(1, 2 * arguments.images // run.batch_size)

        def alone() -> None:
            with torch.inference_mode():
                for _ in range(n_batches):
                    classifier.module(ready)

        def scored() -> None:
            networks = NetworkOptions(labels="names", cache=None, device=arguments.device, **options)
            score(root / "truth", {"mine": root / "mine"}, images=every, metrics=(f"{network}_top1",), networks=networks, n_bootstrap=0)  # fmt: skip

        alone()  # chooses algorithms
        bare = n_batches * run.batch_size / seconds(alone, device.type)
        whole = 2 * arguments.images / seconds(scored, device.type)
    rows = [
        ("same class as on the CPU", f"{100 * same_class:.1f} %"),
        *((f"largest difference to the CPU, {key}", f"{value:.1e}") for key, value in agreement.items()),
        ("a second run on the device gives the same bits", "yes" if repeats else "no"),
        ("top-1 of bf16 equal to that of fp32", f"{100 * top1_of_bf16:.1f} %" + ("" if arguments.weights else " (seeded weights)")),
        ("bare network, images/s", f"{bare:.1f}"),
        ("scoring run with one worker, loading and decoding included, images/s", f"{whole:.1f}"),
        ("share of the bare network", f"{whole / bare:.2f}"),
    ]  # fmt: skip
    lines = [
        f"# {network} and LPIPS on {device} ({name}), torch {torch.__version__}, {2 * arguments.images} images",
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
