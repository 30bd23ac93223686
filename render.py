"""Render a trained model: python render.py --model_path output/NAME"""

import utils.threads  # isort: skip  # noqa: F401  (must come before torch)

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from arguments import parse_render_args
from arguments.settings import RenderParams, Settings
from gaussian_renderer import Painter
from scene import SPLITS, Scene, avatar, load_scene
from scene.frames import Frame, FrameLoader
from scene.methods import MethodBase, make_method
from scene.regions import REGIONS, rectangles
from scoring.views import REENACTMENT
from training.checkpoint import load_model, saved_iterations
from utils.devices import choose_device, clock
from utils.errors import InputError, run_command
from utils.files import write_json
from utils.images import (
    Pixels,
    contact_sheet,
    labelled,
    read_image,
    resize_premultiplied,
    to_pixels,
    write_depth,
    write_image,
)
from utils.video import VideoWriter

VIDEO_FPS = 30
N_TURN = 120  # views of a turn
CELL = 128  # pixels, width of a picture in the grid
MOST_ROWS = 20  # of a block of the grid


def render_model(settings: Settings, options: RenderParams) -> None:
    """Write renders, ground truth and a video of every split that is not skipped."""
    device = choose_device(settings.run.device)
    scene = load_scene(settings.dataset, settings.model, settings.data)
    method = make_method(scene, settings, device)
    model_path = Path(settings.model.model_path)
    iteration = choose_iteration(model_path, options.iteration)
    load_model(model_path / "point_cloud" / f"iteration_{iteration}" / "model.safetensors", method)
    loader = FrameLoader(0, device)
    skipped = {split for split in SPLITS if getattr(options, f"skip_{split}")}
    shots = {split: scene.split(split) for split in SPLITS if split not in skipped}
    for name, frames in (shots | avatar_shots(scene, settings, options)).items():
        if not frames:
            continue
        folder = model_path / name / f"ours_{iteration}"
        loaded = (method.prepare(loader.load(frame, method.background)) for frame in frames)
        shown = tqdm(loaded, name, len(frames), disable=settings.run.quiet)
        timing = write_split(folder, shown, method, depth=options.depth, pictures=not options.video_only)
        if scene.regions and not options.video_only:
            parts = {view_name(k): rectangles(scene.regions, frame) for k, frame in enumerate(frames)}
            write_json(folder / REGIONS, parts)
        print(f"{name}: {len(frames)} views in {folder}; {timing}")
        if name == "novel_expression" and not options.video_only:
            write_grid(folder, len(frames) // len(avatar.SWEEP))


def avatar_shots(scene: Scene, settings: Settings, options: RenderParams) -> dict[str, list[Frame]]:
    """What the flags ask an avatar to do, by the name of its folder."""
    shots = {}
    if options.novel_view:
        shots["novel_view"] = avatar.turned(scene, options.turn, N_TURN, playing=options.playing)
    if options.novel_expression:
        shots["novel_expression"] = [frame for row in avatar.swept(scene) for frame in row]
    if options.drive:
        other = _other_scene(options.drive, settings, options)
        shots["drive"] = avatar.driven(
            scene, other, subtract_mean=options.drive_mean, clamp=options.drive_clamp
        )
    if options.reenact:
        other = _other_scene(options.reenact, settings, options)
        shots[REENACTMENT] = avatar.reenacted(scene, other, clamp=options.drive_clamp)
    return shots


def _other_scene(path: str, settings: Settings, options: RenderParams) -> Scene:
    params = replace(settings.model, source_path=path)
    return load_scene(options.drive_dataset, params, settings.data)


def write_grid(folder: Path, n_rows: int) -> None:
    """All renders of the sweep as one picture: a row per coefficient, in blocks side by side."""
    columns = len(avatar.SWEEP)
    files = sorted((folder / "renders").glob("*.png"))[: n_rows * columns]
    small = [resize_premultiplied(p, CELL, CELL * p.shape[0] // p.shape[1]) for p in map(read_image, files)]
    rows = [small[k * columns : (k + 1) * columns] for k in range(n_rows)]
    rows = [[labelled(row[0], str(k)), *row[1:]] for k, row in enumerate(rows)]
    captions = ["low", *(f"{part:+g}" if part else "mean" for part in avatar.SWEEP[1:-1]), "high"]
    blocks = [rows[k : k + MOST_ROWS] for k in range(0, n_rows, MOST_ROWS)]
    blank = [np.full_like(small[0], 255)] * columns
    blocks[-1] += [blank] * (len(blocks[0]) - len(blocks[-1]))
    table = [[cell for row in across for cell in row] for across in zip(*blocks, strict=True)]
    write_image(folder / "grid.png", contact_sheet(table, captions * len(blocks)))
    print(f"novel_expression: {folder / 'grid.png'}")


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
def write_split(
    folder: Path, frames: Iterator[Frame], method: MethodBase, *, depth: bool, pictures: bool
) -> str:
    """Stream one split to disk; returns a line with the FPS of the whole path and of drawing alone."""
    device = next(method.parameters()).device
    if pictures:
        clear(folder)
    paint = Painter()
    times = []  # seconds of posing and of drawing, per view
    with VideoWriter(folder / "video_rgb.mp4", fps=VIDEO_FPS) as video:
        for k, frame in enumerate(frames):
            begin = clock(device)
            gaussians = method(frame)
            posed = clock(device)
            view = paint(frame.camera, gaussians, frame.background)
            times.append((posed - begin, clock(device) - posed))
            pixels = to_pixels(view.image)
            video.add(pixels)
            if pictures:
                write_view(folder, view_name(k), pixels, frame)
            if depth:
                write_depth(folder / "depth" / view_name(k), view.depth[0])
    steady = times[1:] or times  # the first view loads kernels
    whole = len(steady) / sum(posing + drawing for posing, drawing in steady)
    alone = len(steady) / sum(drawing for _, drawing in steady)
    return f"{whole:.1f} FPS posing and drawing, {alone:.1f} FPS rasterizer alone"


def clear(folder: Path) -> None:
    """Take away the pictures of an earlier call: it may have drawn more views, or others."""
    for part in ("renders", "gt", "depth"):
        for file in (folder / part).glob("*.png"):
            file.unlink()


def view_name(k: int) -> str:
    return f"{k:05d}.png"


def write_view(folder: Path, name: str, pixels: Pixels, frame: Frame) -> None:
    """Write the picture of a view and, where there is one, what it should show."""
    write_image(folder / "renders" / name, pixels)
    if frame.image is not None:
        write_image(folder / "gt" / name, frame.image)


if __name__ == "__main__":
    settings, options = run_command(lambda: parse_render_args(sys.argv[1:]), debug="--debug" in sys.argv)
    run_command(lambda: render_model(settings, options), debug=settings.run.debug)
