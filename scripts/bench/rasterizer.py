"""Time the rasterizer beside its slow twin and any other rasterizer installed here.

    python scripts/bench/rasterizer.py [--device cpu] [--repeats 20] [--json results.json]
    python scripts/bench/rasterizer.py --sizes 100000@800x800 1000000@1352x1014
    python scripts/bench/rasterizer.py --sizes all --repeats 3

Rows are medians in milliseconds. The scenes: means N(0, 0.6²), log-scales N(-4.2, 0.4²), random
rotations, opacities sigmoid(N(0, 1.5²)), SH of degree 3; the camera stands 4 units away with a
focal length of 1.2 times the height. The loss weighs colour only, as training does.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import utils.threads  # isort: skip  # noqa: F401  (must come before torch)

import argparse
import re
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from itertools import product

import diff_gaussian_rasterization as rasterizer
import torch
from diff_gaussian_rasterization import ops, reference
from torch import Tensor

from scripts.bench.timing import Tick, machine, print_table, save
from scripts.bench.timing import measure as measure_step
from utils.devices import choose_device
from utils.errors import InputError, run_command

Size = tuple[int, int, int]  # Gaussians, width, height
SIZES: tuple[Size, ...] = ((50_000, 800, 800), (30_000, 400, 400))
GRID = tuple(
    (count, *image)
    for count, image in product(
        (10_000, 100_000, 1_000_000), ((512, 512), (800, 800), (1352, 1014))
    )
)
TWIN_SIZE: Size = (500, 64, 64)  # dense: time and memory grow with Gaussians times pixels
COLUMNS = {
    "": "name", "Gaussians": "gaussians", "image": "image", "forward": "forward_ms",
    "backward": "backward_ms", "both": "total_ms", "peak MiB": "peak_mib", "error": "error",
}  # fmt: skip

Draw = Callable[[dict], Tensor]  # draws a scene, returns color (3, H, W)


def make_scene(count: int, height: int, width: int | None = None) -> dict:
    """Arguments of `rasterize`; the image is square where no width is given."""
    width = width or height
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    viewmat = torch.eye(4)
    viewmat[2, 3] = 4
    focal = 1.2 * height
    learned = {
        "means": 0.6 * normal(count, 3),
        "quats": normal(count, 4),
        "scales": torch.exp(0.4 * normal(count, 3) - 4.2),
        "opacities": torch.sigmoid(1.5 * normal(count, 1)),
        "sh": 0.2 * normal(count, 16, 3),
        "means2d": torch.zeros(count, 3),
    }
    return {name: x.requires_grad_() for name, x in learned.items()} | {
        "viewmat": viewmat,
        "K": torch.tensor([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]]),
        "background": torch.ones(3),
        "sh_degree": 3,
        "width": width,
        "height": height,
    }


def draw_native(scene: dict) -> Tensor:
    return rasterizer.rasterize(**scene).color


def draw_antialiased(scene: dict) -> Tensor:
    return rasterizer.rasterize(**scene, antialiased=True).color


def draw_twin(scene: dict) -> Tensor:
    rest = {"covariances": None, "colors": None, "means2d_abs": None, "near": 0.01, "far": 100.0}
    return reference.forward(*ops.Inputs(**scene, **rest))[0]


def draw_gsplat(scene: dict) -> Tensor:
    import gsplat

    color, _, _ = gsplat.rasterization(
        scene["means"], scene["quats"], scene["scales"], scene["opacities"][:, 0], scene["sh"],
        scene["viewmat"][None], scene["K"][None], scene["width"], scene["height"],
        sh_degree=scene["sh_degree"], backgrounds=scene["background"][None],
    )  # fmt: skip
    return color[0].movedim(-1, 0)


OTHERS: dict[str, Draw] = {"gsplat": draw_gsplat}


def measure(draw: Draw, size: Size, device: torch.device, repeats: int) -> dict[str, float]:
    """Median milliseconds of forward, backward and both."""
    count, width, height = size
    scene = {
        name: x.detach().to(device).requires_grad_(x.requires_grad) if isinstance(x, Tensor) else x
        for name, x in make_scene(count, height, width).items()
    }
    leaves = [x for x in scene.values() if isinstance(x, Tensor) and x.requires_grad]
    weight = torch.randn(3, height, width, generator=torch.Generator().manual_seed(1))
    weight = weight.to(device) / (width * height)

    def step(tick: Tick) -> None:
        color = draw(scene)
        tick("forward")
        torch.autograd.grad(color, leaves, weight, allow_unused=True)
        tick("backward")

    return measure_step(step, device, repeats)


def measure_all(sizes: Sequence[Size], device: torch.device, repeats: int) -> Iterator[dict]:
    ours = f"ours ({rasterizer.variant()})" if device.type == "cpu" else "ours"
    jobs = [(ours, draw_native, size, repeats) for size in (*sizes, TWIN_SIZE)]
    jobs += [(f"{ours}, antialiased", draw_antialiased, size, repeats) for size in sizes]
    jobs.append(("slow twin", draw_twin, TWIN_SIZE, max(3, repeats // 4)))
    for name, draw in OTHERS.items():
        if find_spec(name):
            jobs += [(name, draw, size, repeats) for size in sizes]
    for name, draw, size, count in jobs:
        row = {"name": name, "gaussians": f"{size[0]:,}", "image": f"{size[1]}x{size[2]}"}
        try:
            yield row | measure(draw, size, device, count)
        except Exception as error:
            if name not in OTHERS:
                raise
            # Someone else's package, on a machine it may not support.
            yield row | {"error": str(error).splitlines()[0][:60]}


def size_of(text: str) -> Size:
    """From "50000@800x600"."""
    found = re.fullmatch(r"(\d+)@(\d+)x(\d+)", text)
    if not found:
        raise InputError(f"--sizes {text}: expected Gaussians@WIDTHxHEIGHT, such as 50000@800x600")
    count, width, height = map(int, found.groups())
    return count, width, height


def sizes_of(texts: Sequence[str]) -> tuple[Size, ...]:
    """From what --sizes got."""
    if not texts:
        return SIZES
    return GRID if list(texts) == ["all"] else tuple(map(size_of, texts))


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="auto")
    parser.add_argument("--sizes", nargs="*", default=(), help="N@WxH ..., or all")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--json", type=Path, help="also write the rows here")
    args = parser.parse_args(argv)
    torch.set_num_threads(args.threads)
    device = choose_device(args.device)
    report = machine(device)
    print(f"{report['device']}, median of {args.repeats}, load {report['load']}")
    rows = list(measure_all(sizes_of(args.sizes), device, args.repeats))
    print_table(rows, COLUMNS)
    if args.json:
        save(args.json, report | {"rows": rows})


if __name__ == "__main__":
    run_command(lambda: main(sys.argv[1:]), debug="--debug" in sys.argv)
