"""Time one fine step of 4DGS, part by part: python scripts/bench_train_step.py -s SCENE [-r 200] [flags of train.py]

Starts from --init_points Gaussians (40,000 unless given) and never densifies. Medians over --steps.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import utils.threads  # isort: skip  # noqa: F401  (must come before torch)

import argparse
import json
import statistics
import time
from itertools import pairwise

import torch

from arguments import parse_train_args
from gaussian_renderer import render
from scene import load_scene
from scene.frames import FrameLoader
from scene.methods import make_method
from utils.errors import run_command
from utils.optimizers import Optimizers

WARM_UP = 3  # steps that are not timed


def measure(argv: list[str]) -> None:
    own = argparse.ArgumentParser(add_help=False)
    own.add_argument("--steps", type=int, default=20)
    own.add_argument("--json", type=Path)
    options, flags = own.parse_known_args(argv)
    settings = parse_train_args(["--init_points", "40000", *flags])
    device = torch.device("cpu")
    scene = load_scene(settings.dataset, settings.model)
    method = make_method(scene, settings, device)
    stage = method.stages()[-1]
    optimizers = Optimizers(stage.params)
    loader = FrameLoader(settings.run.cache_mb, device)
    loader.preload(scene.train)
    batches = stage.sampler(stage, scene.train, 0, 0)
    method.active_sh_degree.fill_(method.sh_degree)
    rows = [one_step(stage, optimizers, loader, next(batches), k + 1) for k in range(options.steps + WARM_UP)]
    rows = rows[WARM_UP:]
    table = {part: 1000 * statistics.median(row[part] for row in rows) for part in rows[0]}
    table["whole step"] = 1000 * statistics.median(sum(row.values()) for row in rows)
    size = scene.train[0].camera
    print(f"{len(method.table):,} Gaussians, {size.width}x{size.height}, {torch.get_num_threads()} threads, median of {options.steps}")
    for part, ms in table.items():
        print(f"  {part:<12} {ms:7.1f} ms")
    if options.json:
        options.json.write_text(json.dumps({"gaussians": len(method.table), "ms": table}, indent=1))


def one_step(stage, optimizers, loader, frames, step) -> dict[str, float]:
    """Seconds per part of one step of train.py's loop."""
    ticks = {"start": time.perf_counter()}

    def tick(part: str) -> None:
        ticks[part] = time.perf_counter()

    optimizers.set_learning_rates(step)
    frames = [loader.load(frame, stage.background(step)) for frame in frames]
    tick("load")
    posed = [stage.pose(frame) for frame in frames]
    tick("pose")
    renders = [render(f.camera, g, f.background) for f, g in zip(frames, posed, strict=True)]
    tick("render")
    losses = [term(renders, frames, step) for term in stage.losses]
    tick("losses")
    sum(losses).backward()
    tick("backward")
    stage.strategy.observe(renders)
    tick("observe")
    optimizers.step()
    tick("optimizer")
    times = list(ticks.items())
    return {name: at - before for (_, before), (name, at) in pairwise(times)}


if __name__ == "__main__":
    run_command(lambda: measure(sys.argv[1:]), debug="--debug" in sys.argv)
