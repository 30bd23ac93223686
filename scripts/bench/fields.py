"""Time fused_fields against the plain PyTorch forms, side by side in one run.

    python scripts/bench/fields.py [--device cpu] [--repeats 20] [--json output/bench_fields.json]

Each line is the median of forward + backward, and of the two apart; the two forms of a line take
turns, so that other work on the machine slows both. The exit code does not depend on the times.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import utils.threads  # isort: skip  # noqa: F401  (must come before torch)

import argparse
import statistics
from collections.abc import Callable, Sequence
from itertools import pairwise

import fused_fields
import torch
from fused_fields import HEXPLANE_PAIRS, reference
from torch import Tensor, nn

from scripts.bench.timing import WARM_UP, Tick, machine, print_table, save
from utils.devices import choose_device, clock
from utils.errors import run_command

Step = Callable[..., None]  # step(tick): ticks "forward" and "backward"
COLUMNS = {
    "forward + backward": "what", "fused": "fused_ms", "torch": "torch_ms", "ratio": "ratio",
    "fused forward": "fused_forward_ms", "backward": "fused_backward_ms",
    "torch forward": "torch_forward_ms", " backward": "torch_backward_ms",
}  # fmt: skip
# (resolution x y z t, level multipliers of x y z, channels, points): the D-NeRF setting of 4DGS
FIELD = ((64, 64, 64, 25), (1, 2), 32, 30_000)
MLP = (64, 64, (3, 3, 4))  # features, width, outputs of the heads: the same setting
BASES = (20, 14)  # of a Gaussian, numbers of a base: a head in `scene/methods/blendshapes.py`
OCTAVES = 10  # of encoded positions: `scene/methods/gaussianhead.py`
BONES = 6  # of a head and the ghost: `scene/deformation/skinning.py`
IMAGE, LARGE = (3, 400, 400), (3, 800, 800)


def forward_backward(
    forward: Callable[[], Tensor | list[Tensor]],
    wanted: Sequence[Tensor],
    upstream: Tensor | list[Tensor] | None = None,
) -> Step:
    """A step: `forward`, then the gradients that `wanted` get."""

    def step(tick: Tick = lambda part: None) -> None:
        found = forward()
        tick("forward")
        torch.autograd.grad(found, wanted, upstream)
        tick("backward")

    return step


def make_planes(channels: int, multipliers: tuple[int, ...]) -> list[list[Tensor]]:
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

    def both(time: float | Tensor) -> tuple[Step, Step]:
        def slow() -> Tensor:
            if isinstance(time, float):
                return reference.plane_features(planes, points, pairs=HEXPLANE_PAIRS, time=time)
            joined = torch.cat([points, time], dim=1)
            return reference.plane_features(planes, joined, pairs=HEXPLANE_PAIRS)

        def fast() -> Tensor:
            return fused_fields.plane_features(planes, points, time=time)

        wanted = [points, *flat]
        return forward_backward(fast, wanted, upstream), forward_backward(slow, wanted, upstream)

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
        return forward_backward(lambda: mlp(features, [first], second, heads), wanted, upstream)

    return {"deformation MLP": (step(fused_fields.offset_mlp), step(reference.offset_mlp))}


def bases_steps() -> dict[str, tuple[Step, Step]]:
    """Name -> (fused, PyTorch) steps of the sums of linear bases."""
    bases = torch.randn(FIELD[3], *BASES, requires_grad=True)
    weights = torch.randn(*BASES, requires_grad=True)
    upstream = torch.randn(FIELD[3], BASES[1])

    def step(mix: Callable) -> Step:
        return forward_backward(lambda: mix(bases, weights), [bases, weights], upstream)

    return {"linear bases": (step(fused_fields.mix_bases), step(reference.mix_bases))}


def skin_steps() -> dict[str, tuple[Step, Step]]:
    """Name -> (fused, PyTorch) steps of skinning canonical points whose bones are known."""
    n, learned = FIELD[3], [torch.randn(FIELD[3], 3), torch.zeros(FIELD[3], 3)]
    learned += [torch.randn(n, BONES).softmax(1), torch.randn(n, 4)]
    points = [tensor.requires_grad_() for tensor in learned]
    bones = [torch.eye(3, 4) + 0.1 * torch.randn(BONES, 3, 4) for _ in range(2)]
    turns = torch.randn(BONES, 4).abs()
    upstream = [torch.randn(n, 3), torch.randn(n, 4)]

    def step(skin: Callable) -> Step:
        return forward_backward(lambda: skin(*points, bones[0], turns, bones[1]), points, upstream)

    return {"skinning": (step(fused_fields.skin), step(reference.skin))}


def penalty_steps() -> dict[str, tuple[Step, Step]]:
    """Name -> (fused, PyTorch) steps of the plane regularisers, all terms of all planes."""
    _, multipliers, channels, _ = FIELD
    planes = [plane for level in make_planes(channels, multipliers) for plane in level]
    grads = [torch.zeros_like(plane) for plane in planes]

    def step(add: Callable, weights: Sequence) -> Step:
        def whole(tick: Tick = lambda part: None) -> None:
            tick("forward")  # one pass does both
            add(planes, grads, weights)
            tick("backward")

        return whole

    fused = step(fused_fields.add_plane_penalties, [[1.0] * 3] * len(planes))
    slow = step(reference.add_plane_penalties, [1.0] * 3 * len(planes))
    return {"plane penalties": (fused, slow)}


def ssim_steps() -> dict[str, tuple[Step, Step]]:
    """Name -> (fused, PyTorch) steps of SSIM with a gradient to the first image."""
    a, b = torch.rand(IMAGE, requires_grad=True), torch.rand(IMAGE)

    def step(ssim: Callable) -> Step:
        return forward_backward(lambda: ssim(a, b), [a])

    return {"SSIM 400 x 400 x 3": (step(fused_fields.ssim), step(reference.ssim))}


def column_steps() -> dict[str, tuple[Step, Step]]:
    """Name -> (fused, PyTorch) steps of what is drawn of a table's columns, SH of degree 3."""
    shapes = ((4,), (3,), (1,), (1, 3), (15, 3))
    columns = [torch.randn(FIELD[3], *shape, requires_grad=True) for shape in shapes]
    upstream = [torch.randn(FIELD[3], *shape) for shape in ((4,), (3,), (1,), (16, 3))]

    def step(activate: Callable) -> Step:
        return forward_backward(lambda: activate(*columns, 16), columns, upstream)

    return {"columns activated": (step(fused_fields.activate), step(reference.activate))}


