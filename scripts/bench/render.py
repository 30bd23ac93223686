"""Frames per second of a moving scene: scripts/bench/render.py [--device cpu] [--gaussians 50000]

A 4DGS method with the settings of arguments/dnerf/default.py, random and trained by nobody, but
none of its work is saved: a HexPlane lookup, the MLP, activation, drawing, at another time from
another side in every frame. Posing and drawing are also timed apart, which costs a GPU their
overlap.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import utils.threads  # isort: skip  # noqa: F401  (must come before torch)

import argparse
import math

import torch

from arguments import parse_train_args
from gaussian_renderer import Painter
from scene import Scene
from scene.cameras import Camera, intrinsics
from scene.facts import SceneFacts
from scene.frames import Frame, FrameLoader, PointCloud
from scene.methods import MethodBase, make_method
from scene.paths import look_at
from scripts.bench.timing import Tick, machine, measure, print_table, save
from utils.devices import choose_device
from utils.errors import run_command
from utils.random import generator

N_FRAMES = 30
DISTANCE = 4.0  # of the cameras from the middle; the points are as those of rasterizer.py
FOCAL = 1.2  # times the width


def make_frames(width: int, height: int) -> list[Frame]:
    """A camera that goes around the scene once while time runs from 0 to 1."""
    K = intrinsics(FOCAL * width, FOCAL * width, width / 2, height / 2)
    frames = []
    for k in range(N_FRAMES):
        angle = 2 * math.pi * k / N_FRAMES
        eye = DISTANCE * torch.tensor([math.cos(angle), math.sin(angle), 0.0])
        viewmat = look_at(eye, torch.zeros(3), torch.tensor([0.0, 0.0, 1.0]))
        frames.append(Frame(Camera(viewmat, K, width, height), k, k / (N_FRAMES - 1)))
    return frames


def make_moving_scene(
    count: int, width: int, height: int, device: torch.device
) -> tuple[MethodBase, list[Frame]]:
    """A method of `count` Gaussians whose offsets are not zero, and frames on its device."""
    source = generator(0, "bench render")
    points = PointCloud(
        0.6 * torch.randn(count, 3, generator=source), torch.rand(count, 3, generator=source)
    )
    frames = make_frames(width, height)
    settings = parse_train_args(["-s", "none", "--configs", "arguments/dnerf/default.py"])
    facts = SceneFacts.from_scene(Scene(train=frames, test=[], video=[], points=points))
    method = make_method(facts, settings, device, points)
    method.draw_sh_degree(method.sh_degree)
    with torch.no_grad():
        noise = {
            name: torch.randn(c.shape, generator=source).to(device)
            for name, c in method.table.columns.items()
        }
        method.table.columns["log_scales"].copy_(0.4 * noise["log_scales"] - 4.2)
        method.table.columns["opacity_logits"].copy_(1.5 * noise["opacity_logits"])
        method.table.columns["quats"].copy_(noise["quats"])
        for head in method.mlp.out.values():
            head.weight.copy_(1e-3 * torch.randn(head.weight.shape, generator=source))
    loader = FrameLoader(0, device)
    return method, [loader.load(frame, method.background) for frame in frames]


@torch.no_grad()
def frames_per_second(
    count: int, width: int, height: int, device: torch.device, repeats: int
) -> dict[str, object]:
    """FPS of `N_FRAMES` frames one after another, milliseconds of posing and drawing one."""
    method, frames = make_moving_scene(count, width, height, device)
    paint = Painter()

    def draw_all(tick: Tick) -> None:
        for frame in frames:
            paint(frame.camera, method(frame), frame.background)
        tick("frames")

    def draw_one(tick: Tick) -> None:
        gaussians = method(frames[0])
        tick("pose")
        paint(frames[0].camera, gaussians, frames[0].background)
        tick("draw")

    whole = measure(draw_all, device, max(1, repeats // 5))
    parts = measure(draw_one, device, repeats)
    fps = 1e3 * len(frames) / whole["frames_ms"]
    return {"gaussians": count, "image": f"{width}x{height}", "fps": fps, **parts}


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="auto")
    parser.add_argument("--gaussians", type=int, default=50_000)
    parser.add_argument(
        "--image", type=int, nargs=2, default=(800, 800), metavar=("WIDTH", "HEIGHT")
    )
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--json", type=Path, help="write the numbers to this file too")
    args = parser.parse_args(argv)
    device = choose_device(args.device)
    report = machine(device) | frames_per_second(args.gaussians, *args.image, device, args.repeats)
    print_table(
        ({"what": key, "value": value} for key, value in report.items()), {"": "what", " ": "value"}
    )
    if args.json:
        save(args.json, report)


if __name__ == "__main__":
    run_command(lambda: main(sys.argv[1:]), debug="--debug" in sys.argv)
