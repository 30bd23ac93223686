"""Time every kernel and what is made of them on one device: scripts/bench/gpu.py [--device cuda]

Rasterizer, plane lookup, SSIM and Adam, forward and backward; a whole training step; frames per
second of a moving scene. gsplat stands beside the rasterizer where it can be imported, on the same
scenes in the same run. "least MB" is what must move if every number is read or written once; "of
peak" sets that beside the bandwidth that a copy reached in this run. Medians of --repeats.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import utils.threads  # isort: skip  # noqa: F401  (must come before torch)

import argparse
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from importlib.util import find_spec

import torch
from torch import Tensor

from arguments import parse_train_args
from scripts.bench import fields as bench_fields
from scripts.bench import rasterizer as bench_rasterizer
from scripts.bench.machine import limits
from scripts.bench.render import frames_per_second
from scripts.bench.timing import Tick, machine, measure, print_table, save
from scripts.bench.train_step import profile
from tests.tiny_scene import write_tiny_scene
from training.optimizers import Optimizers, ParamGroup
from training.schedules import constant
from utils.devices import choose_device
from utils.errors import run_command

FLOAT = 4  # bytes
COLUMNS = {
    "": "what", "by": "by", "size": "size", "forward": "forward_ms", "backward": "backward_ms",
    "total ms": "total_ms", "FPS": "fps", "peak MiB": "peak_mib", "least MB": "least_mb",
    "of peak": "of_peak", "error": "error",
}  # fmt: skip

Size = tuple[int, int]  # width and height, pixels
Row = dict[str, object]
Job = tuple[Row, Callable[[], Row]]  # what is measured, and the measuring


def rasterizer_jobs(options: argparse.Namespace, device: torch.device) -> Iterator[Job]:
    draws = {"ours": bench_rasterizer.draw_native, **bench_rasterizer.OTHERS}
    for count in options.gaussians:
        for size in options.images:
            for name, draw in draws.items():
                if name == "ours" or find_spec(name):
                    row = {
                        "what": "rasterizer",
                        "by": name,
                        "size": f"{count:,} {size[0]}x{size[1]}",
                    }
                    yield row, partial(draw_scene, draw, count, size, device, options.repeats)


def draw_scene(
    draw: bench_rasterizer.Draw, count: int, size: Size, device: torch.device, repeats: int
) -> Row:
    width, height = size
    scene = bench_rasterizer.make_scene(count, height)
    scene["K"] = scene["K"] + torch.tensor([[0, 0, (width - height) / 2], [0, 0, 0], [0, 0, 0]])
    scene = {k: moved(x, device) if isinstance(x, Tensor) else x for k, x in scene.items()} | {
        "width": width
    }
    leaves = [x for x in scene.values() if isinstance(x, Tensor) and x.requires_grad]
    weight = torch.randn(3, height, width, generator=torch.Generator().manual_seed(1)).to(device)

    def step(tick: Tick) -> None:
        color = draw(scene)
        tick("forward")
        color.backward(weight)
        tick("backward")
        for leaf in leaves:
            leaf.grad = None

    # Rows in, for the picture and again for its gradient, and gradients out; the picture, colour
    # alone.
    numbers = 3 * sum(leaf.numel() for leaf in leaves) + 2 * weight.numel()
    return measure(step, device, repeats) | {"least_mb": FLOAT * numbers / 1e6}


def moved(x: Tensor, device: torch.device) -> Tensor:
    """The tensor as a leaf on the device."""
    return x.detach().to(device).requires_grad_(x.requires_grad)


def field_jobs(options: argparse.Namespace, device: torch.device) -> Iterator[Job]:
    """Lines of fields.py, forward and backward in one, beside the forms in plain PyTorch."""
    _, multipliers, channels, points = bench_fields.FIELD
    with torch.device(device):
        planes = [
            plane for level in bench_fields.make_planes(channels, multipliers) for plane in level
        ]
        steps = bench_fields.lookup_steps() | bench_fields.ssim_steps()
    per_point = (
        2 * channels * len(multipliers) + 3 * 3
    )  # features and their gradient, points thrice
    field = 3 * sum(plane.numel() for plane in planes) + points * per_point
    image = 5 * torch.Size(bench_fields.IMAGE).numel()  # two, twice, and a gradient
    for name, (fused, plain) in steps.items():
        numbers, extent = (
            (field, f"{points:,}") if name.startswith("lookup") else (image, "400x400")
        )
        for by, run in (("ours", fused), ("torch", plain)):
            least = {"least_mb": FLOAT * numbers / 1e6}
            yield (
                {"what": name, "by": by, "size": extent, **least},
                partial(whole, run, device, options.repeats),
            )


def whole(run: Callable[[], None], device: torch.device, repeats: int) -> Row:
    found = measure(lambda tick: (run(), tick("all")), device, repeats)
    del found["all_ms"]
    return found


def adam_jobs(options: argparse.Namespace, device: torch.device) -> Iterator[Job]:
    width = 59  # numbers of a Gaussian at SH degree 3
    makers = {
        "ours": lambda rows: Optimizers([ParamGroup("rows", lambda: [rows], constant(1e-3))]),
        "torch": lambda rows: torch.optim.Adam([rows], fused=True),
    }
    for count in options.gaussians:
        for by, make in makers.items():
            row = {
                "what": "Adam",
                "by": by,
                "size": f"{count:,}",
                "least_mb": 7 * FLOAT * width * count / 1e6,
            }
            yield row, partial(adam, make, (count, width), device, options.repeats)


def adam(make: Callable, shape: tuple[int, int], device: torch.device, repeats: int) -> Row:
    rows = torch.nn.Parameter(torch.zeros(shape, device=device))
    gradient = torch.ones_like(rows)
    optimizer = make(rows)

    def step() -> None:
        rows.grad = gradient
        optimizer.step()

    return whole(step, device, repeats)


def scene_jobs(options: argparse.Namespace, device: torch.device) -> Iterator[Job]:
    """A training step and frames per second, of the whole program and not of a kernel."""

    def train_step() -> Row:
        with tempfile.TemporaryDirectory() as folder:
            scene = options.scene or write_tiny_scene(Path(folder) / "scene", size=800)
            flags = [
                "-s",
                str(scene),
                "--configs",
                "arguments/dnerf/default.py",
                "--init_points",
                "40000",
            ]
            found = profile(parse_train_args(flags), device, options.repeats)
        found["size"] = f"{found.pop('gaussians'):,} {found.pop('image')}"
        return found | {"total_ms": found["unwatched_ms"]}

    yield {"what": "training step", "by": "ours"}, train_step
    count, (width, height) = options.moving, options.images[min(1, len(options.images) - 1)]
    row = {"what": "moving scene", "by": "ours", "size": f"{count:,} {width}x{height}"}
    yield row, partial(frames_per_second, count, width, height, device, options.repeats)


def run(options: argparse.Namespace) -> list[Row]:
    """Measure all rows; what fails is a row with its error, and the others go on."""
    device = choose_device(options.device)
    report = {"machine": machine(device) | limits(device, options.repeats), "rows": []}
    for jobs in (rasterizer_jobs, field_jobs, adam_jobs, scene_jobs):
        for row, measure_it in jobs(options, device):
            try:
                row |= measure_it()
            except (
                Exception
            ) as error:  # somebody else's package among them, which may fail in any way
                row["error"] = f"{type(error).__name__}: {error}".splitlines()[0][:80]
            if "least_mb" in row and "total_ms" in row:
                reached = 1e6 * row["least_mb"] / (1e-3 * row["total_ms"])
                row["of_peak"] = reached / (1e9 * report["machine"]["copy_gb_s"])
            report["rows"].append(row)
            if options.json:  # after every row: a time limit may end the run
                save(options.json, report)
    machine_rows = ({"what": key, "value": value} for key, value in report["machine"].items())
    print_table(machine_rows, {"": "what", " ": "value"})
    print_table(report["rows"], COLUMNS)
    return report["rows"]


def size(text: str) -> Size:
    width, _, height = text.partition("x")
    return int(width), int(height)


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="auto")
    parser.add_argument("--gaussians", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument(
        "--images", type=size, nargs="+", default=[(512, 512), (800, 800), (1352, 1014)]
    )
    parser.add_argument("--moving", type=int, default=50_000, help="Gaussians of the moving scene")
    parser.add_argument(
        "--scene", type=Path, help="D-NeRF folder of the training step; a box if none"
    )
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--json", type=Path, help="write the table to this file too")
    rows = run(parser.parse_args(argv))
    if any("error" in row and row["by"] != "gsplat" for row in rows):
        raise SystemExit(1)


if __name__ == "__main__":
    run_command(lambda: main(sys.argv[1:]), debug="--debug" in sys.argv)
