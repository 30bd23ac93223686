"""Frames per second of a moving scene: scripts/bench/render.py [--device cpu] [--gaussians 50000]

A 4DGS method with the settings of arguments/dnerf/default.py, random and trained by nobody, but
none of its work is saved: a HexPlane lookup, the MLP, activation, drawing, at another time from
another side in every frame. With --avatar it is a MonoGaussianAvatar on the procedural head, baked,
30,000 points at 512x512 that talk and turn. With --model it is a trained model, its own moments and
cameras, whatever its method. Posing, drawing and the picture in 8 bits are also timed apart, which
costs a GPU their overlap; FPS are of the first two, and those of the same frames once more, whose
poses are kept, as the viewer keeps them.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import utils.threads  # isort: skip  # noqa: F401  (must come before torch)

import argparse
import math
from dataclasses import replace

import torch

from arguments import parse_render_args, parse_train_args
from gaussian_renderer import Painter
from gaussian_renderer.kept import Kept
from scene import Scene, Subject
from scene.cameras import Camera, intrinsics
from scene.facts import SceneFacts
from scene.frames import Frame, FrameLoader, PointCloud
from scene.methods import MethodBase, make_method, open_model
from scene.paths import look_at
from scripts.bench.timing import Tick, machine, measure, print_table, save
from scripts.demo.toy_head import toy_head
from utils.devices import choose_device
from utils.errors import run_command
from utils.images import to_pixels
from utils.random import generator

N_FRAMES = 30
KEPT_MB = 1_024  # of the posed frames
DISTANCE = 4.0  # of the cameras from the middle; the points are as those of rasterizer.py
FOCAL = 1.2  # times the width
AVATAR_FOCAL = 2.2  # the same of an avatar, whose head then fills the picture
LARGEST = 0.02  # world units, of an avatar's points; its head is 1.3 high


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


def make_avatar(
    count: int, width: int, height: int, device: torch.device
) -> tuple[MethodBase, list[Frame]]:
    """A baked MonoGaussianAvatar of `count` points whose networks say something, and frames in
    which the head talks and turns before a camera."""
    source, head = generator(0, "bench avatar"), toy_head().scaled(4)
    K = intrinsics(AVATAR_FOCAL * width, AVATAR_FOCAL * width, width / 2, height / 2)
    frames = []
    for k in range(N_FRAMES):
        turn = 0.5 * math.sin(2 * math.pi * k / N_FRAMES)
        eye = DISTANCE * torch.tensor([math.sin(turn), 0.0, math.cos(turn)])
        camera = Camera(look_at(eye, torch.zeros(3), torch.tensor([0.0, 1.0, 0.0])), K, width,
                        height)  # fmt: skip
        pose = 0.1 * torch.randn(15, generator=source)
        expression = 0.3 * torch.rand(head.expression_basis.shape[-1], generator=source)
        frames.append(Frame(camera, k, k / (N_FRAMES - 1), expression=expression, flame_pose=pose))
    argv = ["-s", "none", "--configs", "arguments/imavatar/monogaussian.py"]
    settings = parse_train_args([*argv, "--init_points", str(count)])
    points = PointCloud(head.template, torch.full_like(head.template, 0.5), head=head)
    subject = Subject(torch.zeros(0), 4.0, head)
    scene = Scene(train=frames, test=[], video=[], points=points, subject=subject)
    method = make_method(SceneFacts.from_scene(scene), settings, device, points)
    method.draw_sh_degree(method.sh_degree)
    with torch.no_grad():
        for name, parameter in method.named_parameters():
            if name.startswith(("field", "corrections")):
                noise = torch.randn(parameter.shape, generator=source)
                parameter.add_(5e-3 * noise.to(device))
        method.table.columns["opacity_logits"].add_(2.0)
        method.table.columns["log_scales"].clamp_(max=math.log(LARGEST))  # as after a training
    method.settle()
    loader = FrameLoader(0, device)
    return method, [method.prepare(loader.load(frame, method.background)) for frame in frames]


def open_trained(
    folder: Path, width: int, height: int, device: torch.device
) -> tuple[MethodBase, list[Frame]]:
    """The model in a run's folder, and its own moments at another size."""
    settings, _ = parse_render_args(["--model_path", str(folder)])
    facts, method = open_model(settings, -1, device)
    loader, frames = FrameLoader(0, device), facts.shown[:N_FRAMES]
    sized = [replace(frame, camera=frame.camera.resized(width, height)) for frame in frames]
    return method, [method.prepare(loader.load(frame, method.background)) for frame in sized]


def frames_per_second(
    count: int, width: int, height: int, device: torch.device, repeats: int
) -> dict[str, object]:
    """As `measured`, of a moving scene of `count` Gaussians."""
    return measured(*make_moving_scene(count, width, height, device), device, repeats)


@torch.no_grad()
def measured(
    method: MethodBase, frames: list[Frame], device: torch.device, repeats: int
) -> dict[str, object]:
    """FPS of all frames one after another, posed anew and kept, milliseconds of posing and drawing
    one and of its picture in 8 bits."""
    paint, kept = Painter(), Kept(method, KEPT_MB)

    def draw_all(tick: Tick) -> None:
        for name, pose in (("frames", method), ("kept", kept)):
            for frame in frames:
                paint(frame.camera, pose(frame), frame.background)
            tick(name)

    def draw_one(tick: Tick) -> None:
        gaussians = method(frames[0])
        tick("pose")
        view = paint(frames[0].camera, gaussians, frames[0].background)
        tick("draw")
        to_pixels(view.image)
        tick("picture")

    whole = measure(draw_all, device, max(1, repeats // 5))
    parts = measure(draw_one, device, repeats)
    fps, kept_fps = (1e3 * len(frames) / whole[f"{name}_ms"] for name in ("frames", "kept"))
    count, camera = len(method.table), frames[0].camera
    size = f"{camera.width}x{camera.height}"
    return {"gaussians": count, "image": size, "fps": fps, "kept_fps": kept_fps, **parts}


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="auto")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--avatar", action="store_true", help="a baked head in place of 4DGS")
    what.add_argument("--model", type=Path, help="a trained model's folder in its place")
    parser.add_argument("--gaussians", type=int, help="50,000, of an avatar 30,000")
    parser.add_argument(
        "--image", type=int, nargs=2, metavar=("WIDTH", "HEIGHT"),
        help="800x800, of an avatar and a model 512x512",
    )  # fmt: skip
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--json", type=Path, help="write the numbers to this file too")
    args = parser.parse_args(argv)
    device = choose_device(args.device)
    size = args.image or ((512, 512) if args.avatar or args.model else (800, 800))
    if args.model:
        scene = open_trained(args.model, *size, device)
    elif args.avatar:
        scene = make_avatar(args.gaussians or 30_000, *size, device)
    else:
        scene = make_moving_scene(args.gaussians or 50_000, *size, device)
    report = machine(device) | measured(*scene, device, args.repeats)
    print_table(
        ({"what": key, "value": value} for key, value in report.items()), {"": "what", " ": "value"}
    )
    if args.json:
        save(args.json, report)


if __name__ == "__main__":
    run_command(lambda: main(sys.argv[1:]), debug="--debug" in sys.argv)
