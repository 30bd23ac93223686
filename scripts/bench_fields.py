"""Time fused_fields against the plain PyTorch forms, side by side in one run.

    python scripts/bench_fields.py [--repeats 20] [--json output/bench_fields.json]

Each line is the median of forward + backward; the two forms of a line take turns, so that other
work on the machine slows both. The exit code does not depend on the times.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import fused_fields
import torch
from fused_fields import HEXPLANE_PAIRS, reference
from torch import nn

Step = Callable[[], None]
# (resolution x y z t, level multipliers of x y z, channels, points): the D-NeRF setting of 4DGS
FIELD = ((64, 64, 64, 25), (1, 2), 32, 30_000)
MLP = (64, 64, (3, 3, 4))  # features, width, outputs of the heads: the same setting
IMAGE = (3, 400, 400)


def make_planes(channels: int, multipliers: tuple[int, ...]) -> list[list[torch.Tensor]]:
    resolution = FIELD[0]
    levels = []
    for multiplier in multipliers:
        sizes = [multiplier * n for n in resolution[:3]] + [resolution[3]]
        shapes = [(sizes[b], sizes[a], channels) for a, b in HEXPLANE_PAIRS]
        levels.append([(torch.rand(shape) * 0.4 + 0.1).requires_grad_() for shape in shapes])
    return levels


def lookup_steps() -> dict[str, tuple[Step, Step]]:
    """Name -> (fused, PyTorch) steps of the plane-field lookup."""
    _, multipliers, channels, n = FIELD
    planes = make_planes(channels, multipliers)
    flat = [plane for level in planes for plane in level]
    points = (torch.rand(n, 3) * 2 - 1).requires_grad_()
    per_point = torch.rand(n, 1) * 2 - 1
    upstream = torch.randn(n, len(multipliers) * channels)

    def both(time: float | torch.Tensor) -> tuple[Step, Step]:
        def slow() -> torch.Tensor:
            if isinstance(time, float):
                return reference.plane_features(planes, points, pairs=HEXPLANE_PAIRS, time=time)
            joined = torch.cat([points, time], dim=1)
            return reference.plane_features(planes, joined, pairs=HEXPLANE_PAIRS)

        def fast() -> torch.Tensor:
            return fused_fields.plane_features(planes, points, time=time)

        def step(lookup: Callable[[], torch.Tensor]) -> Step:
            return lambda: torch.autograd.grad(lookup(), [points, *flat], upstream)

        return step(fast), step(slow)

    return {"lookup, one time": both(0.3), "lookup, time per point": both(per_point)}


def mlp_steps() -> dict[str, tuple[Step, Step]]:
    """Name -> (fused, PyTorch) steps of the deformation MLP."""
    n_features, width, sizes = MLP
    trunk, hidden = nn.Linear(n_features, width), nn.Linear(width, width * len(sizes))
    layers = [trunk, hidden, *(nn.Linear(width, size) for size in sizes)]
    first, second, *heads = [(layer.weight, layer.bias) for layer in layers]
    features = torch.randn(FIELD[3], n_features, requires_grad=True)
    upstream = [torch.randn(FIELD[3], size) for size in sizes]
    wanted = [features, *(tensor for layer in (first, second, *heads) for tensor in layer)]

    def step(mlp: Callable) -> Step:
        return lambda: torch.autograd.grad(mlp(features, [first], second, heads), wanted, upstream)

    return {"deformation MLP": (step(fused_fields.offset_mlp), step(reference.offset_mlp))}


def penalty_steps() -> dict[str, tuple[Step, Step]]:
    """Name -> (fused, PyTorch) steps of the plane regularisers, all terms of all planes."""
    _, multipliers, channels, _ = FIELD
    planes = [plane for level in make_planes(channels, multipliers) for plane in level]

    def step(penalize: Callable) -> Step:
        return lambda: torch.autograd.grad(sum(t.sum() for t in penalize(planes)), planes)

    return {
        "plane penalties": (step(fused_fields.plane_penalties), step(reference.plane_penalties))
    }


def ssim_steps() -> dict[str, tuple[Step, Step]]:
    """Name -> (fused, PyTorch) steps of SSIM with a gradient to the first image."""
    a, b = torch.rand(IMAGE, requires_grad=True), torch.rand(IMAGE)

    def step(ssim: Callable) -> Step:
        return lambda: torch.autograd.grad(ssim(a, b), a)

    return {"SSIM 400 x 400 x 3": (step(fused_fields.ssim), step(reference.ssim))}


def measure(fused: Step, plain: Step, repeats: int) -> dict[str, float]:
    """Median milliseconds of two steps that take turns, and their ratio."""
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(repeats + 2):
        for step, kept in zip((fused, plain), times, strict=True):
            start = time.perf_counter()
            step()
            kept.append(1e3 * (time.perf_counter() - start))
    fast, slow = (statistics.median(kept[2:]) for kept in times)
    return {"fused_ms": fast, "torch_ms": slow, "ratio": slow / fast}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=20, help="timed steps per line (20)")
    parser.add_argument("--json", type=Path, help="write the table to this file too")
    args = parser.parse_args()
    torch.manual_seed(0)
    print(f"kernels: {fused_fields.variant()}, {torch.get_num_threads()} threads")
    print(f"{'forward + backward':<26}{'fused':>10}{'torch':>12}{'ratio':>9}")
    table = {}
    for name, (fused, plain) in (
        lookup_steps() | mlp_steps() | penalty_steps() | ssim_steps()
    ).items():
        row = table[name] = measure(fused, plain, args.repeats)
        print(
            f"{name:<26}{row['fused_ms']:>7.2f} ms{row['torch_ms']:>9.2f} ms{row['ratio']:>8.1f}x"
        )
    if args.json:
        report = {"kernels": fused_fields.variant(), "threads": torch.get_num_threads()}
        args.json.parent.mkdir(parents=True, exist_ok=True)
        partial = args.json.with_name(args.json.name + ".partial")
        partial.write_text(json.dumps(report | {"times": table}, indent=2) + "\n")
        os.replace(partial, args.json)


if __name__ == "__main__":
    main()
