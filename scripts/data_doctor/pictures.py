"""Two pictures of a scene: where its cameras stand, and what they see."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch

from scene import Scene
from scene.facts import evenly
from scene.frames import Frame, FrameLoader
from scene.paths import common_up, focus, look_at
from scene.regions import rectangles
from utils.errors import InputError
from utils.files import replacing
from utils.images import Pixels, contact_sheet, labelled, make_folder, to_pixels, write_image

COLORS = {"train": "tab:blue", "test": "tab:red", "val": "tab:orange"}
RED, GREEN = (255, 0, 0), (0, 255, 0)
N_COLUMNS = 6
SHEET_WIDTH = 240  # pixels of a picture
N_POINTS = 2_000  # drawn


def plot_cameras(scene: Scene, path: Path) -> None:
    """From above and from aside: cameras by split with their viewing directions, and the points."""
    import matplotlib  # here: only this picture needs it

    matplotlib.use("Agg")
    from matplotlib import pyplot

    cameras = [frame.camera for frame in scene.train]
    up = common_up(cameras)
    side = cameras[0].forward.roll(1) if abs(cameras[0].forward @ up) > 0.9 else cameras[0].forward
    axes = look_at(torch.zeros(3), side - (side @ up) * up, up)[:3, :3]  # right, down, forward
    target = focus(cameras)
    length = 0.15 * float(torch.stack([(c.center - target).norm() for c in cameras]).median())
    figure, panels = pyplot.subplots(1, 2, figsize=(12, 6), layout="constrained")
    for panel, (rows, title) in zip(
        panels, (([0, 2], "from above"), ([0, 1], "as the first camera looks")), strict=True
    ):
        flip = torch.tensor(
            [[1.0], [1.0 if rows[1] == 2 else -1.0]]
        )  # a plot's second axis points up
        _panel(panel, scene, flip * axes[rows], length)
        panel.set_title(title)
    panels[0].legend(loc="best")
    make_folder(path.parent)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=80)
    pyplot.close(figure)


def _panel(panel, scene: Scene, axes: torch.Tensor, length: float) -> None:
    points = scene.points.xyz[:: max(1, len(scene.points.xyz) // N_POINTS)] @ axes.T
    panel.scatter(points[:, 0], points[:, 1], s=1, c="lightgrey", label="points")
    for split, color in COLORS.items():
        frames = scene.split(split)
        if frames:
            centers = torch.stack([f.camera.center for f in frames]) @ axes.T
            arrows = length * torch.stack([f.camera.forward for f in frames]) @ axes.T
            panel.quiver(
                *centers.T,
                *arrows.T,
                angles="xy",
                scale_units="xy",
                scale=1,
                color=color,
                width=0.003,
            )
            panel.plot(*centers.T, ".", color=color, label=f"{split} {len(frames)}")
    panel.set_aspect("equal", adjustable="datalim")


def draw_frames(scene: Scene, background: torch.Tensor, path: Path) -> None:
    """A row of pictures per split, and under each the same with the starting points on it.

    Boxes in the head's frame, such as the mouth's, are framed there, too.
    """
    loader, rows = FrameLoader(0, torch.device("cpu")), []
    splits = [split for split in COLORS if scene.split(split)]
    for split in splits:
        frames = [_small(frame) for frame in evenly(scene.split(split), N_COLUMNS)]
        pictures = [_picture(loader, frame, background) for frame in frames]
        drawn = [_drawn(p, f, scene) for p, f in zip(pictures, frames, strict=True)]
        for row, words in ((pictures, split), (drawn, f"{split}: {_legend(scene)}")):
            rows.append(_filled([labelled(row[0].copy(), words), *row[1:]]))
    write_image(path, contact_sheet(rows, [""] * N_COLUMNS))


def _legend(scene: Scene) -> str:
    return ", ".join(["points red", *(f"{name} green" for name in scene.regions)])


def _small(frame: Frame) -> Frame:
    factor = min(1.0, SHEET_WIDTH / frame.camera.width)
    size = (max(1, round(n * factor)) for n in (frame.camera.width, frame.camera.height))
    return replace(frame, camera=frame.camera.resized(*size))


def _picture(loader: FrameLoader, frame: Frame, background: torch.Tensor) -> Pixels:
    try:
        return to_pixels(loader.load(frame, background).image)
    except InputError:  # told among the problems
        return np.full((frame.camera.height, frame.camera.width, 3), (255, 0, 255), np.uint8)


def _drawn(picture: Pixels, frame: Frame, scene: Scene) -> Pixels:
    """The picture with the points and the boxes that the scene gives for its frame."""
    picture = _dotted(picture, frame, scene.points.xyz)
    for left, top, right, bottom in rectangles(scene.regions, frame).values():
        cv2.rectangle(picture, (left, top), (right - 1, bottom - 1), GREEN, 1)
    return picture


def _dotted(picture: Pixels, frame: Frame, points: torch.Tensor) -> Pixels:
    camera = frame.camera
    pixels, depths = camera.project(points[:: max(1, len(points) // N_POINTS)])
    at = pixels[depths > camera.near].floor()
    at = at[((at >= 0) & (at < at.new_tensor([camera.width, camera.height]))).all(1)].long().numpy()
    picture = picture.copy()
    picture[at[:, 1], at[:, 0]] = RED
    return picture


def _filled(row: list[Pixels]) -> list[Pixels]:
    return row + [np.full_like(row[0], 255)] * (N_COLUMNS - len(row))
