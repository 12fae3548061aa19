"""torchvision imports, and what the classifiers need of it works, beside whichever torch is installed."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import require

FAILURE = "operator torchvision::nms does not exist"


@pytest.fixture(scope="module")
def torchvision():
    for package in ("torch", "torchvision"):
        require(importlib.util.find_spec(package) is not None, f"{package} is not installed (the extra `networks`)")
    from evalkit.networks._torchvision_compat import import_torchvision

    return import_torchvision()


def run_python(code: str, path: Path) -> subprocess.CompletedProcess[str]:
    """Run code in a fresh interpreter that finds the modules in `path` before any installed ones."""
    program = f"import sys; sys.path.insert(0, {str(path)!r})\n{code}"
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)


def stand_in(folder: Path, name: str, source: str) -> None:
    (folder / name).mkdir()
    (folder / name / "__init__.py").write_text(source)


@pytest.mark.parametrize(("name", "size"), [("squeezenet1_0", 227), ("mobilenet_v2", 224)])
def test_classifiers_build_and_answer(torchvision, name, size):
    import torch

    model = getattr(torchvision.models, name)(weights=None).eval()
    with torch.inference_mode():
        logits = model(torch.zeros(2, 3, size, size))
    assert logits.shape == (2, 1000)
    assert torch.isfinite(logits).all()


def test_vgg16_builds_with_the_layers_of_the_published_weights(torchvision):
    import torch

    model = torchvision.models.vgg16(weights=None, init_weights=False).eval()
    shapes = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    assert len(shapes) == 32
    assert shapes["features.28.weight"] == (512, 512, 3, 3)
    assert shapes["classifier.6.weight"] == (1000, 4096)
    with torch.inference_mode():
        assert model.features(torch.zeros(1, 3, 64, 64)).shape == (1, 512, 2, 2)


def test_antialiased_bilinear_resize_agrees_with_pillow(torchvision, photos):
    import torch
    from PIL import Image
    from torchvision.transforms.v2.functional import resize

    photo = photos["astronaut"]
    tensor = torch.from_numpy(photo).permute(2, 0, 1)
    ours = resize(tensor, [256, 256], antialias=True)
    pillow = np.asarray(Image.fromarray(photo).resize((256, 256), Image.Resampling.BILINEAR), dtype=int)
    assert np.abs(ours.permute(1, 2, 0).numpy().astype(int) - pillow).max() <= 1


def test_a_second_import_returns_the_same_package(torchvision):
    from evalkit.networks._torchvision_compat import import_torchvision

    assert import_torchvision() is torchvision is sys.modules["torchvision"]


def test_nothing_is_declared_where_torchvision_imports_by_itself(tmp_path):
    stand_in(tmp_path, "torchvision", "answer = 42")
    result = run_python(
        "from evalkit.networks import _torchvision_compat as compat\n"
        "print(compat.import_torchvision().answer, compat._declared, 'torch' in sys.modules)",
        tmp_path,
    )
    assert result.stdout.split() == ["42", "[]", "False"], result.stderr


def test_the_schemas_are_declared_once_and_kept_when_the_operator_is_missing(tmp_path):
    # A torch that records what is declared, and a torchvision that fails until it was.
    stand_in(tmp_path, "torch", "declared = []")
    (tmp_path / "torch" / "library.py").write_text(
        "import torch\n"
        "class Library:\n"
        "    def __init__(self, namespace, kind): self.label = (namespace, kind)\n"
        "    def define(self, schema): torch.declared.append(self.label + (schema.split('(')[0],))\n"
    )
    stand_in(tmp_path, "torchvision", f"import torch\nif not torch.declared: raise RuntimeError({FAILURE!r})")
    result = run_python(
        "from evalkit.networks import _torchvision_compat as compat\n"
        "compat.import_torchvision(); compat.import_torchvision()\n"
        "import torch; print(torch.declared, len(compat._declared))",
        tmp_path,
    )
    expected = [("torchvision", "FRAGMENT", "nms"), ("torchvision", "FRAGMENT", "qnms")]
    assert result.stdout.strip() == f"{expected} 1", result.stderr


def test_any_other_failure_is_passed_on(tmp_path):
    stand_in(tmp_path, "torchvision", "raise RuntimeError('the disk is on fire')")
    result = run_python("from evalkit.networks._torchvision_compat import *; import_torchvision()", tmp_path)
    assert result.returncode == 1
    assert "RuntimeError: the disk is on fire" in result.stderr


def test_absence_is_said_in_a_plain_sentence(tmp_path):
    stand_in(tmp_path, "torchvision", "raise ModuleNotFoundError('no torch', name='torch')")
    result = run_python("from evalkit.networks._torchvision_compat import *; import_torchvision()", tmp_path)
    assert "InputError: torch is not installed" in result.stderr
    assert "[networks]" in result.stderr
