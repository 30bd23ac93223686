"""A wish becomes a picture: the model's own drawing, packed for the page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
from torch import Tensor

from gaussian_renderer import Render
from gaussian_renderer.show import Show
from scene import performance
from scene.camera_path import CameraPath
from scene.cameras import Camera
from scene.facts import SceneFacts, without_picture
from scene.frames import Frame
from scene.head.model import HeadModel
from scene.looks import camera_of, with_sliders
from utils.errors import InputError
from utils.images import Pixels, error_map, to_pixels
from viewer.mesh import drawn_over, surface
from viewer.wishes import Wish

QUICK, SHARP = 70, 98  # JPEG qualities, moving and at rest
FAR = 0.98  # quantile of the depth that is shown darkest


@dataclass(frozen=True)
class Model:
    """One of the models that a page shows."""

    facts: SceneFacts
    show: Show
    frames: Sequence[Frame]  # whose cameras a page may jump to; with pictures where they are there
    head: HeadModel | None = None  # the person's, where the dataset is there


def moment_of(facts: SceneFacts, wish: Wish, frames: Sequence[Frame]) -> Frame:
    """What is wished to be seen: a moment, before a camera, with its sliders where they stand."""
    known = wish.camera is not None and wish.camera < len(frames)
    if known:
        taken = frames[wish.camera]
        pictured = wish.split or wish.mode == "error"
        frame = taken if pictured else replace(taken, image_path=None, plate_path=None)
        camera = fitted(taken.camera, wish.width, wish.height)
        moment = frame if pictured else performance.at(facts, wish.part)
        frame = replace(moment, camera=camera)
    else:
        frame = replace(
            performance.at(facts, wish.part), camera=camera_of(wish.look, wish.width, wish.height)
        )
    return with_sliders(frame, wish.sliders)


def fitted(camera: Camera, width: int, height: int) -> Camera:
    """The camera on a grid that fits into width x height and has its own shape."""
    share = min(width / camera.width, height / camera.height)
    return camera.resized(max(1, round(share * camera.width)), max(1, round(share * camera.height)))


@torch.no_grad()
def draw(models: Sequence[Model], wish: Wish) -> Pixels:
    """(H, W, 3) the models side by side, each with its picture beside it where that is wished; with
    the error that makes three."""
    panes = []
    share = replace(wish, width=max(1, wish.width // len(models)))
    for model in models:
        moment = moment_of(model.facts, share, model.frames)
        loaded = _loaded(model.show, moment)
        view = model.show(loaded)
        split = share.split and loaded.image is not None
        three = split and share.mode == "error"
        shown = _shown(view, loaded, "color" if three else share.mode)
        if share.mesh and model.head is not None:
            vertices = surface(model.head, moment)
            shown = drawn_over(shown, moment.camera, vertices, model.head.faces)
        panes.append(shown)
        if split:
            panes.append(to_pixels(loaded.image))
        if three:
            panes.append(_shown(view, loaded, "error"))
    return side_by_side(panes)


@torch.no_grad()
def filmed(models: Sequence[Model], path: CameraPath, k: int) -> Pixels:
    """(H, W, 3) the k-th picture of a path, the models side by side."""
    frames = [model.show.load(path.frame(model.facts, k)) for model in models]
    return side_by_side(
        [to_pixels(model.show(frame).image) for model, frame in zip(models, frames, strict=True)]
    )


def side_by_side(panes: Sequence[Pixels]) -> Pixels:
    """One picture as high as the highest."""
    height = max(pane.shape[0] for pane in panes)
    return np.hstack([np.pad(p, ((0, height - p.shape[0]), (0, 0), (0, 0))) for p in panes])


def packed(pixels: Pixels, *, sharp: bool) -> bytes:
    """A JPEG: nearly lossless and without shared colours where it stays, small where it moves."""
    quality = SHARP if sharp else QUICK
    flags = [cv2.IMWRITE_JPEG_QUALITY, quality]
    if sharp:
        flags += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    _, data = cv2.imencode(".jpg", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), flags)
    return data.tobytes()


def _loaded(show: Show, frame: Frame) -> Frame:
    """The frame with its picture; without, where the picture is damaged or gone: a page that asks
    for it must not end a training run."""
    try:
        return show.load(frame)
    except InputError:
        return show.load(without_picture(frame))


def _shown(view: Render, frame: Frame, mode: str) -> Pixels:
    if mode == "error" and frame.image is not None:
        return error_map(view.image, frame.image)
    if mode == "alpha":
        return to_pixels(view.alpha.expand(3, -1, -1))
    if mode == "depth":
        return to_pixels(_brightness(view.depth, view.alpha).expand(3, -1, -1))
    return to_pixels(view.image)


def _brightness(depth: Tensor, alpha: Tensor) -> Tensor:
    """(1, H, W) from 1, near, to 0, far or nothing."""
    covered = depth[alpha > 0.5]
    if not len(covered):
        return torch.zeros_like(depth)
    near = covered.min()
    far = torch.quantile(covered[:: 1 + len(covered) // 10_000], FAR)
    return (1 - (depth - near) / (far - near).clamp(min=1e-6)).clamp(0, 1) * alpha
