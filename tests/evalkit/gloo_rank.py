"""One of several processes of `test_torchmetrics.py`: takes its share of the pairs and writes what all of them make.

Usage: python gloo_rank.py RANK PAIRS.npz SHARES.json RENDEZVOUS OUT
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist


def main() -> None:
    rank, pairs, shares, rendezvous, out = int(sys.argv[1]), *map(Path, sys.argv[2:])
    torch.set_num_threads(1)
    plan = json.loads(shares.read_text())
    dist.init_process_group("gloo", init_method=f"file://{rendezvous}", rank=rank, world_size=len(plan["shares"]))
    from evalkit.networks.options import NetworkOptions
    from evalkit.torchmetrics import ScoreMetrics

    networks = NetworkOptions(weights={name: Path(path) for name, path in plan["weights"].items()}, device="cpu")
    metrics = ScoreMetrics(plan["metrics"], networks=networks)
    with np.load(pairs) as arrays:
        for i in plan["shares"][rank]:
            metrics.update(arrays[f"prediction{i}"], arrays[f"truth{i}"])
    values = {name: float(value).hex() for name, value in metrics.compute().items()}
    # Afterwards each goes on with its own.
    own = int(metrics.n_images)
    (out / f"{rank}.json").write_text(json.dumps({"values": values, "own": own}))
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
