"""Time the rasterizer beside its slow twin and any other CPU rasterizer installed here.

    python scripts/bench_rasterizer.py [--threads 2] [--repeats 20] [--json results.json]

Rows are medians in milliseconds. The scenes: means N(0, 0.6²), log-scales
N(-4.2, 0.4²), random rotations, opacities sigmoid(N(0, 1.5²)), SH of degree 3; the camera stands 4
units away with a focal length of 1.2 times the width. The loss weighs colour only, as training does.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import statistics
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import diff_gaussian_rasterization as rasterizer
import torch
from diff_gaussian_rasterization import ops, reference
from torch import Tensor

SCENES = ((50_000, 800), (30_000, 400))  # Gaussians, pixels on a side
TWIN_SCENES = ((500, 64),)  # dense: time and memory grow with Gaussians times pixels
WARM_UP = 3

Draw = Callable[[dict], Tensor]  # draws a scene, returns color "3 H W"


def make_scene(count: int, size: int) -> dict:
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    viewmat = torch.eye(4)
    viewmat[2, 3] = 4
    focal = 1.2 * size
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
        "K": torch.tensor([[focal, 0, size / 2], [0, focal, size / 2], [0, 0, 1]]),
        "background": torch.ones(3),
        "sh_degree": 3,
        "width": size,
        "height": size,
    }


def draw_native(scene: dict) -> Tensor:
    return rasterizer.rasterize(**scene).color


def draw_twin(scene: dict) -> Tensor:
    rest = {"covariances": None, "colors": None, "near": 0.01, "far": 100.0}
    return reference.forward(*((scene | rest)[name] for name in ops.Inputs._fields))[0]


def draw_gsplat(scene: dict) -> Tensor:
    import gsplat

    color, _, _ = gsplat.rasterization(
        scene["means"], scene["quats"], scene["scales"], scene["opacities"][:, 0], scene["sh"],
        scene["viewmat"][None], scene["K"][None], scene["width"], scene["height"],
        sh_degree=scene["sh_degree"], backgrounds=scene["background"][None],
    )  # fmt: skip
    return color[0].movedim(-1, 0)


OTHERS: dict[str, Draw] = {"gsplat": draw_gsplat}


def measure(draw: Draw, count: int, size: int, repeats: int) -> dict:
    """Median milliseconds of forward, backward and both."""
    scene = make_scene(count, size)
    leaves = [x for x in scene.values() if isinstance(x, Tensor) and x.requires_grad]
    weight = torch.randn(3, size, size, generator=torch.Generator().manual_seed(1)) / size**2
    forward, backward = [], []
    for _ in range(WARM_UP + repeats):
        start = time.perf_counter()
        color = draw(scene)
        middle = time.perf_counter()
        color.backward(weight)
        end = time.perf_counter()
        forward.append(1e3 * (middle - start))
        backward.append(1e3 * (end - middle))
        for leaf in leaves:
            leaf.grad = None
    forward, backward = forward[WARM_UP:], backward[WARM_UP:]
    total = [f + b for f, b in zip(forward, backward, strict=True)]
    return {
        "gaussians": count,
        "size": size,
        "forward_ms": statistics.median(forward),
        "backward_ms": statistics.median(backward),
        "total_ms": statistics.median(total),
        "best_ms": min(total),
    }


def measure_all(repeats: int) -> list[dict]:
    rows = []
    for count, size in (*SCENES, *TWIN_SCENES):
        name = f"ours ({rasterizer.variant()})"
        rows.append({"name": name} | measure(draw_native, count, size, repeats))
    for count, size in TWIN_SCENES:
        rows.append({"name": "slow twin"} | measure(draw_twin, count, size, max(3, repeats // 4)))
    for name, draw in OTHERS.items():
        if find_spec(name) is None:
            continue
        for count, size in SCENES:
            try:
                rows.append({"name": name} | measure(draw, count, size, repeats))
            except Exception as error:  # someone else's package, on a machine it may not support
                rows.append({"name": name, "gaussians": count, "size": size, "error": str(error)})
    return rows


def print_table(rows: list[dict]) -> None:
    print(
        f"{'':18}{'Gaussians':>10}{'image':>10}{'forward':>10}{'backward':>10}{'both':>10}{'best':>10}"
    )
    for row in rows:
        head = f"{row['name']:18}{row['gaussians']:10,}{row['size']:>6}²   "
        if "error" in row:
            print(f"{head}  does not run here: {row['error'].splitlines()[0][:60]}")
            continue
        times = (row[key] for key in ("forward_ms", "backward_ms", "total_ms", "best_ms"))
        print(head + "".join(f"{t:10.2f}" for t in times))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--json", type=Path, help="also write the rows here")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else math.nan
    print(
        f"{args.threads} threads, median of {args.repeats}, milliseconds; load average {load:.1f}"
    )
    rows = measure_all(args.repeats)
    print_table(rows)
    if args.json:
        machine = {"processor": platform.processor(), "threads": args.threads, "load": load}
        text = json.dumps({"machine": machine, "rows": rows}, indent=1)
        temporary = args.json.with_suffix(".tmp")
        temporary.write_text(text + "\n")
        os.replace(temporary, args.json)


if __name__ == "__main__":
    main()
