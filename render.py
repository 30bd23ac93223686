"""Render a trained model: python render.py --model_path output/NAME"""

import utils.threads  # isort: skip  # noqa: F401  (must come before torch)

import sys
from collections.abc import Iterator
from pathlib import Path

import torch
from tqdm import tqdm

from arguments import parse_render_args
from arguments.settings import RenderParams, Settings
from gaussian_renderer import Painter, Render
from scene import SPLITS, load_scene
from scene.frames import Frame, FrameLoader
from scene.methods import MethodBase, make_method
from utils.checkpoint import load_model, saved_iterations
from utils.devices import choose_device, clock
from utils.errors import InputError, run_command
from utils.images import Pixels, to_pixels, write_depth, write_image
from utils.video import VideoWriter

VIDEO_FPS = 30


def render_model(settings: Settings, options: RenderParams) -> None:
    """Write renders, ground truth and a video of every split that is not skipped."""
    device = choose_device(settings.run.device)
    scene = load_scene(settings.dataset, settings.model)
    method = make_method(scene, settings, device)
    model_path = Path(settings.model.model_path)
    iteration = choose_iteration(model_path, options.iteration)
    load_model(model_path / "point_cloud" / f"iteration_{iteration}" / "model.safetensors", method)
    loader = FrameLoader(0, device)
    skipped = {split for split in SPLITS if getattr(options, f"skip_{split}")}
    for split in SPLITS:
        frames = scene.split(split)
        if split in skipped or not frames:
            continue
        folder = model_path / split / f"ours_{iteration}"
        loaded = (method.prepare(loader.load(frame, method.background)) for frame in frames)
        timing = write_split(folder, tqdm(loaded, split, len(frames), disable=settings.run.quiet), method, options.depth)
        print(f"{split}: {len(frames)} views in {folder}; {timing}")


def choose_iteration(model_path: Path, wanted: int) -> int:
    """The wanted step, or the last one for -1; raises InputError listing what is there."""
    saved = saved_iterations(model_path)
    if not saved:
        raise InputError(f"{model_path}: no model in it (point_cloud/iteration_*/model.safetensors); train first")
    if wanted == -1:
        return saved[-1]
    if wanted not in saved:
        raise InputError(f"{model_path}: no model of iteration {wanted}; there are {', '.join(map(str, saved))}")
    return wanted


@torch.no_grad()
def write_split(folder: Path, frames: Iterator[Frame], method: MethodBase, depth: bool) -> str:
    """Stream one split to disk; returns a line with the FPS of the whole path and of drawing alone."""
    device = next(method.parameters()).device
    paint = Painter()
    times = []  # seconds of posing and of drawing, per view
    with VideoWriter(folder / "video_rgb.mp4", fps=VIDEO_FPS) as video:
        for k, frame in enumerate(frames):
            begin = clock(device)
            gaussians = method(frame)
            posed = clock(device)
            view = paint(frame.camera, gaussians, frame.background)
            times.append((posed - begin, clock(device) - posed))
            video.add(write_view(folder, f"{k:05d}.png", view, frame, depth))
    steady = times[1:] or times  # the first view loads kernels
    whole = len(steady) / sum(posing + drawing for posing, drawing in steady)
    alone = len(steady) / sum(drawing for _, drawing in steady)
    return f"{whole:.1f} FPS posing and drawing, {alone:.1f} FPS rasterizer alone"


def write_view(folder: Path, name: str, view: Render, frame: Frame, depth: bool) -> Pixels:
    """Write the picture of a view and what belongs to it; returns the picture."""
    pixels = to_pixels(view.image)
    write_image(folder / "renders" / name, pixels)
    if frame.image is not None:
        write_image(folder / "gt" / name, frame.image)
    if depth:
        write_depth(folder / "depth" / name, view.depth[0])
    return pixels


if __name__ == "__main__":
    run_command(lambda: render_model(*parse_render_args(sys.argv[1:])), debug="--debug" in sys.argv)