def turn_steps() -> dict[str, tuple[Step, Step]]:
    """Name -> (fused, PyTorch) steps of four turned copies of every point."""
    leaves = [torch.randn(FIELD[3], *shape, requires_grad=True) for shape in ((3,), (4, 4))]
    upstream = torch.randn(4, FIELD[3], 3)

    def step(turn: Callable) -> Step:
        return forward_backward(lambda: turn(*leaves), leaves, upstream)

    return {"turned copies": (step(fused_fields.turn_copies), step(reference.turn_copies))}


def encode_steps() -> dict[str, tuple[Step, Step]]:
    """Name -> (fused, PyTorch) steps of the encoding of positions with ten octaves."""
    points = (2 * torch.rand(FIELD[3], 3) - 1).requires_grad_()
    upstream = torch.randn(FIELD[3], 3 + 6 * OCTAVES)

    def step(encode: Callable) -> Step:
        return forward_backward(lambda: encode(points, OCTAVES), [points], upstream)

    return {"encoded positions": (step(fused_fields.encode), step(reference.encode))}


def error_steps() -> dict[str, tuple[Step, Step]]:
    """Name -> (fused, PyTorch) steps of L1 + L2 with a gradient to the first image."""
    a, b = torch.rand(LARGE, requires_grad=True), torch.rand(LARGE)

    def step(error: Callable) -> Step:
        return forward_backward(lambda: error(a, b, squared=False) + error(a, b, squared=True), [a])

    return {"L1 + L2 800 x 800 x 3": (step(fused_fields.mean_error), step(reference.mean_error))}


def measure(fused: Step, plain: Step, device: torch.device, repeats: int) -> dict[str, float]:
    """Median milliseconds of two steps that take turns, whole and in parts, and their ratio."""
    forms: dict[str, tuple[Step, list[list[float]]]] = {"fused": (fused, []), "torch": (plain, [])}
    for _ in range(WARM_UP + repeats):
        for step, kept in forms.values():
            at = [clock(device)]
            step(lambda part, at=at: at.append(clock(device)))
            kept.append([1e3 * (after - before) for before, after in pairwise(at)])
    row = {}
    for name, (_, kept) in forms.items():
        forward, backward = zip(*kept[WARM_UP:], strict=True)
        row[f"{name}_ms"] = statistics.median(map(sum, kept[WARM_UP:]))
        row[f"{name}_forward_ms"] = statistics.median(forward)
        row[f"{name}_backward_ms"] = statistics.median(backward)
    return row | {"ratio": row["torch_ms"] / row["fused_ms"]}


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="auto")
    parser.add_argument("--repeats", type=int, default=20, help="timed steps per line (20)")
    parser.add_argument("--json", type=Path, help="write the table to this file too")
    args = parser.parse_args(argv)
    device = choose_device(args.device)
    torch.manual_seed(0)
    with torch.device(device):
        steps = lookup_steps() | mlp_steps() | bases_steps() | skin_steps()
        steps |= penalty_steps() | ssim_steps() | column_steps() | turn_steps() | error_steps()
        steps |= encode_steps()
    report = machine(device) | {"kernels": fused_fields.variant()}
    print(f"{report['device']}, {report['kernels']} kernels, load {report['load']}")
    rows = [
        {"what": name} | measure(fused, plain, device, args.repeats)
        for name, (fused, plain) in steps.items()
    ]
    print_table(rows, COLUMNS)
    if args.json:
        save(args.json, report | {"rows": rows})


if __name__ == "__main__":
    run_command(lambda: main(sys.argv[1:]), debug="--debug" in sys.argv)
