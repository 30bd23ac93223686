"""What a scene can be trained with and hardly means: one sentence each, with its remedy."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from scene import Scene
from scene.facts import evenly
from scene.frames import Frame, decode, readers
from scene.paths import poses
from utils.errors import InputError

N_DECODED = 12  # pictures that are looked at
HARDLY = 0.01  # of the last time, which all of them span
MIDDLE = (0.25, 0.75)  # of a picture, where principal points are
BORDER_IN, MIDDLE_OUT = 0.75, 0.25  # parts that a mask of the background covers
FAR = 100  # radii of the points, from which no lens sees more of them than a dot
STRETCH = 0.01  # between pictures of one shape


def doubts(scene: Scene) -> list[str]:
    """All that is doubtful about the scene. Some pictures are decoded."""
    return [text for check in CHECKS for text in check(scene)]


def times_that_hardly_vary(scene: Scene) -> Iterator[str]:
    times = {frame.time for frame in scene.train}
    if len(times) > 1 and max(times) - min(times) < HARDLY * max(times):
        yield (
            f"all training times are between {min(times):g} and {max(times):g}: nothing can move; "
            "let them run from 0 to 1, or count in frames or seconds"
        )


def principal_points_aside(scene: Scene) -> Iterator[str]:
    aside = [frame for frame in _pictured(scene) if not _central(frame)]
    if aside:
        camera = aside[0].camera
        yield (
            f"{aside[0].image_path}: the principal point {float(camera.K[0, 2]):g} "
            f"{float(camera.K[1, 2]):g} is outside the middle half of {camera.width}x"
            f"{camera.height} pixels, as in {len(aside)} pictures; check whether cx and cy are of "
            "another size"
        )


def _central(frame: Frame) -> bool:
    cx, cy = frame.camera.K[:2, 2].tolist()
    parts = (cx / frame.camera.width, cy / frame.camera.height)
    return all(MIDDLE[0] <= part <= MIDDLE[1] for part in parts)


def inverted_masks(scene: Scene) -> Iterator[str]:
    with ThreadPoolExecutor(readers()) as pool:
        looked_at = list(pool.map(_inverted, evenly(_pictured(scene), N_DECODED)))
    if looked_at and sum(looked_at) * 2 > len(looked_at):
        yield (
            "the masks cover the borders of the pictures and not their middles, as if they were "
            "the background's; invert them"
        )


def _inverted(frame: Frame) -> bool:
    try:
        pixels = decode(frame)
    except InputError:  # told elsewhere
        return False
    if pixels.shape[2] < 4:
        return False
    shown = pixels[..., 3] > 127
    h, w = shown.shape
    border = [*shown[0], *shown[-1], *shown[:, 0], *shown[:, -1]]
    middle = shown[h // 3 : h - h // 3, w // 3 : w - w // 3]
    return sum(border) > BORDER_IN * len(border) and bool(middle.mean() < MIDDLE_OUT)


def cameras_far_away(scene: Scene) -> Iterator[str]:
    points = scene.points.xyz
    middle = points.median(0).values
    radius = float((points - middle).norm(dim=1).median())
    places = poses([frame.camera for frame in scene.train])[:, :3, 3]
    distance = float((places - middle).norm(dim=1).median())
    if distance > FAR * radius:
        yield (
            f"the cameras are {distance:.3g} away from starting points within {radius:.3g}: they "
            "see a dot; check that poses and points have one unit and one origin"
        )


def mixed_shapes(scene: Scene) -> Iterator[str]:
    sizes = {(frame.camera.width, frame.camera.height) for frame in _pictured(scene)}
    shapes = [width / height for width, height in sizes]
    if shapes and max(shapes) > (1 + STRETCH) * min(shapes):
        found = ", ".join(f"{width}x{height}" for width, height in sorted(sizes)[:4])
        yield (
            f"the pictures have different shapes ({found}), which no video can hold together; "
            "crop them to one if they should"
        )


def _pictured(scene: Scene) -> list[Frame]:
    return [f for f in [*scene.train, *scene.test, *scene.val] if f.image_path is not None]


CHECKS = (
    times_that_hardly_vary,
    principal_points_aside,
    inverted_masks,
    cameras_far_away,
    mixed_shapes,
)
