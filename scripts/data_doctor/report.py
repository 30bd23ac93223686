"""What a scene's folder holds, in words."""

from __future__ import annotations

import math
from pathlib import Path

import torch
from torch import Tensor

from scene import SPLITS, Scene
from scene.frames import Frame
from scene.paths import focus
from scripts.data_doctor.checks import STILL, files_of, pictured

ROUND = 1e-3  # of the scene extent: what is printed as 0


def report(scene: Scene, path: Path) -> dict[str, str]:
    """Headings and what stands behind them; files are named within the folder `path`."""
    frames = pictured(scene)
    sizes = sorted({(f.camera.width, f.camera.height) for f in frames})
    times = sorted({f.time for f in frames})
    found = {
        "splits": ", ".join(f"{name} {len(scene.split(name))}" for name in SPLITS),
        "resolution": ", ".join(f"{width}x{height}" for width, height in sizes),
        "time": f"{times[0]:.3f} to {times[-1]:.3f}, {len(times)} moments",
        "conditioning": conditioning(scene),
        "cameras": cameras(scene, frames),
        "lens": lens(frames),
        "files": files(scene.train[0], path),
        "points": f"{len(scene.points.xyz):,} {box(scene.points.xyz)}",
    }
    return found | ({"head": head(scene)} if scene.train[0].expression is not None else {})


def conditioning(scene: Scene) -> str:
    first = scene.train[0]
    parts = [
        f"{name} {len(getattr(first, name))}"
        for name in ("expression", "flame_pose")
        if getattr(first, name) is not None
    ]
    parts += ["head_to_world"] if first.head_to_world is not None else []
    parts += [f"shape {len(scene.subject.shape)}"] if scene.subject else []
    return ", ".join(parts) or "time alone"


def cameras(scene: Scene, frames: list[Frame]) -> str:
    places = {tuple(f.camera.viewmat.reshape(-1).tolist()) for f in frames}
    words = f"{len(places)} poses, scene extent {scene.extent:.3g}"
    if len(places) > 1:
        middle = focus([frame.camera for frame in frames])
        middle = middle.where(middle.abs() > ROUND * scene.extent, 0)
        words += f", axes meet near {vector(middle)}"
    return words


def lens(frames: list[Frame]) -> str:
    """That of the first frame, and how many there are."""
    camera = frames[0].camera
    (fx, cx), (fy, cy) = camera.K[0, [0, 2]].tolist(), camera.K[1, [1, 2]].tolist()
    lenses = {
        tuple(f"{n:.5g}" for n in (*f.camera.K.flatten().tolist(), f.camera.width, f.camera.height))
        for f in frames
    }
    bent = sum(f.lens is not None for f in frames)
    return (
        f"{math.degrees(camera.fov_x):.1f}x{math.degrees(camera.fov_y):.1f} degrees, focal lengths "
        f"{fx:.5g} and {fy:.5g}, principal point {cx:.5g} {cy:.5g} of "
        f"{camera.width}x{camera.height}"
        + (f"; {len(lenses)} different ones" if len(lenses) > 1 else "")
        + (f"; {bent} frames are bent and straightened" if bent else "")
    )


def files(frame: Frame, path: Path) -> str:
    """Those of one frame: whoever sees the wrong mask beside a picture sees it here."""
    names = [str(within(file, path)) for file in files_of(frame)]
    return f"the first training frame is {' with '.join(names)}"


def within(file: Path, folder: Path) -> Path:
    """The path as seen from the folder, where it lies below."""
    return file.relative_to(folder) if file.is_relative_to(folder) else file


def head(scene: Scene) -> str:
    """Where the head is, and its mouth within it."""
    places = [f.head_to_world for f in scene.train if f.head_to_world is not None]
    moves = places and float((torch.stack(places) - places[0]).abs().max()) > STILL
    words = "moves in its world" if moves else "is the world's frame, does not move in it"
    if scene.subject:
        words += f", world units per metre {scene.subject.scale:g}"
    boxes = [f"{name} {box(corners)}" for name, corners in scene.regions.items()]
    return ", ".join([words, *boxes])


def box(points: Tensor) -> str:
    """The corners of the box about points (P, 3)."""
    return f"from {vector(points.amin(0))} to {vector(points.amax(0))}"


def vector(values: Tensor) -> str:
    return "(" + ", ".join(f"{value:.3g}" for value in values.tolist()) + ")"
