"""Time a fine step of 4DGS by parts: scripts/bench/train_step.py -s SCENE [-r 200] [flags of
train.py]

Starts from --init_points Gaussians (40,000 unless given) and never densifies. Medians over --steps.
The device is waited for after each part, so that on a GPU the parts add up to more than a step of
train.py, which is "unwatched".
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import utils.threads  # isort: skip  # noqa: F401  (must come before torch)

import argparse

import torch

from arguments import parse_train_args
from arguments.settings import Settings
from gaussian_renderer import render
from scene import load_scene
from scene.facts import SceneFacts
from scene.frames import FrameLoader
from scene.methods import make_method
from scripts.bench.timing import Tick, machine, measure, print_table, save
from training.optimizers import Optimizers
from utils.devices import choose_device
from utils.errors import run_command


class FineStep:
    """A step of the last stage, as the loop of train.py takes it, called with what ends its
    parts."""

    def __init__(self, settings: Settings, device: torch.device) -> None:
        scene = load_scene(settings.dataset, settings.model, settings.data)
        facts = SceneFacts.from_scene(scene, settings.dataset)
        self.method = make_method(facts, settings, device, scene.points)
        self.method.draw_sh_degree(self.method.sh_degree)
        self.stage = self.method.stages()[-1]
        self.optimizers = Optimizers(self.stage.params)
        self.loader = FrameLoader(settings.run.cache_mb, device)
        self.loader.preload(scene.train)
        self.batches = self.stage.sampler(scene.train, self.stage.name, 0, 0)
        self.camera = scene.train[0].camera

    def __call__(self, tick: Tick) -> None:
        stage, step = self.stage, 1
        self.optimizers.set_learning_rates(step)
        background = self.method.background
        frames = [self.loader.load(frame, background) for frame in next(self.batches)]
        tick("load")
        posed = [stage.pose(frame) for frame in frames]
        tick("pose")
        renders = [
            render(f.camera, g, f.background, antialiased=self.method.antialiased)
            for f, g in zip(frames, posed, strict=True)
        ]
        tick("render")
        losses = [term(renders, frames, step) for term in stage.losses]
        tick("losses")
        torch.autograd.backward(losses)
        for pull in stage.pulls.values():
            pull()
        tick("backward")
        stage.strategy.observe(renders)
        tick("observe")
        self.optimizers.step(stage.drawn(renders))
        tick("optimizer")


def profile(settings: Settings, device: torch.device, steps: int) -> dict[str, object]:
    """The parts of a step, `unwatched_ms` of a whole one, and what it was measured on."""
    step = FineStep(settings, device)
    found = measure(step, device, steps)
    whole = measure(lambda tick: (step(lambda part: None), tick("unwatched")), device, steps)
    size = f"{step.camera.width}x{step.camera.height}"
    return {
        "gaussians": len(step.method.table),
        "image": size,
        **found,
        **whole,
        "total_ms": found["total_ms"],
    }


def main(argv: list[str]) -> None:
    own = argparse.ArgumentParser(add_help=False)
    own.add_argument("--steps", type=int, default=20)
    own.add_argument("--json", type=Path)
    options, flags = own.parse_known_args(argv)
    settings = parse_train_args(["--init_points", "40000", *flags])
    device = choose_device(settings.run.device)
    report = machine(device) | profile(settings, device, options.steps)
    rows = [{"what": key, "value": value} for key, value in report.items()]
    print_table(rows, {"": "what", f"median of {options.steps}": "value"})
    if options.json:
        save(options.json, report)


if __name__ == "__main__":
    run_command(lambda: main(sys.argv[1:]), debug="--debug" in sys.argv)
