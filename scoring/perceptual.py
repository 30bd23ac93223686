"""LPIPS v0.1 (Zhang et al. 2018), AlexNet and VGG16, read from one safetensors file.

Images are (..., 3, H, W) in [0, 1]. The networks never learn; gradients reach the images, so the
same module is a score and a training loss.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor, nn

from utils.errors import InputError
from utils.files import reading

WEIGHTS_VARIABLE = "LPIPS_WEIGHTS"  # environment variable holding the path of a weights file
DEFAULT_WEIGHTS = Path(__file__).resolve().parents[1] / "data" / "weights" / "lpips.safetensors"
HOW_TO_GET = "run python scripts/get_lpips_weights.py"
MIN_SIDE = 32  # pixels; AlexNet's three strides leave nothing of less

# ImageNet statistics on the [-1, 1] scale: 2 * mean - 1 and 2 * std of each channel, rounded as
# LPIPS v0.1 has them.
SHIFT = (-0.030, -0.088, -0.188)
SCALE = (0.458, 0.448, 0.450)


class Lpips(nn.Module):
    """Distance of deep features: unit length per pixel, squared, weighted, averaged, summed.

    `slices` are the trunk cut at the five compared layers, `heads` their non-negative channel
    weights (C,). `load_lpips` builds it; a fresh one has zero heads and random convolutions.
    """

    def __init__(self, net: str):
        super().__init__()
        if net not in TRUNKS:
            raise ValueError(f"no LPIPS network {net!r}; there are {', '.join(TRUNKS)}")
        self.slices = nn.ModuleList(TRUNKS[net]())
        widths = [_convolutions(part)[-1].out_channels for part in self.slices]
        self.heads = nn.ParameterList(torch.zeros(width) for width in widths)
        self.register_buffer("shift", torch.tensor(SHIFT).view(3, 1, 1), persistent=False)
        self.register_buffer("scale", torch.tensor(SCALE).view(3, 1, 1), persistent=False)
        self.requires_grad_(False)

    def forward(self, image: Tensor, truth: Tensor, *, rescale: bool = True) -> Tensor:
        """LPIPS of (..., 3, H, W) images in [0, 1], (...,); 0 for equal images, larger is worse.

        `rescale=False` feeds [0, 1] where the network expects [-1, 1], as the 3DGS family's
        metrics do; their published tables compare only with that.
        """
        _check_pair(image, truth)
        distance = image.new_zeros(image.shape[:-3])
        features = zip(self.features(image, rescale), self.features(truth, rescale), strict=True)
        for head, (a, b) in zip(self.heads, features, strict=True):
            difference = (_unit(a) - _unit(b)).square() * head.view(-1, 1, 1)
            distance = distance + difference.sum(dim=1).mean(dim=(-2, -1)).view_as(distance)
        return distance

    def convolutions(self) -> list[nn.Conv2d]:
        """The trunk's convolutions, first to last."""
        return [conv for part in self.slices for conv in _convolutions(part)]

    def features(self, image: Tensor, rescale: bool = True) -> list[Tensor]:
        """Activations after each of the five compared layers, "B C h w"; `rescale` as in
        `forward`."""
        x = image.reshape(-1, *image.shape[-3:])
        x = ((2.0 * x - 1.0 if rescale else x) - self.shift) / self.scale
        features = []
        for part in self.slices:
            x = part(x)
            features.append(x)
        return features


def find_weights(path: Path | None = None) -> Path | None:
    """The weights file: `path`, else the one LPIPS_WEIGHTS names, else the default if it is there.

    None where only the default was looked for and is missing; a file asked for by name that is
    missing raises an `InputError`.
    """
    named = path or os.environ.get(WEIGHTS_VARIABLE)
    if named:
        if not Path(named).is_file():
            origin = "--lpips_weights" if path else WEIGHTS_VARIABLE
            raise InputError(f"{named}: no such LPIPS weights file ({origin}); {HOW_TO_GET}")
        return Path(named)
    return DEFAULT_WEIGHTS if DEFAULT_WEIGHTS.is_file() else None


def load_lpips(path: Path | None, net: str) -> Lpips:
    """LPIPS with `net` "alex" or "vgg", its weights found by `find_weights(path)`.

    Raises `InputError` where there is no file, or it is damaged, or lacks a tensor.
    """
    found = find_weights(path)
    if found is None:
        raise InputError(f"{DEFAULT_WEIGHTS}: no LPIPS weights there; {HOW_TO_GET}")
    lpips = Lpips(net)
    with reading(found, "an LPIPS weights file", HOW_TO_GET):
        with safe_open(found, framework="pt") as file:
            names = set(file.keys())
            missing = [name for name in lpips.state_dict() if f"{net}.{name}" not in names]
            if missing:
                raise InputError(f"{found}: no tensor '{net}.{missing[0]}'; {HOW_TO_GET}")
            state = {name: file.get_tensor(f"{net}.{name}") for name in lpips.state_dict()}
        lpips.load_state_dict(state)
    return lpips


def _alex() -> list[nn.Sequential]:
    """Krizhevsky 2014, "One weird trick": the five convolutions, each read after its ReLU."""

    def conv(inputs: int, outputs: int, kernel: int, stride: int, padding: int) -> list[nn.Module]:
        return [nn.Conv2d(inputs, outputs, kernel, stride, padding), nn.ReLU()]

    return [
        nn.Sequential(*conv(3, 64, 11, 4, 2)),
        nn.Sequential(nn.MaxPool2d(3, 2), *conv(64, 192, 5, 1, 2)),
        nn.Sequential(nn.MaxPool2d(3, 2), *conv(192, 384, 3, 1, 1)),
        nn.Sequential(*conv(384, 256, 3, 1, 1)),
        nn.Sequential(*conv(256, 256, 3, 1, 1)),
    ]


def _vgg() -> list[nn.Sequential]:
    """Simonyan and Zisserman 2015, configuration D, read after the last ReLU of each block."""
    slices, inputs = [], 3
    for width, depth in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        layers: list[nn.Module] = [nn.MaxPool2d(2)] if slices else []
        for _ in range(depth):
            layers += [nn.Conv2d(inputs, width, 3, padding=1), nn.ReLU()]
            inputs = width
        slices.append(nn.Sequential(*layers))
    return slices


TRUNKS: dict[str, Callable[[], list[nn.Sequential]]] = {"alex": _alex, "vgg": _vgg}


def _convolutions(part: nn.Sequential) -> list[nn.Conv2d]:
    return [layer for layer in part if isinstance(layer, nn.Conv2d)]


def _unit(features: Tensor) -> Tensor:
    """Unit length over channels; an all-zero pixel stays zero, and so does its gradient."""
    return nn.functional.normalize(features, dim=1, eps=1e-10)


def _check_pair(image: Tensor, truth: Tensor) -> None:
    if image.shape != truth.shape or image.ndim < 3 or image.shape[-3] != 3:
        raise ValueError(
            "LPIPS needs two images of one shape '*B 3 H W', "
            f"got {tuple(image.shape)} and {tuple(truth.shape)}"
        )
    if min(image.shape[-2:]) < MIN_SIDE:
        height, width = image.shape[-2:]
        raise ValueError(f"LPIPS needs sides of at least {MIN_SIDE} pixels, got {width}x{height}")
