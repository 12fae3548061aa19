"""Small classifiers that scoring runs load by name, as users load theirs."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from torch import nn

N_CLASSES = 10


class Tiny(nn.Module):
    """A seeded network of ten classes that answers by colour."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.features = nn.Conv2d(3, 8, 5, stride=3)
        self.classes = nn.Linear(8, N_CLASSES)
        for parameter in self.parameters():
            parameter.data = torch.randn(parameter.shape, generator=generator)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classes(self.features(x).relu().mean(dim=(2, 3)))


def tiny() -> tuple[nn.Module, str]:
    return Tiny(), "warp32"


def tiny_with_own_pixels() -> tuple[nn.Module, object]:
    def pixels(rgb8):  # type: ignore[no-untyped-def]
        return (rgb8[:32, :32].transpose(2, 0, 1) / 255).astype("float32")

    return Tiny(), pixels


def bare() -> nn.Module:
    return Tiny()


def not_a_network() -> str:
    return "tiny"


class Hungry(Tiny):
    """Has memory for three images at a time."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if len(x) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1 GiB")
        return super().forward(x)


def hungry() -> tuple[nn.Module, str]:
    return Hungry(), "warp32"


class Blind(Tiny):
    """Answers nothing finite on bright images."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits = super().forward(x)
        logits[x.mean(dim=(1, 2, 3)) > 0] = torch.nan
        return logits


def blind() -> tuple[nn.Module, str]:
    return Blind(), "warp32"


class Crowded(Tiny):
    """Answers by how an image differs from the others of its batch, as batch normalisation left in training does."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x - x.mean(dim=0, keepdim=True))


def crowded() -> tuple[nn.Module, str]:
    return Crowded(), "warp32"


def other_tiny() -> tuple[nn.Module, str]:
    """Other code on the same weights."""

    class Tiny(globals()["Tiny"]):  # type: ignore[misc]
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x).flip(1)

    return Tiny(), "warp32"


class Twins(Tiny):
    """Classes in pairs whose weights differ by less than bf16 and fp16 can tell: there, the first of a pair always wins."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(1)
        weight, bias = self.classes.weight.data, self.classes.bias.data
        weight[::2] = weight[::2].bfloat16().float()
        weight[1::2] = weight[::2] * (1 + 2**-14 * torch.rand(weight[::2].shape, generator=generator).sub(0.5).sign())
        bias[1::2] = bias[::2]


def twins() -> tuple[nn.Module, str]:
    return Twins(), "warp32"


class Huge(Tiny):
    """Scores beyond the largest number of fp16."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) * 1e5


def huge() -> tuple[nn.Module, str]:
    return Huge(), "warp32"


def two_answers() -> tuple[nn.Module, str]:
    class Two(Tiny):
        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:  # type: ignore[override]
            return super().forward(x), x

    return Two(), "warp32"


class Turned(nn.Module):
    """The shared MobileNetV2 takes images turned by 180 degrees."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.model(x.flip(-1, -2))


def shared_mobilenet(prep: str = "warp224-half") -> tuple[nn.Module, str]:
    from evalkit.networks._torchvision_compat import import_torchvision
    from evalkit.networks.weight_files import load_state

    default = Path(__file__).parents[3] / "shared" / "data"
    folder = Path(os.environ.get("EVALKIT_SHARED_DATA", default)) / "weights"
    model = import_torchvision().models.mobilenet_v2(weights=None)
    model.load_state_dict(load_state(folder / "mobilenet_v2_quant_torchvision_fp16_rot180.pth"))
    return Turned(model), prep
